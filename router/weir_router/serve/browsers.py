"""Decides which web pages may call a router. Used by `serve.routes` for every port.

A browser sends requests to 127.0.0.1 on behalf of any page. So where callers need no key, the origin of a page has to
be allowed. Browsers name it in `Origin`, at least with every POST. A page whose own name resolves to 127.0.0.1 (DNS
rebinding) shares the router's origin and need not send it, but its name is the `Host` of the request. So a router on
loopback serves only hosts of this machine. SDKs send no `Origin`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from ipaddress import ip_address

from weir_router.errors import HostNotAllowed, OriginNotAllowed, WeirError
from weir_router.serve.http import fields

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]", "tauri.localhost"})
"""Hosts whose pages may call, with any port. A server or a desktop application of this machine made these pages."""

APP_SCHEMES = frozenset({"app", "tauri", "vscode-webview"})
"""Schemes that only desktop applications use in origins, such as `vscode-webview://0a1b2c`."""

ANY = "*"
"""An option's value that allows every origin."""

MAX_HOSTS = 64
"""Valid values of `Host` that a port remembers. The SDKs of one machine send two or three."""

PREFLIGHT_SECONDS = "600"
"""Seconds for which a browser remembers that a page may call."""

_SHOWN = 100  # characters of a header in an error message
_HOST = r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
_AUTHORITY = re.compile(_HOST)
_NAMED = re.compile(rf"null|\*|[a-z][a-z0-9+.-]*:(?://{_HOST})?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def origin_of(text: str) -> str:
    """An option's origin in its normal form: `https://app.example.com`, `app:` (the whole scheme), `null` or `*`.

    Raises `ValueError`.
    """
    origin = text.lower()
    if not _NAMED.fullmatch(origin):
        raise ValueError(
            f"{text!r} is not an origin. Write scheme and host, such as https://app.example.com, with a port if it is "
            "not the scheme's own, and without a path; SCHEME: for a whole scheme; null; or * for every page"
        )
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition(":")[0], ""))


def is_loopback(host: str) -> bool:
    """Whether `host` is `localhost` or a loopback address, such as `127.0.0.1`, `::1` or `[::1]`.

    Other names never count as loopback: they are not resolved.
    """
    name = host.lower().removesuffix(".")
    if name == "localhost":
        return True
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


class Allowed:
    """The origins whose pages may call, and the hosts that a port on loopback serves."""

    __slots__ = ("any", "hosts", "origins", "schemes", "stated")

    def __init__(self, origins: Iterable[str] = (), host: str = "localhost", hosts: Iterable[str] = ()) -> None:
        """`origins` are results of `origin_of` and add to the defaults. `host` is the listener's own. If further
        `hosts` are stated, no others are served, even beyond loopback.
        """
        named = frozenset(origins)
        self.any = ANY in named
        self.origins = named
        self.schemes = APP_SCHEMES | {it[:-1] for it in named if it.endswith(":")}
        self.hosts = {it.lower().removesuffix(".") for it in (host, *hosts)}
        self.stated = len(self.hosts) > 1
        self.hosts |= {_host(it.partition("://")[2]) for it in named if it.startswith(("http://", "https://"))}

    def has(self, origin: str) -> bool:
        """Whether pages of `origin` may call."""
        text = origin.lower()
        if self.any or text in self.origins:
            return True
        scheme, separator, authority = text.partition("://")
        if not separator or scheme not in ("http", "https"):
            return bool(separator) and scheme in self.schemes
        return scheme in self.schemes or _host(authority).removesuffix(".") in LOCAL_HOSTS


def refusal(origin: str | None, host: str | None, site: str | None, allowed: Allowed) -> WeirError | None:
    """The error for a request that needs no key but that a web page sent; None if it may be served.

    The arguments are the headers `Origin`, `Host` and `Sec-Fetch-Site`. `host` is None where every host is valid.
    """
    if origin is not None and not allowed.has(origin):
        return _not_allowed(f"Web pages of the origin {_shown(origin)} may not call this router.")
    if origin is None and site is not None and site.lower() == "cross-site" and not allowed.any:
        return _not_allowed("A web page of another site sent this request; such pages may not call this router.")
    if host is None or _is_own(host, allowed):
        return None
    return HostNotAllowed(
        f"This router does not serve the host {_shown(host)}: a web page can make any name resolve to it. Call it as "
        "localhost or 127.0.0.1. If a proxy keeps its own name in Host, start the router with --allow-origin "
        "http://NAME, or --allow-host NAME where weir up listens beyond loopback."
    )


class Gate:
    """The check of one port. It leaves the decision to `refusal` and remembers valid hosts, to skip it mostly."""

    __slots__ = ("_allowed", "_good", "_pages", "_refused", "anonymous", "checks_host")

    def __init__(self, allowed: Allowed, refused: Callable[[str], None], *, anonymous: bool, pages: bool) -> None:
        """`refused` counts refused pages. `pages`: the pages of allowed origins may read answers."""
        self._refused = refused
        self.anonymous = anonymous  # callers need no key; follows the config
        self.checks_host = True  # only the port's own hosts are served; see `listens`
        self._allowed = allowed
        self._pages = pages
        self._good: set[str] = set()

    def listens(self, addresses: Iterable[str]) -> None:
        """Called when the port is open: beyond loopback every host is served, unless some are stated."""
        self.checks_host = self._allowed.stated or any(map(is_loopback, addresses))

    def is_plain(self, headers: dict[str, str]) -> bool:
        """Whether the request can be served without `refusal`: a quick look at its headers."""
        if "origin" in headers or "sec-fetch-site" in headers:
            return False
        return not (self.anonymous and self.checks_host) or headers.get("host", "") in self._good

    def refusal(self, method: str, headers: dict[str, str]) -> WeirError | None:
        """The error for a request that is not served; None if it is."""
        error = self._judged(method, headers)
        if error is not None:
            self._refused("web_page")
        return error

    def _judged(self, method: str, headers: dict[str, str]) -> WeirError | None:
        origin, host = headers.get("origin"), headers.get("host") if self.checks_host else None
        if not self.anonymous:  # the key decides, but a preflight carries none
            asks = method == "OPTIONS" and self._pages
            return refusal(origin, None, None, self._allowed) if asks else None
        error = refusal(origin, host, headers.get("sec-fetch-site"), self._allowed)
        if error is None and host is not None:
            if len(self._good) >= MAX_HOSTS:
                self._good.clear()
            self._good.add(host)
        return error

    def lines(self, headers: dict[str, str]) -> bytes:
        """Header lines that let a page read the answer; empty for pages that must not."""
        origin = headers.get("origin")
        if origin is None or not self._pages or not self._allowed.has(origin):
            return b""
        return fields({"access-control-allow-origin": origin, "access-control-expose-headers": "*", "vary": "origin"})


def preflight(headers: dict[str, str]) -> bytes:
    """Header lines of the answer to a browser that asks what an allowed page may send: every header it names."""
    answer = {
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": headers.get("access-control-request-headers", "*"),
        "access-control-max-age": PREFLIGHT_SECONDS,
    }
    if "access-control-request-private-network" in headers:
        answer["access-control-allow-private-network"] = "true"
    return fields(answer)


def _not_allowed(why: str) -> OriginNotAllowed:
    return OriginNotAllowed(
        f"{why} To allow them, start the router with --allow-origin ORIGIN (chart value: cors.allowedOrigins)."
    )


def _host(authority: str) -> str:
    """The host in `HOST` or `HOST:PORT`; empty if `authority` has neither form."""
    found = _AUTHORITY.fullmatch(authority)
    return found[1] if found else ""


def _is_own(host: str, allowed: Allowed) -> bool:
    name = _host(host.lower())
    return bool(name) and (name.removesuffix(".") in allowed.hosts or is_loopback(name))


def _shown(value: str) -> str:
    return repr(value[:_SHOWN])
