"""A backend's parameters for requests that are no conversations, such as embeddings. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from weir_router.contract import Parameters
from weir_router.dialects.openai_chat.understand import FIELDS


def beyond(parameters: Parameters) -> Parameters:
    """The parameters without the defaults that are for chats, e.g. `temperature`: a model for embeddings would refuse
    the request because of them. Those of other fields stay, e.g. `dimensions`.
    """
    defaults = parameters.defaults
    if not defaults or FIELDS.isdisjoint(defaults):
        return parameters
    return replace(parameters, defaults={name: value for name, value in defaults.items() if name not in FIELDS})
