"""Headers of upstream requests that many requests share. Made by a format, sent by `call.transport`."""

from __future__ import annotations

from collections.abc import Callable

from weir_router.contract import Extra

HEADERS_KEPT = 128
"""Sets of headers that are kept per host: more than the credentials of most configs; with callers' longest headers
8 MiB.
"""


class Kept(dict[str, str]):
    """Headers of many requests, which must not be changed. Their `lines` are made once."""

    __slots__ = ("lines",)

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__(headers)
        self.lines: bytes | None = None  # the bytes that a transport sends


LISTS = ("anthropic-beta",)
"""Headers whose values of caller and backend both count: features, each for itself."""


def extended(
    made: Callable[[str | None, tuple[tuple[str, str], ...]], Kept],
    credential: str | None,
    passed_on: tuple[tuple[str, str], ...],
    extra: Extra,
) -> Kept:
    """The headers for a backend with `extra`: those that a host has `made`, with the backend's own beside them."""
    headers = Kept(dict(made(credential if extra.key_header is None else None, passed_on)))
    for name, value in extra.headers.items():
        callers = headers.get(name) if name in LISTS else None
        headers[name] = value if callers is None else f"{callers},{value}"
    if extra.key_header is not None and credential is not None:
        bearer = extra.key_header == "authorization"
        headers[extra.key_header] = f"Bearer {credential}" if bearer else credential
    return headers


def path_with(path: str, query: str) -> str:
    """The path of a request with the query of its backend, if there is one."""
    return f"{path}?{query}" if query else path
