"""Asks sources which models a key may use: `GET /models`, all sources at once, each once.

Called by `keys`. It sends a key to its own provider only, follows no redirect, and repeats no key of an error.
"""

from __future__ import annotations

import json
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal, InvalidOperation
from http.client import HTTPException
from typing import Any, NamedTuple

from weir_cli.shared.chat_models import OTHER_WORK
from weir_cli.up.sources import Source, versioned
from weir_router.dialects.registry import host_of

TIMEOUT = 10.0
"""Seconds for the answer of a source: listings take a second, and one that hangs does not hold up a start for longer.
"""

LOCAL_TIMEOUT = 2.0
"""Seconds for a server of this machine, which answers at once or not at all."""

MAX_LISTING = 16 * 1024 * 1024
"""Bytes of a listing; the longest known has less than one MiB."""

MAX_MODELS = 1000
"""Models of one source that are served by name: three times as many as the longest known listing has."""

MAX_WORDS = 200
"""Characters of a provider's message that are repeated."""

REFUSALS = (401, 403)
"""Status codes of a key that is not accepted, or not for models."""

_NAME = re.compile(r"[!-~]{1,253}")


class Listed(NamedTuple):
    """A model as its source lists it."""

    name: str
    price: tuple[Decimal, Decimal] | None = None  # US dollars per million tokens of input and of output


class Listing(NamedTuple):
    """The models that a key may use, or the reason why they are unknown."""

    models: tuple[Listed, ...] = ()
    problem: str | None = None  # a sentence without the key; with models: why they are not checked
    base_url: str | None = None  # the address that answered, where it is not the source's


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: it could lead a key to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


def ask_all(sources: Sequence[Source]) -> list[Listing]:
    """The listing of each source, in the order of sources."""
    with ThreadPoolExecutor(max(1, len(sources))) as pool:
        return list(pool.map(ask, sources))


def ask(source: Source) -> Listing:
    """The listing of one source. Raises nothing."""
    found = _ask(source, source.base_url)
    if found.problem and source.stated and not versioned(source.dialect) and not source.base_url.endswith("/v1"):
        longer = f"{source.base_url}/v1"
        again = _ask(source, longer)  # as servers with OpenAI's paths are often named
        if again.problem is None:
            return again._replace(base_url=longer)
    return found


def _ask(source: Source, base_url: str) -> Listing:
    try:
        request = urllib.request.Request(_url(source, base_url), headers=_headers(source))
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(request, timeout=LOCAL_TIMEOUT if source.local else TIMEOUT) as answer:
            found = _listing(json.loads(answer.read(MAX_LISTING)))
            return found if found.models else Listing(problem="answers, but lists no chat model.")
    except urllib.error.HTTPError as error:
        with error:
            problem = _refused(source, error)
            unlisted = error.code not in REFUSALS and not source.stated  # by a provider that is known otherwise
            return Listing(_presumed(source) if unlisted else (), problem)
    except (OSError, HTTPException) as error:
        return Listing(problem=_unreachable(source, error))
    except ValueError:  # no JSON, or a key that no header can carry
        return Listing(problem=f"{source.base_url} does not list models as {source.dialect} does.")


def _presumed(source: Source) -> tuple[Listed, ...]:
    """The models that the presets name, where a provider does not list any."""
    return tuple(sorted({Listed(name) for names in source.tiers.values() for name in names}))


def _url(source: Source, base_url: str) -> str:
    return f"{base_url}/v1/models?limit=1000" if versioned(source.dialect) else f"{base_url}/models"


def _headers(source: Source) -> dict[str, str]:
    return {**host_of(source.dialect).headers(source.key, ()), "accept": "application/json", "user-agent": "weir"}


def _listing(body: Any) -> Listing:
    entries = body.get("data", body.get("models")) if isinstance(body, dict) else body
    if not isinstance(entries, list):
        raise ValueError("no list of models")
    models = {it.name: it for it in _models(entries)}
    return Listing(tuple(sorted(models.values())[:MAX_MODELS]))


def _models(entries: list[Any]) -> Iterator[Listed]:
    for entry in entries:
        name = entry.get("id", entry.get("name")) if isinstance(entry, dict) else None
        name = name.removeprefix("models/") if isinstance(name, str) else ""  # as Gemini lists them
        if _NAME.fullmatch(name) and "*" not in name and not OTHER_WORK.search(name):
            yield Listed(name, _price(entry.get("pricing")))


def _price(stated: Any) -> tuple[Decimal, Decimal] | None:
    """OpenRouter's prices, in dollars per token; below zero: it depends on the model that answers."""
    if not isinstance(stated, Mapping):
        return None
    try:
        figures = [Decimal(str(stated[name])) * 1_000_000 for name in ("prompt", "completion")]
    except (KeyError, InvalidOperation):
        return None
    if not all(it.is_finite() and 0 <= it < 1_000_000 for it in figures):
        return None
    return figures[0].quantize(Decimal("0.000001")), figures[1].quantize(Decimal("0.000001"))


def _refused(source: Source, error: urllib.error.HTTPError) -> str:
    words = _words(source, error)
    named = source.secret.variable if source.secret else "a key"
    match error.code:
        case 401 | 403 if source.key is None:
            return f"asks for a key ({error.code}){words}: set {source.variable or 'one'}."
        case 401 | 403:
            return f"refuses the key of {named} ({error.code}){words}. Check that it is whole and not revoked."
        case 300 | 301 | 302 | 303 | 307 | 308:
            return f"{source.base_url} redirects ({error.code}): state the address that it redirects to."
        case _:
            return f"answers {error.code} to the question for its models{words}."


def _words(source: Source, error: urllib.error.HTTPError) -> str:
    """The provider's own message, as `: message`, without anything that looks like the key."""
    try:
        body = json.loads(error.read(65_536))
    except (OSError, HTTPException, ValueError):
        return ""
    body = body[0] if isinstance(body, list) and body else body  # Google's
    inner = body.get("error", body) if isinstance(body, dict) else None
    message = inner.get("message") if isinstance(inner, dict) else inner
    if not isinstance(message, str) or not message.strip():
        return ""
    plain = " ".join(message.split())[: MAX_WORDS * 4]
    return f": {_without_key(plain, source.key or '')[:MAX_WORDS].rstrip('. ')}"


def _without_key(text: str, key: str) -> str:
    """`text` without the key, and without words that show its beginning or end, as providers do."""
    if key:
        text = text.replace(key, "[key]")
    shown = tuple(it for it in (key[:6], key[-4:]) if len(it) >= 4)
    return " ".join("[key]" if "***" in word or any(it in word for it in shown) else word for word in text.split(" "))


def _unreachable(source: Source, error: OSError | HTTPException) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        why = f"its certificate is not trusted ({reason.verify_message}); SSL_CERT_FILE names further authorities"
    elif isinstance(reason, TimeoutError):
        why = f"no answer within {LOCAL_TIMEOUT if source.local else TIMEOUT:g} s"
    else:
        why = (getattr(reason, "strerror", None) or str(reason) or type(reason).__name__)[:MAX_WORDS]
    return f"{source.base_url} cannot be reached: {why}. Check the network, and HTTPS_PROXY if there is a proxy."
