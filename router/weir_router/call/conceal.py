"""The credential that was sent, removed from an upstream's words. Used by `call.attempt`."""

from __future__ import annotations

from weir_router.errors import AttemptFailed

SHORTEST_SECRET = 8
"""Characters of the shortest credential that is concealed. A shorter one is a placeholder such as "EMPTY" or "none",
whose removal would garble messages."""

MAX_HEADER = 256
"""Characters of one header of the upstream's answer that go to the caller."""

REDACTED = "[redacted]"
"""Text in place of a credential."""


def conceal(failure: AttemptFailed, credential: str | None) -> None:
    """Removes the credential that was sent from the upstream's text; `failures.redacted` only knows typical keys."""
    if credential is None or len(credential) < SHORTEST_SECRET:
        return
    for name in ("message", "code", "type", "param"):
        if (text := getattr(failure, name)) and credential in text:
            setattr(failure, name, text.replace(credential, REDACTED))
    failure.args = (failure.message,)  # shown in a traceback


def passed_on(headers: dict[str, str], names: tuple[str, ...], credential: str | None) -> dict[str, str]:
    """The headers of the upstream's answer that go to the caller, without the credential."""
    found: dict[str, str] = {}
    for name in names:
        if name in headers:
            text = headers[name]
            if credential is not None and credential in text and len(credential) >= SHORTEST_SECRET:
                text = text.replace(credential, REDACTED)
            found[name] = text[:MAX_HEADER]
    return found


def concealed(body: bytes, credential: str | None) -> bytes:
    """A whole answer without the credential. Encoded, reversed or cut in two, it would not be found."""
    if credential is None or len(credential) < SHORTEST_SECRET:
        return body
    secret = credential.encode()
    return body.replace(secret, REDACTED.encode()) if secret in body else body
