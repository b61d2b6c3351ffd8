"""The config server: routers poll it, and have a change in well under a second. Run by every replica of the operator.

A poll is a POST, because it carries the router's report; a GET has no body, a header is too small for one, and nothing
between us may answer from a cache. `If-None-Match` says what the router has, `Prefer: wait=50` how long it waits for
something else; then it gets 304. `distribute.views` decides which router may see which part, and `distribute.reviews`
identifies tokens. It decides nothing about status and makes no certificate. Other replicas, which only the operator's
own ServiceAccount can be, tell their routers' reports at `RELAY_PATH` (`weir_operator.distribute.relay`).

A poll that waits is one task at one event, which the next config sets: nothing runs while nothing changes.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec
from aiohttp import hdrs, web

from weir_operator.distribute import connections
from weir_operator.distribute.offers import Offer
from weir_operator.distribute.refusals import account_of, body_of, refusal
from weir_operator.distribute.reports import RELAY_PATH, Relay, Reported, Reports, believable
from weir_operator.kube.accounts import ServiceAccount
from weir_operator.kube.encoding import encoded
from weir_operator.kube.token_reviews import ReviewUnavailable, TokenRefused, TokenReviewer
from weir_router.contract import (
    MAX_GATEWAY_REPORT_BYTES,
    MAX_REPORT_BYTES,
    POLL_PATH,
    REVIEW_PATH,
    CompiledConfig,
    ReviewAnswer,
    ReviewRequest,
    RouterReport,
    Secrets,
)
from weir_router.contract.delta import DELTA_HEADER, DELTA_NAME, DELTA_STATUS

MAX_WAIT = 60.0
"""Seconds that a poll may wait at most: proxies in between give up after that."""

MAX_RELAY_BYTES = 64 * 1024 * 1024
"""Bytes of a follower's message: the reports of about 50,000 sidecars, or of 60 gateway routers with as many backends
as they may have."""

T = TypeVar("T")

_WAIT = re.compile(r"\bwait=(\d{1,6})\b")


class ConfigServer:
    """Hands out what was published last, and keeps what routers report. Used from one event loop."""

    def __init__(
        self,
        reviewer: TokenReviewer,
        gateway: ServiceAccount,
        *,
        callers: TokenReviewer | None = None,
        operator: ServiceAccount | None = None,
        on_report: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`reviewer` is asked at each poll, so it should cache; `gateway` is the account that may see everything.
        `callers` is asked, for routers, about callers' tokens; None: reviews are off. It has a queue of its own, so
        that callers cannot keep routers from their config. `operator` is the account that may report other replicas'
        routers; `on_report` is called when a report is news.
        """
        self._reviewer = reviewer
        self._callers = callers
        self._gateway = gateway
        self._operator = operator
        self._on_report = on_report
        self._offer: Offer | None = None
        self._authorities: str | None = None
        self._first = asyncio.Event()  # set with the first config
        self._ending = False
        self.known = Reports(monotonic)
        """Reports of routers, here and at other replicas."""
        self.waiting = 0
        """Polls that wait now."""
        self.app = web.Application()
        self.app.router.add_post(POLL_PATH, self._poll)
        self.app.router.add_post(REVIEW_PATH, self._review)
        self.app.router.add_post(RELAY_PATH, self._relay)
        self.app.on_shutdown.append(self._end)

    def publish(self, config: CompiledConfig, secrets: Secrets) -> None:
        """Offers these from now on, and answers every waiting poll whose view they change."""
        old = self._offer
        if old is not None and old.content == (config, secrets):
            return
        self._offer = Offer(config, secrets, self._gateway, self._authorities, old)
        self._wake(old)

    def trust(self, authorities: str) -> None:
        """Gives every router the authorities of our certificate: routers in other namespaces, which cannot mount them,
        would lose us with the next authority.
        """
        old = self._offer
        if authorities == self._authorities:
            return
        self._authorities = authorities
        if old is not None:
            self._offer = Offer(*old.content, self._gateway, authorities, old)
            self._wake(old)

    @property
    def reports(self) -> list[Reported]:
        """The last report of each router that has polled within `REPORT_SECONDS`."""
        return [
            Reported(account, account == self._gateway, report, self._runs(account, seen, report))
            for (account, _), (seen, report, *_) in self.known
        ]

    def _runs(self, account: ServiceAccount, seen: str | None, report: RouterReport) -> int | None:
        offered = self._offer
        # A view may be costly to make: only for who has one.
        if seen is None or report.rejected is not None or offered is None or offered.view(account).etag != seen:
            return None
        return offered.content[0].revision

    def _wake(self, old: Offer | None) -> None:
        self._first.set()
        if old is not None:
            old.over.set()

    async def _end(self, _: web.Application) -> None:
        self._ending = True
        self._wake(self._offer)

    async def _poll(self, request: web.Request) -> web.Response:
        account = await self._account(request)
        report, size = await self._report(request, account)
        seen = request.headers.get(hdrs.IF_NONE_MATCH)
        weight = 0 if account == self._gateway else size + len(seen or "")
        if self.known.note(account, seen, report, weight):
            self._on_report()
        self.waiting += 1
        try:
            async with asyncio.timeout(_wait(request)):
                return await self._news(account, seen, request.headers.get(DELTA_HEADER) == DELTA_NAME)
        except TimeoutError:
            return self._nothing_new(seen)
        except asyncio.CancelledError:
            self.known.left(account, report.router)
            raise
        finally:
            self.waiting -= 1

    async def _review(self, request: web.Request) -> web.Response:
        """Asks the API server about a caller's token, for a router: routers have no rights there."""
        await self._account(request)
        if self._callers is None:
            raise refusal(web.HTTPServiceUnavailable, "this operator reviews no callers' tokens")
        body = await body_of(request, MAX_REPORT_BYTES)
        try:
            token = msgspec.json.decode(body, type=ReviewRequest).token
        except (msgspec.MsgspecError, UnicodeDecodeError):  # which may quote the token
            raise refusal(web.HTTPBadRequest, "not a ReviewRequest") from None
        try:
            await self._callers.review(token)
            answer = ReviewAnswer()
        except TokenRefused as error:
            answer = ReviewAnswer(refused=str(error))
        except ReviewUnavailable as error:
            raise refusal(web.HTTPServiceUnavailable, str(error)) from None
        return web.Response(body=encoded(answer), content_type="application/json")

    async def _account(self, request: web.Request) -> ServiceAccount:
        return await account_of(request, self._reviewer)

    async def _report(self, request: web.Request, account: ServiceAccount) -> tuple[RouterReport, int]:
        """The report, and its bytes."""
        body = await body_of(request, MAX_GATEWAY_REPORT_BYTES if account == self._gateway else MAX_REPORT_BYTES)
        report = _decoded(body, RouterReport)
        return believable(report, None if account == self._gateway else account.namespace), len(body)

    async def _relay(self, request: web.Request) -> web.Response:
        account = await self._account(request)
        if account != self._operator:
            raise refusal(web.HTTPForbidden, "only the operator's own ServiceAccount tells of other replicas' routers")
        body = await body_of(request, MAX_RELAY_BYTES)
        if not self.known.take(_decoded(body, Relay)):
            raise refusal(web.HTTPConflict, "this replica knows nothing of yours: tell all")
        self._on_report()
        return web.Response(status=204)

    async def _news(self, account: ServiceAccount, seen: str | None, knows_deltas: bool) -> web.Response:
        """The answer to a poll, as soon as there is something else than `seen`."""
        while not self._ending:
            offer = self._offer
            if offer is None:
                await self._first.wait()
                continue
            view = offer.view(account)
            if view.etag != seen:
                headers: dict[str, str] = {hdrs.ETAG: view.etag}
                if knows_deltas and (body := offer.difference(account, seen)) is not None:
                    headers["IM"] = DELTA_NAME
                    return web.Response(
                        status=DELTA_STATUS, body=body, content_type="application/json", headers=headers
                    )
                return web.Response(body=view.body, content_type="application/json", headers=headers)
            await offer.over.wait()
        raise refusal(web.HTTPServiceUnavailable, "this replica of the operator ends; ask another")

    def _nothing_new(self, seen: str | None) -> web.Response:
        if self._offer is None:
            raise refusal(web.HTTPServiceUnavailable, "there is no config yet: the operator still reads the cluster")
        return web.Response(status=304, headers={hdrs.ETAG: seen or ""})


async def listen(server: ConfigServer, host: str, port: int, tls: ssl.SSLContext | None = None) -> web.AppRunner:
    """Serves until `cleanup` of the returned runner, whose `addresses` say where. Raises `OSError`."""
    return await connections.listen(server.app, host, port, tls)


def _wait(request: web.Request) -> float:
    found = _WAIT.search(request.headers.get("Prefer", ""))
    return min(float(found[1]), MAX_WAIT) if found else 0.0


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise refusal(web.HTTPBadRequest, f"not a {kind.__name__}: {error}") from None
