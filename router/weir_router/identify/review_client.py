"""Asks the operator's config server for the API server's verdict on a token. Handed to `identify.reviews` by `app`."""

from __future__ import annotations

import aiohttp
import msgspec

from weir_router.config.access import CONNECT_SECONDS, Access, BadFile, message_of, reason_of
from weir_router.contract import REVIEW_PATH, ReviewAnswer, ReviewRequest
from weir_router.identify.reviews import NoAnswer

REVIEW_SECONDS = 8.0
"""Seconds to wait for one answer; the operator waits 5 s for the API server."""


class ReviewClient:
    """A `Reviewer` over HTTP. Made inside the running event loop."""

    def __init__(self, access: Access) -> None:
        self._access = access
        timeout = aiohttp.ClientTimeout(total=REVIEW_SECONDS, connect=CONNECT_SECONDS)
        self._session = aiohttp.ClientSession(timeout=timeout)

    async def review(self, token: str) -> str | None:
        """The reason why the token is refused; None: it is good. Raises `NoAnswer`."""
        try:
            async with self._session.post(
                self._access.url + REVIEW_PATH,
                data=msgspec.json.encode(ReviewRequest(token)),
                headers=self._access.headers(),
                ssl=self._access.tls(),
                allow_redirects=False,
            ) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NoAnswer(reason_of(error)) from None
        except BadFile as error:
            raise NoAnswer(str(error)) from None
        if response.status != 200:
            raise NoAnswer(f"HTTP {response.status}: {message_of(content)}")
        try:
            return msgspec.json.decode(content, type=ReviewAnswer).refused
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise NoAnswer("the config server's answer cannot be read") from None

    async def close(self) -> None:
        """Closes every connection."""
        await self._session.close()
