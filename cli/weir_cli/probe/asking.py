"""Asks backends, through the router's own transport: no redirect is followed, and the rules for hosts hold.

A credential goes to its backend only, and the words of an error are shown without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from weir_cli.probe.questions import Question, questions, renamed
from weir_router.call.conceal import conceal
from weir_router.call.transport import AutoTransport
from weir_router.contract import Backend, HostPolicy, WireFormat
from weir_router.dialects.registry import CONVERSATIONS
from weir_router.dialects.usage import Usage
from weir_router.errors import AttemptFailed

AT_ONCE = 8
"""Backends that are asked at the same time, each one question after the other."""

MISSING = frozenset({404, 405, 410, 501})
"""Statuses of a server that does not have the path, or not for this model."""

UNREAD = frozenset({400, 415, 422})
"""Statuses of a request that the server has looked at and does not take."""

WORDS = 160
"""Characters of a server's words that are shown."""

_REACHED = "limit was reached"
"""Words of OpenAI's refusal where a model that reasons has used up the only token: it speaks the format."""


class Target(NamedTuple):
    """A backend to ask."""

    tier: str  # "namespace/name"
    backend: Backend
    credential: str | None


class Found(NamedTuple):
    """The answer to one question."""

    question: Question
    spoken: bool | None  # None: unclear
    status: int | None = None
    detail: str = ""
    usage: Usage | None = None


async def ask_all(
    targets: Sequence[Target], policy: HostPolicy, timeout: float, done: Callable[[], None]
) -> list[list[Found]]:
    """The answers of each target, in the order of targets. `done` is called after each answer."""
    transport, slots = AutoTransport(lambda: policy), asyncio.Semaphore(AT_ONCE)

    async def all_of(target: Target) -> list[Found]:
        found = []
        async with slots:
            for question in questions(target.backend, target.credential):
                found.append(await _ask(transport, target, question, timeout))
                done()
        return found

    try:
        return await asyncio.gather(*map(all_of, targets))
    finally:
        await transport.close()


async def _ask(transport: AutoTransport, target: Target, question: Question, timeout: float) -> Found:
    found = await _once(transport, target, question, timeout)
    if question.what is WireFormat.CHAT and found.status == 400 and "max_completion_tokens" in found.detail:
        return await _once(transport, target, renamed(question, target.backend, target.credential), timeout)
    return found


async def _once(transport: AutoTransport, target: Target, question: Question, timeout: float) -> Found:
    url = target.backend.base_url + question.path
    try:
        async with asyncio.timeout(timeout):
            response = await transport.ask("POST", url, question.headers, question.body, timeout)
            try:
                body = await response.read_all()
            finally:
                response.release()
    except TimeoutError:
        return Found(question, None, detail=f"no answer within {timeout:g} s")
    except AttemptFailed as failure:
        return Found(question, None, detail=_words(failure, target.credential))
    if 200 <= response.status < 300:
        return _answered(question, target, response.status, body)
    return _refused(question, target, response.status, response.headers, body)


def _answered(question: Question, target: Target, status: int, body: bytes) -> Found:
    try:
        payload: Any = msgspec.json.decode(body)
        if isinstance(question.what, WireFormat):
            record = next(it for it in CONVERSATIONS if it.name is question.what)
            return Found(question, True, status, usage=record.read_whole(payload).usage)
    except msgspec.MsgspecError:
        return Found(question, False, status, "answers with something that is not JSON")
    except AttemptFailed as failure:
        return Found(question, False, status, _words(failure, target.credential))
    if question.refused:
        return Found(question, None, status, "answers a request without a prompt")
    if isinstance(payload, dict) and isinstance(payload.get(str(question.shown)), list):
        return Found(question, True, status, usage=_usage(payload.get("usage")))
    return Found(question, False, status, f"answers without `{question.shown}`")


def _refused(question: Question, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Found:
    if 300 <= status < 400:
        return Found(question, None, status, "redirects, which is not followed: state the address that it redirects to")
    record = next(it for it in CONVERSATIONS if it.name is question.what or not isinstance(question.what, WireFormat))
    words = _words(record.failure(status, headers, body, frozenset()), target.credential)
    if status in MISSING:
        return Found(question, False, status, words)
    if status in UNREAD and (question.refused or _REACHED in words):
        return Found(question, True, status)
    return Found(question, None, status, words)


def _words(failure: AttemptFailed, credential: str | None) -> str:
    """The server's words on one line, without the credential."""
    conceal(failure, credential)
    words = " ".join(failure.message.split())
    return words if len(words) <= WORDS else f"{words[:WORDS]}…"


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    known = [count if type(count) is int and count >= 0 else 0 for count in counts]
    return Usage(input=known[0], output=known[1])
