"""Parts of a ModelTier's backend that change the requests to it: headers, query and body parameters.

Read by `schema`, and compiled by `extra_of` and `default_of`. Values stand in the manifest, so none of them may be
secret: a key comes from a Secret, by `credentials`.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

import msgspec
from pydantic import Field

from weir_operator.schemas.common import MAX_LABELS, MAX_NAMES, MAX_TEXT, Token
from weir_operator.schemas.rules import MAP, SET, Model, Rule
from weir_router.contract import Extra

MAX_EXTRAS = 16
"""Headers and query parameters of a backend: providers document at most four."""

HEADER_NAME = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
HEADER_VALUE = r"^[!-~]([ -~]*[!-~])?$"
DEFAULT_VALUE = r"^[^\x00-\x1f]+$"

AUTH_HEADERS = (
    *("authorization", "proxy-authorization", "x-api-key", "api-key", "cookie", "x-goog-api-key"),
    "ocp-apim-subscription-key",
)
"""Headers that carry a secret, which no manifest may hold."""

OWN_HEADERS = (
    *("host", "connection", "content-length", "content-type", "content-encoding", "expect", "keep-alive", "te"),
    *("trailer", "transfer-encoding", "upgrade", "via", "accept", "accept-encoding", "anthropic-version"),
)
"""Headers that the router sets itself, or that are of one connection only."""

SECRET_PARAMETERS = ("key", "api_key", "api-key", "apikey", "token", "access_token", "code", "sig", "signature")
"""Query parameters that carry a secret: URLs stand in logs of every proxy on the way."""

OWN_PARAMETERS = ("model", "messages", "stream", "stream_options")
"""Fields of a request that the router writes itself."""


def _listed(names: tuple[str, ...]) -> str:
    return "[" + ", ".join(f"'{name}'" for name in names) + "]"


def _no_header_of_ours(name: str) -> bool:
    return name.lower() not in (*OWN_HEADERS, *AUTH_HEADERS) and not name.lower().startswith("x-weir-")


FREE_HEADER = Rule(
    f"!(self.lowerAscii() in {_listed((*OWN_HEADERS, *AUTH_HEADERS))}) && !self.lowerAscii().startsWith('x-weir-')",
    "the router sets this header itself; keys come from credentials, whose header may be named there",
    _no_header_of_ours,
)
KEY_HEADER = Rule(
    f"!(self.lowerAscii() in {_listed(OWN_HEADERS)}) && !self.lowerAscii().startsWith('x-weir-')",
    "the router sets this header itself",
    lambda name: name.lower() not in OWN_HEADERS and not name.lower().startswith("x-weir-"),
)

KeyHeader = Annotated[str, Field(min_length=1, max_length=MAX_NAMES, pattern=HEADER_NAME), KEY_HEADER]
DefaultValue = Annotated[str, Field(min_length=1, max_length=4096, pattern=DEFAULT_VALUE)]


class HeaderSpec(Model):
    """A header of requests to a backend."""

    name: Annotated[str, Field(min_length=1, max_length=MAX_NAMES, pattern=HEADER_NAME), FREE_HEADER]
    """Name of the header, for example `HTTP-Referer`; case does not matter."""
    value: Annotated[str, Field(min_length=1, max_length=1024, pattern=HEADER_VALUE)]
    """Value of the header, for example `https://app.example`, which replaces a caller's; `anthropic-beta` is added to
    the caller's. No secret: manifests are read by many."""


class QueryParameter(Model):
    """A query parameter of the URL of requests to a backend."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=MAX_NAMES, pattern=r"^[A-Za-z0-9._~-]+$"),
        Rule(
            f"!(self.lowerAscii() in {_listed(SECRET_PARAMETERS)})",
            "a key in a URL ends up in logs: use credentials",
            lambda name: name.lower() not in SECRET_PARAMETERS,
        ),
    ]
    """Name of the parameter, e.g. `api-version`."""
    value: Annotated[str, Field(min_length=1, max_length=MAX_TEXT, pattern=HEADER_VALUE)]
    """Value of the parameter, for example `2024-10-21`; characters that a URL cannot hold are escaped."""


def _differ(headers: tuple[HeaderSpec, ...]) -> bool:
    return len({it.name.lower() for it in headers}) == len(headers)


HEADERS_DIFFER = Rule(
    "self.all(one, self.exists_one(other, other.name.lowerAscii() == one.name.lowerAscii()))",
    "names of headers must differ in more than case",
    _differ,
)
Headers = Annotated[tuple[HeaderSpec, ...], Field(min_length=1, max_length=MAX_EXTRAS), MAP, HEADERS_DIFFER]
Query = Annotated[tuple[QueryParameter, ...], Field(min_length=1, max_length=MAX_EXTRAS), MAP]


class ParametersSpec(Model):
    """Changes that make requests fit the model. A stated field replaces the catalogue's for a known model."""

    drop: Annotated[tuple[Token, ...], Field(max_length=MAX_NAMES), SET] | None = None
    """Names of top-level request fields that the model refuses, for example `[seed]`. Default: the catalogue's."""
    rename: (
        Annotated[
            dict[str, Token],
            Field(max_length=MAX_LABELS),
            Rule(
                "self.all(key, size(key) > 0 && size(key) <= 253)",
                "a parameter's name has 1 to 253 characters",
                lambda renames: all(0 < len(key) <= 253 for key in renames),
            ),
        ]
        | None
    ) = None
    """New names of top-level request fields, e.g. `max_tokens: max_completion_tokens`. Default: the catalogue's."""
    defaults: (
        Annotated[
            dict[str, DefaultValue],
            Field(max_length=MAX_LABELS),
            Rule(
                f"self.all(key, size(key) > 0 && size(key) <= 253 && !(key in {_listed(OWN_PARAMETERS)}))",
                "a parameter's name has 1 to 253 characters and is none of those that the router writes: "
                + ", ".join(OWN_PARAMETERS),
                lambda defaults: all(0 < len(key) <= 253 and key not in OWN_PARAMETERS for key in defaults),
            ),
        ]
        | None
    ) = None
    """Values of top-level request fields that are added where the request lacks them, before `rename` and `drop`: by
    their names at the backend, with values as JSON, e.g. `temperature: "0.2"`. A text that is no JSON is a string, e.g.
    `reasoning_effort: high`. Default: none."""


def extra_of(
    headers: tuple[HeaderSpec, ...] | None, query: tuple[QueryParameter, ...] | None, key: str | None
) -> Extra | None:
    """The compiled form; `key` is the name of the header for the credential. None: there is nothing of this."""
    if not headers and not query and key is None:
        return None
    return Extra(
        headers={it.name.lower(): it.value for it in headers or ()},
        query=urlencode([(it.name, it.value) for it in query or ()]),
        key_header=key.lower() if key is not None else None,
    )


def default_of(text: str) -> str:
    """The JSON of a default's value: `0.2` and `high` become `0.2` and `"high"`."""
    try:
        return msgspec.json.encode(msgspec.json.decode(text)).decode()
    except (msgspec.DecodeError, RecursionError):
        return msgspec.json.encode(text).decode()
