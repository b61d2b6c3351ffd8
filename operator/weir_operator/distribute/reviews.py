"""Whose token is it? Asks the API server, and remembers its answers. Used by `weir_operator.distribute.server`.

A token, and what an API server says about a request that holds one, never enters an error.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import urllib3
from kubernetes import client

from weir_operator.distribute.views import ServiceAccount

REVIEW_SECONDS = 5.0
"""For one TokenReview: a router waits, and would rather hear that the API server is away."""

REVIEWS_AT_ONCE = 4
"""Threads at most: what strangers send as tokens must not keep the API server, or the operator, busy."""

ACCEPTED_SECONDS = 60.0
"""That an accepted token is not asked about again: so long does a deleted ServiceAccount still get config."""

REFUSED_SECONDS = 5.0
"""The same for a refused one: short, because it may be accepted soon, as that of a ServiceAccount just made."""

ACCEPTED_MAX = 10_000
"""Accepted tokens that are remembered, oldest forgotten first; each router has one."""

REFUSED_MAX = 1_000
"""The same for refused ones; apart, so that they cannot drive out the others."""

MESSAGE_MAX = 500
"""Characters that are repeated of the API server's reason."""

_PREFIX = "system:serviceaccount:"

T = TypeVar("T")


class TokenRefused(Exception):
    """The API server does not accept the token, or it is not for us; the message says why, for who sent it."""


class ReviewUnavailable(Exception):
    """The API server gave no answer; the token may be good."""


class TokenReviewer(Protocol):
    """Tells whose token it is."""

    async def review(self, token: str) -> ServiceAccount:
        """Raises `TokenRefused` or `ReviewUnavailable`."""


class KubernetesReviewer:
    """Asks the API server each time. Needs `create` on `tokenreviews`."""

    def __init__(self, api_client: client.ApiClient, audience: str) -> None:
        """Of tokens for `audience`, one of `weir_operator.identity.trust`."""
        self._api = client.AuthenticationV1Api(api_client)
        self._audience = audience
        self._turn = asyncio.Semaphore(REVIEWS_AT_ONCE)

    async def review(self, token: str) -> ServiceAccount:
        """Raises `TokenRefused` or `ReviewUnavailable`."""
        async with self._turn:
            status = await asyncio.to_thread(self._ask, token)
        if not status.authenticated:
            raise TokenRefused(f"the API server does not accept the token: {(status.error or '')[:MESSAGE_MAX]}")
        # An API server that knows no audiences would accept any token and return none.
        if self._audience not in (status.audiences or ()):
            raise TokenRefused(f"the token is not for audience {self._audience}")
        return _service_account(status.user.username or "")

    def _ask(self, token: str) -> Any:
        spec = client.V1TokenReviewSpec(token=token, audiences=[self._audience])
        try:
            review = self._api.create_token_review(client.V1TokenReview(spec=spec), _request_timeout=REVIEW_SECONDS)
        except client.ApiException as error:
            hint = "; the operator's ClusterRole needs create on tokenreviews" if error.status == 403 else ""
            raise ReviewUnavailable(f"TokenReview failed: {error.status} {error.reason}{hint}") from None
        except urllib3.exceptions.HTTPError as error:
            raise ReviewUnavailable(f"TokenReview failed: {type(error).__name__}") from None
        return review.status


def _service_account(username: str) -> ServiceAccount:
    namespace, _, name = username.removeprefix(_PREFIX).partition(":")
    if not username.startswith(_PREFIX) or not name:
        raise TokenRefused("the token is not that of a ServiceAccount")
    return ServiceAccount(namespace, name)


class CachedReviewer:
    """Remembers answers by the hash of the token, and asks once for what many ask at the same time."""

    def __init__(self, reviewer: TokenReviewer, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._reviewer = reviewer
        self._accepted = _Memory[ServiceAccount](ACCEPTED_SECONDS, ACCEPTED_MAX, monotonic)
        self._refused = _Memory[str](REFUSED_SECONDS, REFUSED_MAX, monotonic)
        self._asked: dict[bytes, asyncio.Task[ServiceAccount]] = {}

    async def review(self, token: str) -> ServiceAccount:
        """Raises `TokenRefused` or `ReviewUnavailable`."""
        key = hashlib.sha256(token.encode()).digest()
        if (account := self._accepted.get(key)) is not None:
            return account
        if (reason := self._refused.get(key)) is not None:
            raise TokenRefused(reason)
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._ask(key, token))
            task.add_done_callback(_looked_at)
        # Shielded: one who goes away must not cancel what others wait for.
        return await asyncio.shield(task)

    async def _ask(self, key: bytes, token: str) -> ServiceAccount:
        try:
            account = await self._reviewer.review(token)
            self._accepted.put(key, account)
            return account
        except TokenRefused as error:
            self._refused.put(key, str(error))
            raise
        finally:
            del self._asked[key]


def _looked_at(task: asyncio.Task[ServiceAccount]) -> None:
    """All who asked may have gone away, and asyncio complains of errors that nobody looks at."""
    if not task.cancelled():
        task.exception()


class _Memory(Generic[T]):
    """At most `limit` values, each for `seconds`."""

    def __init__(self, seconds: float, limit: int, monotonic: Callable[[], float]) -> None:
        self._seconds = seconds
        self._limit = limit
        self._monotonic = monotonic
        self._values: dict[bytes, tuple[float, T]] = {}  # oldest first

    def get(self, key: bytes) -> T | None:
        until, value = self._values.get(key, (0.0, None))
        return value if self._monotonic() < until else None

    def put(self, key: bytes, value: T) -> None:
        self._values.pop(key, None)
        if len(self._values) >= self._limit:
            del self._values[next(iter(self._values))]
        self._values[key] = (self._monotonic() + self._seconds, value)
