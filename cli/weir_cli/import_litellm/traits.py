"""Price, limits, capabilities, parameters and timeouts of a deployment. Used by `backend`; pure.

Figures that the catalogue finds are left out: the compiler fills them in, and a newer catalogue then is a newer price.
Where the name of a deployment hides its model, `base_model` becomes the backend's `baseModel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from weir_cli.import_litellm.endpoints import Endpoint
from weir_cli.import_litellm.findings import ENVIRONMENT, TOKEN, Given, duration, number, text, whole
from weir_operator.compile.catalogue import Catalogue, Entry
from weir_operator.schemas.common import MAX_NAMES, MAX_TOKENS
from weir_router.contract import Capability

MAX_CONCURRENCY = 1_000_000  # the schema's bound

PRICES = {
    "input": "input_cost_per_token",
    "cachedInput": "cache_read_input_token_cost",
    "cacheWrite": "cache_creation_input_token_cost",
    "output": "output_cost_per_token",
}
FLAGS = {
    "supports_function_calling": Capability.TOOLS,
    "supports_response_schema": Capability.JSON_SCHEMA,
    "supports_vision": Capability.VISION,
    "supports_audio_input": Capability.AUDIO,
    "supports_pdf_input": Capability.DOCUMENTS,
    "supports_reasoning": Capability.REASONING,
}


@dataclass(frozen=True)
class Defaults:
    """Defaults of all deployments."""

    timeout: Any = None
    stream_timeout: Any = None
    credentials: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # credential_list by name
    environ: Mapping[str, str] = field(default_factory=dict)


class Known(NamedTuple):
    """The catalogue's entry for a deployment's model."""

    entry: Entry | None
    base: str | None  # `baseModel` of the backend, where its own name would not lead there


def known(given: Given, target: Endpoint, model: str, base_url: str) -> Known:
    """Looks the model up by `base_model`, else by its own name, at its own address."""
    catalogue, base = Catalogue.load(), text(given.info.get("base_model"))
    own = catalogue.find(target.dialect, model, base_url)
    if base is None:
        return Known(own, None)
    name = base.removeprefix("azure/")
    entry = catalogue.find(target.dialect, name, base_url)
    if entry is None:
        why = f"the catalogue of {catalogue.date} does not know {name}"
        given.note("model_info.base_model", "left out", why, "state price and limits of the backend")
        return Known(own, None)
    return Known(entry, None if own is not None and own.model == entry.model else name)


def price(given: Given) -> dict[str, str]:
    """US dollars per million tokens, as stated per token; figures that are not stated are left out."""
    stated = {ours: number(given.params.get(theirs, given.info.get(theirs))) for ours, theirs in PRICES.items()}
    return {name: _per_million(figure) for name, figure in stated.items() if figure is not None}


def _per_million(per_token: Decimal) -> str:
    figure = f"{(per_token * 1_000_000).quantize(Decimal('0.000001')):f}"
    return figure.rstrip("0").rstrip(".")


def limits(given: Given) -> dict[str, int]:
    """Sizes in tokens, and requests in flight."""
    answer = whole(given.info.get("max_output_tokens")) or whole(given.info.get("max_tokens"))
    stated = {
        "contextTokens": whole(given.info.get("max_input_tokens")),
        "outputTokens": answer,
        "concurrency": whole(given.params.get("max_parallel_requests")),
    }
    most = {"concurrency": MAX_CONCURRENCY}
    return {name: min(value, most.get(name, MAX_TOKENS)) for name, value in stated.items() if value}


def capabilities(given: Given, about: Known) -> list[str]:
    """Only where the config says something: otherwise the catalogue decides.

    LiteLLM sends everything to a model that it does not know, so such a model has all that is not denied.
    """
    flags = {ability: given.info[flag] for flag, ability in FLAGS.items() if isinstance(given.info.get(flag), bool)}
    if not flags:
        return []
    able = set(about.entry.capabilities if about.entry else Capability) | {it for it, has in flags.items() if has}
    return sorted(it.value for it in able if flags.get(it, True))


def parameters(given: Given, about: Known, defaults: Mapping[str, str]) -> dict[str, Any]:
    """A backend's own parameters replace the catalogue's, so the catalogue's are written beside the additions."""
    extra = given.params.get("additional_drop_params")
    named = [it for it in extra if isinstance(it, str) and TOKEN.fullmatch(it)] if isinstance(extra, list) else []
    added = {"defaults": dict(defaults)} if defaults else {}
    if not named:
        return added
    drop = list(dict.fromkeys([*(about.entry.parameters.drop if about.entry else ()), *named]))[:MAX_NAMES]
    rename = dict(about.entry.parameters.rename) if about.entry else {}
    return {key: value for key, value in (("drop", drop), ("rename", rename)) if value} | added


def timeouts(given: Given, defaults: Defaults) -> dict[str, str]:
    """`timeout` bounds the whole answer; `stream_timeout` the wait for each piece of it, the first included."""
    clocks: dict[str, str] = {}
    for setting, names in (("timeout", ("total",)), ("stream_timeout", ("ttft", "idle"))):
        value = given.params.get(setting, getattr(defaults, setting))
        if isinstance(value, str) and value.startswith(ENVIRONMENT):
            value = defaults.environ.get(value.removeprefix(ENVIRONMENT))
        length = duration(value)
        if length is not None:
            clocks |= dict.fromkeys(names, length)
        elif given.params.get(setting) is not None:
            given.note(
                f"litellm_params.{setting}", "left out", "it is no number of seconds", "set the backend's timeouts"
            )
    return clocks
