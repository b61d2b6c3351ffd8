"""The fate of a request's fields at each candidate: dropped, refused, renamed or added. Used by `command`; pure.

It makes the upstream request with the router's own code, so it cannot disagree with `docs/translation.md` or with
`x-weir-dropped`. Refusals that a running router has learned are in its `/state`, not here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from weir_router.contract import Backend, Transport
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import ConversationRecord
from weir_router.dialects.registry import pairing_of, pairings_of
from weir_router.dialects.wire.outgoing import Spliced
from weir_router.errors import BadRequest

OURS = frozenset({"model", "stream", "stream_options"})
"""Fields that the router writes into every request."""


def fate(ask: Ask, backend: Backend) -> dict[str, Any]:
    """The fields of `ask` that change on their way to `backend`; without a key where none does.

    `dialect` is the format that it gets, if the backend lists several. `dropped` are left out, `added` come from its
    defaults or from a translation, `refused` is the reason why it cannot have the request at all.
    """
    pairing = pairing_of(ask, backend)
    stream = ask.stream or (backend.transport is Transport.STREAMED and ask.streamable)
    try:
        outgoing = pairing.format.prepare(ask, backend, pairing, None, stream=stream)
    except BadRequest as error:
        return {"refused": error.message}
    body = outgoing.body.whole() if isinstance(outgoing.body, Spliced) else outgoing.body
    sent = msgspec.json.decode(body)
    found: dict[str, Any] = {"dropped": sorted(outgoing.dropped)}
    if len(pairings_of(ask.format, backend, ask.mixed)) > 1 and isinstance(pairing.format, ConversationRecord):
        found["dialect"] = pairing.format.name.value
    if pairing.same:
        found["added"] = sorted(sent.keys() - ask.body.keys() - OURS)
        found["changed"] = sorted(it for it in sent.keys() & ask.body.keys() - OURS if sent[it] != ask.body[it])
    return {name: names for name, names in found.items() if names}


def described(found: dict[str, Any]) -> str:
    """The fate in words, e.g. `drops seed, logit_bias; adds temperature`; empty: nothing changes."""
    spoken = [f"as {found['dialect']}"] if "dialect" in found else []
    words = {"dropped": "drops", "added": "adds", "changed": "changes"}
    return "; ".join(spoken + [f"{verb} {', '.join(found[name])}" for name, verb in words.items() if name in found])
