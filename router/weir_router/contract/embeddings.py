"""The models that make the embeddings of a route: there must be one, since vectors of two cannot be compared.

The compiler reports a second one, and the router then refuses embeddings on the route. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from weir_router.contract.policy import Operation
from weir_router.contract.tier import Backend


def embedding_models(backends: Iterable[Backend], require: Mapping[str, str]) -> list[str]:
    """The models of all backends that may make embeddings under these labels, in any state, sorted."""
    return sorted(
        {
            backend.identity
            for backend in backends
            if Operation.EMBEDDINGS in backend.endpoints and require.items() <= backend.labels.items()
        }
    )
