"""Classifies error answers of upstreams as `AttemptFailed`, for all formats. Used by the formats' `failures`.

A format's table is read top to bottom, and the first rule that fits wins. If none fits, the error may be about a
parameter that Weir added; otherwise the status decides. It comes last because providers use it loosely: a
spend cap is a 429, an empty account a 400, moderation a 403, and an error inside a stream has no status at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from weir_router.dialects.wire import retry_after, sse
from weir_router.errors import AttemptFailed, FailureKind

MAX_MESSAGE = 2_000
"""Characters of an upstream's message that are kept: enough for every provider's, though some echo the request."""

MAX_PLAIN_TEXT = 300
"""Characters of the longest plain-text body that counts as a message; longer ones are web pages."""

MAX_PARSED_BYTES = 1024 * 1024
"""Bytes of the longest error body that is parsed; no provider's error is longer."""


class Said(NamedTuple):
    """The contents of an upstream's error."""

    status: int | None  # None: inside a stream or a 200, and not known from the type
    type: str | None
    code: str | None
    param: str | None
    message: str
    framed: bool = True  # the body is an error object, as the format has them


class Rule(NamedTuple):
    """A rule, which fits if every field that is set fits; `names` are matched against both code and type.

    Only the upstream's own words in a message put a backend out (see `_PUTS_OUT`): providers quote the caller's
    values, and a request with `"tool_choice": "insufficient credits"` must not put a backend out for all callers.
    """

    kind: FailureKind
    names: frozenset[str] = frozenset()
    message: re.Pattern[str] | None = None
    statuses: frozenset[int] = frozenset()

    def fits(self, said: Said) -> bool:
        """Whether this rule fits the failure."""
        if self.names and said.code not in self.names and said.type not in self.names:
            return False
        if self.statuses and said.status not in self.statuses:
            return False
        if self.message is None:
            return True
        if self.kind not in _PUTS_OUT or _by_status(said.status) in _PUTS_OUT:
            return self.message.search(said.message) is not None
        about_the_request = said.param is not None and said.param != "model"
        return not about_the_request and self.message.search(_QUOTED.sub("", said.message)) is not None


_PUTS_OUT = frozenset({FailureKind.CREDENTIAL, FailureKind.CREDIT, FailureKind.MODEL})
# From the first quote to the last, since the caller's value may hold quotes; not the apostrophe of "don't".
_QUOTED = re.compile(r"(?<!\w)'.*'(?!\w)|\".*\"|`.*`", re.DOTALL)


def phrases(*alternatives: str) -> re.Pattern[str]:
    """A pattern for any of these regular expressions, in any case."""
    return re.compile("|".join(alternatives), re.IGNORECASE)


class Table(NamedTuple):
    """The rules of one format."""

    rules: tuple[Rule, ...]
    statuses: dict[str, int]  # error type -> the HTTP status that goes with it, for errors that came without one
    tuning: frozenset[str]  # fields without which the answer still fits the request
    renames: dict[str, str]  # field -> another name for the same, which some models demand
    needs: frozenset[str]  # other fields that some models refuse
    parts: tuple[tuple[str, re.Pattern[str]], ...]  # refused parts of messages: a name, and the words for it


UNFIT_NAMES = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden"})
"""Codes of refusals about what one model accepts."""

UNFIT = phrases(
    r"\b(not|isn't|aren't) (supported|allowed|permitted|available)\b",
    r"\b(does not|doesn't|do not|don't|cannot|can't|unable to) (support|use|accept|handle)\b",
    r"\bunsupported\b",
    r"\bno longer supported\b",
    r"\bdeprecated for this model\b",
    r"\b(unrecognized|unknown|unexpected|extra) (request )?(argument|parameter|field|key|input|property)",
    r"\bonly supports?\b",
    r"\bonly the default\b",
    r"\bcannot both be\b",
    r"\bmust end with a user message\b",
    r"\bno endpoints found that support",
    r"\bat most \d+ characters",
    r"\bstring too long\b",
    r"\bmultimodal\b",
)
"""Words of refusals about what one model accepts: another may take the same request."""

PARTS = (
    ("image", phrases(r"\bimages?\b", r"\bimage_url\b", r"\bvision\b", r"\bmultimodal\b")),
    ("audio", phrases(r"\binput_audio\b", r"\baudio\b")),
    ("document", phrases(r"\bdocuments?\b", r"\bpdfs?\b")),
    ("prefill", phrases(r"\bprefill", r"must end with a user message")),
    ("tools", phrases(r"\btools?\b", r"\bfunction call")),
)
"""Parts of a request that models refuse, and the words for them; of both formats."""

BY_STATUS: dict[int, FailureKind] = {
    401: FailureKind.CREDENTIAL,
    402: FailureKind.CREDIT,
    403: FailureKind.CREDENTIAL,
    404: FailureKind.MODEL,
    405: FailureKind.MODEL,  # the base URL is wrong: out until the config changes, like a missing model
    408: FailureKind.SERVER,
    409: FailureKind.SERVER,  # a conflict between the upstream's own parts; the SDKs retry it, too
    410: FailureKind.MODEL,
    425: FailureKind.SERVER,
    429: FailureKind.RATE_LIMIT,
    498: FailureKind.OVERLOAD,  # Groq: no flex capacity
    499: FailureKind.SERVER,
    503: FailureKind.OVERLOAD,
    508: FailureKind.LOOP,
    529: FailureKind.OVERLOAD,
}
"""Kinds of failure by status, if no rule fits. Other 4xx are the caller's, 3xx a wrong base URL, the rest the server's.
"""


def from_answer(
    table: Table, status: int, headers: Mapping[str, str], body: bytes, added: frozenset[str]
) -> AttemptFailed:
    """Classifies an HTTP error answer with any body."""
    said = _read_body(status, body, headers.get("content-type", ""))
    failed = _classified(table, said, added)
    failed.retry_after = retry_after.seconds(headers, limited=failed.kind is FailureKind.RATE_LIMIT)
    return failed


def from_payload(table: Table, payload: dict[str, Any]) -> AttemptFailed:
    """Classifies an error event of a stream, or an error inside a 200; added parameters were accepted by then."""
    said = _read_json(payload, None)
    if said.status is None:
        name = said.type if said.type in table.statuses else said.code
        said = said._replace(status=table.statuses.get(name or ""))
    return _classified(table, said, frozenset())


def is_error(payload: dict[str, Any]) -> bool:
    """Whether a decoded answer or event is an error: `{"error": ...}`, or vLLM's older `{"object": "error"}`."""
    return bool(payload.get("error")) or payload.get("object") == "error"


def malformed(what: str) -> AttemptFailed:
    """The failure for an answer that violates its format."""
    return AttemptFailed(FailureKind.MALFORMED, f"The upstream sent {what}.")


def _classified(table: Table, said: Said, added: frozenset[str]) -> AttemptFailed:
    rule = next((rule for rule in table.rules if rule.fits(said)), None)
    if rule is not None:
        kind = rule.kind
    else:
        kind = _by_status(said.status)
    field = None
    if kind in (FailureKind.CALLER, FailureKind.UNFIT, FailureKind.SERVER) and said.status in _REFUSING:
        field = next((name for name in sorted(added) if _is_about(said, name)), None)
        unfit = said.code in UNFIT_NAMES or said.type in UNFIT_NAMES or UNFIT.search(said.message) is not None
        if field is not None and (unfit or said.status in (400, 422)):
            kind = FailureKind.ADDED
        elif unfit and said.param != "model":
            kind, field = FailureKind.UNFIT, refused_field(table, said)
    status = said.status
    if not said.framed and status in (401, 403) and kind in _PUTS_OUT:
        kind = FailureKind.BLOCKED  # a firewall's page, which says nothing about our account
    if not said.framed and kind is FailureKind.LOOP:
        kind = FailureKind.SERVER  # a web host's page about its limits, which use this status too
    if kind in (FailureKind.CALLER, FailureKind.CONTENT_FILTER) and status in (None, 401, 403):
        status = 400  # a caller would understand a 401 or 403 as a fault of its own key
    return AttemptFailed(
        kind,
        redacted(said.message),
        status=status,
        code=said.code,
        type=said.type,
        param=said.param,
        field=field,
        tunes=field is not None and (field in added or field in table.tuning or field in table.renames),
    )


def _by_status(status: int | None) -> FailureKind:
    if status is None:
        return FailureKind.SERVER
    if status in BY_STATUS:
        return BY_STATUS[status]
    if 300 <= status < 400:
        return FailureKind.MODEL
    return FailureKind.CALLER if 400 <= status < 500 else FailureKind.SERVER


def _is_about(said: Said, name: str) -> bool:
    """Whether the error is about this top-level field that Weir added: by `param`, else by its name in the message."""
    return _top(said.param) == name if said.param else _mentions(said.message, name)


def _top(param: str) -> str:
    return re.split(r"[.\[]", param, maxsplit=1)[0]


def refused_field(table: Table, said: Said) -> str | None:
    """The field that the upstream refuses, by `param` or by the upstream's own words; None: it is unknown.

    Only names of the table count, and a name in quotes only where providers put the field, since they quote the
    caller's values, too: at the beginning, or after the word "parameter".
    """
    known = table.tuning.union(table.needs, table.renames)  # `|` with keys gives a set, which compiled code refuses
    if said.param and (top := _top(said.param)) in known:
        return _tuning_part(table, top, said.param[len(top) :]) or top
    named = _AT_THE_FRONT.match(said.message) or _AFTER_PARAMETER.search(said.message)
    if named is not None and named[1] in known:
        return _tuning_part(table, named[1], said.message[named.end(1) :]) or named[1]
    words = _QUOTED.sub("", said.message)
    part = next((name for name, pattern in table.parts if pattern.search(words)), None)
    return part or next((name for name in sorted(known) if re.search(rf"\b{name}\b", words)), None)


def _tuning_part(table: Table, field: str, rest: str) -> str | None:
    """The part that only tunes of a field that does more, if the upstream names it: `output_config.effort`."""
    part = _A_PART.match(rest) if field in table.needs else None
    return part[1] if part is not None and part[1] in table.tuning else None


_REFUSING = frozenset({400, 404, 422, 500, 501})
# Statuses with which servers refuse a field. llama.cpp says 500, OpenRouter 404.
_AT_THE_FRONT = re.compile(r"[\s'\"`]*(?:body\.)?([a-z_]+)(?=[.:\['\"`\s])")
_A_PART = re.compile(r"\.([a-z_]+)\b")
_AFTER_PARAMETER = re.compile(
    r"\b(?:parameters?|arguments?(?: supplied)?|fields?|names?|keys?)\b:?\s*['\"`]?([a-z_]+)\b", re.IGNORECASE
)


def _mentions(message: str, name: str) -> bool:
    # "stream" is an everyday word and a prefix of stream_options: it must be quoted, or be followed by a colon.
    if re.search(rf"['\"`]{name}['\"`]|(^|[.,;:\s]){name}: ", message):
        return True
    if name == "stream":
        return re.search(r"\bstreaming\b|\b(to|with) stream\b", message, re.IGNORECASE) is not None
    return re.search(rf"\b{name}\b", message) is not None


def _read_body(status: int, body: bytes, content_type: str) -> Said:
    try:
        payload = sse.loads(body[:MAX_PARSED_BYTES]) if body.strip() else None
    except ValueError:
        payload = None
    if isinstance(payload, list) and payload:  # Gemini's OpenAI-compatible endpoint wraps its error in a list
        payload = payload[0]
    if isinstance(payload, dict):
        return _read_json(payload, status)
    text = " ".join(body[: MAX_PLAIN_TEXT * 4].decode("utf-8", "replace").split())
    if not text:
        what = "redirects, which is not followed" if 300 <= status < 400 else "without a body"
        return Said(status, None, None, None, f"HTTP {status} {what}", False)
    if len(text) > MAX_PLAIN_TEXT or text.startswith("<"):
        what = f"HTTP {status} with {len(body)} bytes of {content_type or 'some type'}"
        return Said(status, None, None, None, what, False)
    return Said(status, None, None, None, text, False)


def _read_json(payload: dict[str, Any], status: int | None) -> Said:
    """An error in any of the forms of OpenAI- and Anthropic-compatible servers."""
    error = payload.get("error")
    fields = error if isinstance(error, dict) else payload
    message = _first_text(fields, "message", "msg", "detail", "error_description", "error")
    code = fields.get("code")
    if status is None:
        status = _status_in(code) or _status_in(fields.get("status")) or _status_in(fields.get("status_code"))
    return Said(
        status,
        _text(fields.get("type")),
        _text(code) or _text(fields.get("status")),
        _text(fields.get("param")),
        _with_metadata(message or f"HTTP {status}" if status else message or "no message", fields),
        framed=message is not None,
    )


def _with_metadata(message: str, fields: dict[str, Any]) -> str:
    """The shortened message; OpenRouter's "Provider returned error" has the rest in `metadata.raw`."""
    metadata = fields.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    return _writable((f"{message}: {raw}" if isinstance(raw, str) and raw else message)[:MAX_MESSAGE])


def _writable(text: str) -> str:
    """`text` without halves of surrogate pairs, which JSON may hold, but not an answer or a log line."""
    return text.encode("utf-8", "replace").decode()


def _status_in(value: object) -> int | None:
    """A status in the body: vLLM and OpenRouter send it as `code`."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        value = int(value)
    if isinstance(value, int) and 400 <= value < 600:
        return value
    return None


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return _writable(value[:MAX_PLAIN_TEXT]) or None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1_000_000:
        return str(value)
    return None


def _first_text(fields: dict[str, Any], *names: str) -> str | None:
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, list) and value:  # FastAPI's 422
            return "; ".join(_detail(item) for item in value[:5])
    return None


def _detail(item: object) -> str:
    if not isinstance(item, dict):
        return str(item)[:MAX_PLAIN_TEXT]
    place = item.get("loc")
    where = ".".join(str(step) for step in place) if isinstance(place, list) else ""
    return f"{where}: {item.get('msg')}"[:MAX_PLAIN_TEXT]


_SECRETS = re.compile(
    r"""
    (?P<lead>
      (?:(?:api|subscription|access)[\s_-]?key|token|credentials?|client[\s_-]?secret)\b
        ["'`]?(?:\s+(?:provided|is))?\s*[:=]\s*["'`]?
      | (?:api|subscription)[\s_-]?key\s+["'`]?(?=[0-9a-f]{16})
      | bearer\s+
    )
    (?P<value>[^\s"'`,;]{4,})
    | \b(?:sk|pk|rk|key|gsk|xai|hf|r8|weir|pplx|fw|nvapi|csk|tgp)[-_][\w*.+/=-]{6,}
    | \bAIza[\w*-]{10,}
    | \bgh[opsu]_\w{16,}
    | \bA[KS]IA[A-Z0-9*]{8,}
    | \beyJ[\w*-]{8,}(?:\.[\w*-]+)*
    """,
    re.IGNORECASE | re.VERBOSE,
)


def redacted(message: str) -> str:
    """An upstream's message without text that looks like a key: providers quote a refused key."""
    return _SECRETS.sub(lambda found: f"{found.group('lead') or ''}[redacted]", message)
