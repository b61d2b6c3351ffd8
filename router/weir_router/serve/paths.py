"""Paths that clients make of a wrong base URL, and the paths they mean. Used by `serve.routes`; pure.

Example: a base URL that ends in a slash makes `//v1/messages`, one without its `/v1` makes `/chat/completions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

from weir_router.contract import Dialect
from weir_router.dialects.base import FormatRecord
from weir_router.dialects.registry import CONVERSATIONS, RECORDS, caller_named, caller_of

VERSION = "/v1"
"""The first part of every path that callers use."""

PREFIXES = {provider.value.lower(): provider for provider in Dialect}
"""First parts under which other gateways serve a provider's paths, as in `/anthropic/v1/messages`."""

MODELS = "/v1/models"
"""The list of models, whose SDKs share one path."""

DEPLOYMENTS = "deployments"
"""Part of Azure's paths, as in `/openai/deployments/gpt-4o/chat/completions`."""

_ASK = "ask the provider directly, with a key of your own"
_OR = f"or {_ASK}"
_THEN = "and name it as the model of a backend"

NOT_SERVED = {
    "/v1/responses": "There is no WebSocket, and answers are not listed: send a POST to /v1/responses",
    "/v1/messages/batches": f"A batch runs for hours at one provider: send its requests one by one, {_OR}",
    "/v1/batches": f"A batch runs for hours at one provider: send its requests one by one, {_OR}",
    "/v1/files": f"A file stays at one provider: send its content in the request, {_OR}",
    "/v1/uploads": f"A file stays at one provider: send its content in the request, {_OR}",
    "/v1/vector_stores": f"A vector store stays at one provider: use embeddings and a database of your own, {_OR}",
    "/v1/assistants": f"Assistants stay at one provider: use responses (POST /v1/responses), {_OR}",
    "/v1/threads": f"Threads stay at one provider: use responses (POST /v1/responses), {_OR}",
    "/v1/conversations": "A conversation stays at one provider: send its items as input (POST /v1/responses), or go on "
    "from a response with previous_response_id",
    "/v1/realtime": "A realtime session is held with one provider: use POST /v1/audio/transcriptions and "
    f"/v1/audio/speech, {_OR}",
    "/v1/fine_tuning": f"A fine-tuned model belongs to one account: train it at its provider, {_THEN}",
    "/v1/containers": f"A container stays at one provider: run code in a tool of your own, {_OR}",
    "/v1/evals": f"An evaluation stays at one provider: run it in a client of Weir, {_OR}",
    "/v1/videos": f"A video is made in minutes, and fetched from the provider that makes it: {_ASK}",
    "/v1/complete": "The old completions API is not served: use messages (POST /v1/messages)",
}
"""Paths of providers that Weir does not serve, with those below them, and what to do instead."""


def meant(path: str) -> str:
    """The path that a client means: `//v1/messages/`, `/anthropic/v1/messages` and `/messages` are `/v1/messages`.

    A base URL by itself, such as `/v1/`, is `/`. The deployment in a path of Azure is left out, see `deployment`.
    """
    parts = _parts(path)
    if parts and parts[0] in PREFIXES:
        del parts[0]
        if parts[0:1] == [DEPLOYMENTS]:
            del parts[:2]
    while parts and parts[0] == VERSION[1:]:
        del parts[0]
    return "/".join((VERSION, *parts)) if parts else "/"


def deployment(path: str) -> str:
    """The model that a path of Azure names: `gpt-4o` in `/openai/deployments/gpt-4o/chat/completions`. Empty: none."""
    parts = _parts(path)
    azure = len(parts) > 2 and parts[0] in PREFIXES and parts[1] == DEPLOYMENTS
    return unquote(parts[2], errors="replace") if azure else ""


def shape(path: str, headers: Mapping[str, str]) -> FormatRecord:
    """The format of errors on a path, served or not. It follows the path: that of a format, those below it such as
    `/v1/messages/batches`, and those under a provider's prefix. Only the list of models is for callers of all formats,
    who are known by their header.
    """
    wanted = meant(path)
    for record in RECORDS:
        if wanted == record.path or wanted.startswith(f"{record.path}/"):
            return record
    first = _parts(path)[:1]
    if first and first[0] in PREFIXES:
        return caller_named(PREFIXES[first[0]])
    return caller_of(headers) if wanted == MODELS or wanted.startswith(f"{MODELS}/") else CONVERSATIONS[0]


def _parts(path: str) -> list[str]:
    """The parts of a path. A `/v1` before a provider's prefix counts for nothing: Azure's client puts its
    `/openai/deployments/NAME` behind its base URL.
    """
    parts = [part for part in path.split("/") if part]
    return parts[1:] if len(parts) > 1 and parts[0] == VERSION[1:] and parts[1] in PREFIXES else parts


def not_served(path: str) -> str | None:
    """The advice for a known path that Weir does not serve, such as `/v1/responses`; None: the path is unknown."""
    wanted = meant(path)
    return next((why for known, why in NOT_SERVED.items() if wanted == known or wanted.startswith(f"{known}/")), None)
