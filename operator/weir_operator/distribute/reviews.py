"""Identifies the ServiceAccount of a token: asks the API server, and caches its answers. Used by
`weir_operator.distribute.server`.

A token is checked offline first (`distribute.offline`), so that the API server hears only of tokens that the cluster
signed for us. Those may be of any ServiceAccount, so reviews go round the namespaces
(`distribute.turns`), and the installation's own accounts have a lane of their own: no tenant delays the gateway.
A token, and what an API server says about a request that holds one, never enters an error.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from weir_operator.distribute.shares import Shares
from weir_operator.distribute.turns import TooMany, Turns
from weir_operator.kube.accounts import ServiceAccount
from weir_operator.kube.token_reviews import ReviewUnavailable, TokenRefused, TokenReviewer

ACCEPTED_SECONDS = 60.0
"""Seconds that an accepted token is good without another review. A deleted ServiceAccount gets config that long."""

RENEW_SECONDS = 30.0
"""Seconds after which an accepted token that is shown again is reviewed in the background. A router polls every 50 s,
so its token never lapses, and no poll waits for a review but the first."""

REFUSED_SECONDS = 5.0
"""Seconds that a refused token is not asked about again: short, since a new ServiceAccount's is accepted soon."""

ACCEPTED_MAX = 10_000
"""Accepted tokens that are remembered; each router has one. The oldest of the namespace with most is forgotten."""

REFUSED_MAX = 1_000
"""The same for refused ones; apart, so that they cannot drive out the others."""

OTHERS_AT_ONCE = 4
"""Reviews at once of tokens of other accounts than the installation's: they must keep neither the API server nor the
operator busy."""

OWN_AT_ONCE = 2
"""Reviews at once of the installation's own accounts."""

WAITING_MAX = 200
"""Reviews that wait, per namespace: about as many sidecars as start together. A further one gets 503."""


class CachedReviewer:
    """Remembers answers by the hash of the token, and asks once for what many ask at the same time."""

    def __init__(
        self,
        reviewer: TokenReviewer,
        *,
        check: Callable[[str], ServiceAccount | None] = lambda _: None,
        own: Collection[ServiceAccount] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`check` is an `OfflineCheck`; `own` are the accounts with a lane of their own."""
        self._reviewer = reviewer
        self._check = check
        self._own = frozenset(own)
        self._monotonic = monotonic
        self._accepted = _Memory(ACCEPTED_SECONDS, ACCEPTED_MAX, monotonic)
        self._refused = _Memory(REFUSED_SECONDS, REFUSED_MAX, monotonic)
        self._asked: dict[bytes, asyncio.Task[ServiceAccount]] = {}
        self._own_lane = Turns(OWN_AT_ONCE, WAITING_MAX)
        self._others_lane = Turns(OTHERS_AT_ONCE, WAITING_MAX)

    async def review(self, token: str) -> ServiceAccount:
        """Raises `TokenRefused` or `ReviewUnavailable`."""
        key = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        if (known := self._accepted.get(key)) is not None and known.account is not None:
            if self._monotonic() - known.since >= RENEW_SECONDS:
                self._ask(key, token, known.account)
            return known.account
        if (refused := self._refused.get(key)) is not None:
            raise TokenRefused(refused.reason)
        # Before any await, and remembered nowhere: it costs less than a review, and a flood fills no memory.
        proven = self._check(token)
        # Shielded: one who goes away must not cancel what others wait for.
        return await asyncio.shield(self._ask(key, token, proven))

    def _ask(self, key: bytes, token: str, proven: ServiceAccount | None) -> asyncio.Task[ServiceAccount]:
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._answer(key, token, proven))
            task.add_done_callback(_looked_at)
        return task

    async def _answer(self, key: bytes, token: str, proven: ServiceAccount | None) -> ServiceAccount:
        namespace = proven.namespace if proven else ""
        lane = self._own_lane if proven in self._own else self._others_lane
        try:
            async with lane.turn(namespace):
                account = await self._reviewer.review(token)
            self._accepted.put(key, namespace, account=account)
            return account
        except TooMany:
            raise ReviewUnavailable("too many tokens of this namespace wait for their review") from None
        except TokenRefused as error:
            self._accepted.forget(key)
            self._refused.put(key, namespace, reason=str(error))
            raise
        finally:
            del self._asked[key]


def _looked_at(task: asyncio.Task[ServiceAccount]) -> None:
    """Reads the error of a task whose callers have all gone away; asyncio would complain of it."""
    if not task.cancelled():
        task.exception()


class _Answer(NamedTuple):
    since: float  # monotonic
    account: ServiceAccount | None
    reason: str


class _Memory:
    """Answers, at most `limit`, each for `seconds`."""

    def __init__(self, seconds: float, limit: int, monotonic: Callable[[], float]) -> None:
        self._seconds = seconds
        self._limit = limit
        self._monotonic = monotonic
        self._answers = Shares[bytes, _Answer]()

    def get(self, key: bytes) -> _Answer | None:
        found = self._answers.get(key)
        return found if found is not None and self._monotonic() < found.since + self._seconds else None

    def put(self, key: bytes, namespace: str, *, account: ServiceAccount | None = None, reason: str = "") -> None:
        self._answers.put(namespace, key, _Answer(self._monotonic(), account, reason))
        if len(self._answers) > self._limit:
            self._answers.crowd_out()

    def forget(self, key: bytes) -> None:
        self._answers.pop(key)
