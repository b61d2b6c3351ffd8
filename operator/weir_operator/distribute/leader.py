"""How a replica that follows reaches the leader's config server. Used by `distribute.relay`, which tells it of
routers, and by `weir_operator.distribute.autoscaling`, which asks it about them.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
from aiohttp import hdrs

ANSWER_SECONDS = 10.0
"""Seconds for the leader's answer: it is in the same cluster."""


class LeaderUnreachable(Exception):
    """The leader gave no answer; the message says why, and holds no secret."""


class Leader:
    """The leading replica, reached as the operator's own ServiceAccount."""

    def __init__(
        self,
        url: Callable[[], str | None],
        *,
        token_file: Path,
        trust: Callable[[], ssl.SSLContext],
        server_name: str,
    ) -> None:
        """`url` gives that of the leader's config server, or None where we lead or no replica does. Its certificate is
        for `server_name`, not for the URL's host; `trust` and the token are asked for each time, since both are
        renewed.
        """
        self._url = url
        self._token_file = token_file
        self._trust = trust
        self._server_name = server_name

    @property
    def url(self) -> str | None:
        """The URL of its config server; None: we lead, or no replica does."""
        return self._url()

    @contextlib.asynccontextmanager
    async def ask(
        self, session: aiohttp.ClientSession, method: str, url: str, data: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Its answer. Raises `LeaderUnreachable`."""
        secure = url.startswith("https:")
        try:
            async with session.request(
                method,
                url,
                data=data,
                headers={hdrs.AUTHORIZATION: f"Bearer {self._token_file.read_text().strip()}"},
                ssl=self._trust() if secure else True,
                server_hostname=self._server_name if secure else None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
            ) as answer:
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise LeaderUnreachable(f"{type(error).__name__}: {error}") from error
        except ValueError:  # says what it found, which may be a part of the token
            raise LeaderUnreachable(f"{self._token_file} does not hold a token") from None
