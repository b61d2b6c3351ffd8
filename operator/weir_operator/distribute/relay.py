"""A follower tells the leader what its routers have said, so that statuses speak of all of them. Run by every replica.

1. Every two seconds, read who leads. A replica that leads, or finds no leader, sends nothing.
2. A leader that does not know us gets all reports. Afterwards it gets new reports, load that has changed, and the
   routers that are gone.
3. While nothing changes, send a heartbeat every half minute: the leader keeps our reports as long as it hears of us.

The leader's config server takes these at `reports.RELAY_PATH`, only from the operator's own ServiceAccount. When a
leader dies, no report is lost: the next leader gets them within two seconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

import aiohttp
import msgspec

from weir_operator.distribute.leader import Leader, LeaderUnreachable
from weir_operator.distribute.reports import RELAY_PATH, Entry, Relay, Relayed, Reports, RouterId, load, tells_more

RELAY_SECONDS = 2.0
"""Seconds between two checks. Routers of a follower appear in a status this much later than the leader's own."""

HEARTBEAT_SECONDS = 30.0
"""Seconds between two messages without news; a third of the time that the leader waits for one."""

_log = logging.getLogger("weir_operator.relay")


class Follower:
    """Tells what `reports` holds of its own. Used from one event loop."""

    def __init__(
        self,
        reports: Reports,
        replica: str,
        leader: Leader,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`replica` is our name, other than that of any other."""
        self._reports = reports
        self._replica = replica
        self._leader = leader
        self._monotonic = monotonic
        self._told: dict[RouterId, Entry] | None = None  # None: the leader knows nothing of us
        self._to: str | None = None
        self._at = 0.0

    async def run(self) -> None:
        """Checks and sends, until cancelled. A failure is logged once."""
        said = ""
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    await self.look(session)
                    said = ""
                except LeaderUnreachable as error:
                    if str(error) != said:
                        _log.warning("the leader does not hear of our routers: %s", error)
                    said = str(error)
                await asyncio.sleep(RELAY_SECONDS)

    async def look(self, session: aiohttp.ClientSession) -> bool:
        """Tells what there is to tell; returns whether there was anything. Raises `LeaderUnreachable`."""
        leader, own, now = self._leader.url, self._reports.own, self._monotonic()
        if leader != self._to:
            self._to, self._told = leader, None
        if leader is None:
            return False
        relay = message(self._replica, own, self._told, now, heartbeat=now - self._at >= HEARTBEAT_SECONDS)
        if relay is None:
            return False
        if not await self._post(session, leader, relay):
            self._told = None  # it has begun anew: the next look tells all
            return True
        sent, told = {it.id for it in relay.reports}, self._told or {}
        self._told = {key: it if key in sent else told[key] for key, it in own.items()}
        self._at = now
        return True

    async def _post(self, session: aiohttp.ClientSession, leader: str, relay: Relay) -> bool:
        """Whether the leader has taken it; it refuses a part if it does not know the rest."""
        async with self._leader.ask(session, "POST", leader + RELAY_PATH, msgspec.json.encode(relay)) as answer:
            if answer.status not in (204, 409):
                raise LeaderUnreachable(f"HTTP {answer.status}")
            return answer.status == 204


def message(
    replica: str,
    own: Mapping[RouterId, Entry],
    told: Mapping[RouterId, Entry] | None,
    now: float,
    *,
    heartbeat: bool = False,
) -> Relay | None:
    """The message to a leader that has been sent `told`; None: no news. A `heartbeat` is always sent, with load."""
    if told is None:
        return Relay(replica=replica, whole=True, reports=tuple(_relayed(key, it, now) for key, it in own.items()))
    changed = {key: it for key, it in own.items() if key not in told or _differs(told[key], it, figures=heartbeat)}
    gone = tuple(key for key in told if key not in own)
    if not (changed or gone or heartbeat):
        return None
    reports = tuple(_relayed(key, it, now) for key, it in changed.items())
    return Relay(replica=replica, whole=False, reports=reports, gone=gone)


def _differs(old: Entry, new: Entry, *, figures: bool) -> bool:
    if figures:
        return old.report != new.report or old.seen != new.seen
    return tells_more(old, new) or load(old) != load(new)


def _relayed(key: RouterId, entry: Entry, now: float) -> Relayed:
    return Relayed(
        namespace=key.account.namespace,
        account=key.account.name,
        router=key.name,
        seen=entry.seen,
        report=entry.report,
        age=now - entry.at,
    )
