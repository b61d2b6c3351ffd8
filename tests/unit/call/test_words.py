"""A backend's last failure in one line, for reports and statuses: it names the cause, and no secret."""

from __future__ import annotations

import pytest

from weir_router.call.ends import QUOTING, words_of
from weir_router.contract import MAX_WORDS
from weir_router.errors import AttemptFailed, FailureKind

KEY = "sk-proj-4f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c"


@pytest.mark.parametrize(
    ("kind", "message", "words"),
    [
        (
            FailureKind.CREDENTIAL,
            f"Incorrect API key provided: {KEY}. You can find your key there.",
            "credential: Incorrect API key provided: [redacted] You can find your key there.",
        ),
        (FailureKind.CREDENTIAL, f"bad header: Bearer {KEY[3:]}", "credential: bad header: Bearer [redacted]"),
        (FailureKind.CONNECT, f"proxy says: authorization: bearer {KEY[3:]}", None),
        (FailureKind.RATE_LIMIT, "no\x1b[31m such\r\nthing\u2028\x00here", "rate_limit: no [31m such thing here"),
        (FailureKind.MODEL, "The model `m` does not exist", "model: The model `m` does not exist"),
    ],
)
def test_the_words_say_the_kind_and_the_upstreams_message(kind: FailureKind, message: str, words: str | None) -> None:
    found = words_of(AttemptFailed(kind, message))
    assert words is None or found == words
    assert KEY[3:] not in found
    assert found.isprintable()


@pytest.mark.parametrize("before", range(0, 520, 7))
def test_a_key_that_is_cut_is_not_shown_in_part(before: int) -> None:
    found = words_of(AttemptFailed(FailureKind.CREDIT, "x" * before + " " + KEY))
    assert KEY[3:9] not in found
    assert len(found) <= MAX_WORDS


@pytest.mark.parametrize("kind", sorted(QUOTING))
def test_a_message_that_may_quote_the_prompt_is_left_out(kind: FailureKind) -> None:
    prompt = "cannot process 'my salary is 1000'"
    assert words_of(AttemptFailed(kind, prompt, status=500, code="boom")) == f"{kind}: HTTP 500, boom"
    assert words_of(AttemptFailed(kind, prompt)) == f"{kind}: an error in its stream"
