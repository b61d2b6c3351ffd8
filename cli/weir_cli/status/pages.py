"""Routers' admin pages, by their URLs. The edge of `weir status`; those of a cluster: `weir_cli.status.cluster`."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping

from weir_cli.cluster.connection import NoPages
from weir_cli.status.figures import Page

PAGE_SECONDS = 10.0
"""Seconds for one page."""


TOKEN_NEEDED = "the router shows its pages to those who send its token: --admin-token-file"
"""Reason why a router gives no page."""


def from_urls(urls: list[str], headers: Mapping[str, str]) -> list[Page]:
    """The pages of these admin ports, asked for with `headers`. Raises `NoPages`."""
    return [page(url, lambda path, url=url: _get(url.rstrip("/") + path, headers)) for url in urls]  # type: ignore[misc]


def page(router: str, get: Callable[[str], str]) -> Page:
    """The page of one router; `get` fetches a path. Raises `NoPages`, and the errors of `get`."""
    metrics, state = get("/metrics"), get("/state")
    try:
        return Page(router, metrics, json.loads(state))
    except ValueError:
        raise NoPages(f"{router} answers, but not as a router of Weir does") from None


def _get(url: str, headers: Mapping[str, str]) -> str:
    try:
        # Not through a proxy of the environment: an admin port is here, or in a cluster.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(url, headers=dict(headers)), timeout=PAGE_SECONDS) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            raise NoPages(f"{url}: {TOKEN_NEEDED if error.code == 401 else error}") from None
    except (OSError, ValueError) as error:
        raise NoPages(f"{url}: {error}") from None
