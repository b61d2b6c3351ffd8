"""The load of routers, as JSON for autoscalers: KEDA's `metrics-api` scaler needs nothing else. Wired by
`weir_operator.run.replica`, on the config server's port.

Any replica answers; one that follows asks the leader, which has heard all reports. The rule behind every refusal: no
figure rather than a wrong one. A scaler that gets an error leaves everything as it is; one that gets a sum with a part
of the routers missing takes pods away.

1. **Callers**: a ServiceAccount, by TokenReview with an audience of its own. Those of the installation's namespace may
   ask for everything, any other for the tiers of its namespace.
2. **Reports that count**: those of the gateway's routers, and of a tier those of its own namespace's sidecars. A
   report counts for 90 s, even if the router has fallen silent: its last figures stay until it must be gone.
3. **Not before all are known**: a leader that is new waits until as many routers have reported as there have been, or
   until every router that lives must have.
"""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
from aiohttp import web

from weir_operator.distribute.leader import Leader, LeaderUnreachable
from weir_operator.distribute.load import Figures, Said, of_gateway, of_tier
from weir_operator.distribute.refusals import account_of, refusal
from weir_operator.distribute.reports import Reports
from weir_operator.kube.accounts import ServiceAccount
from weir_operator.kube.encoding import encoded
from weir_operator.kube.token_reviews import TokenReviewer
from weir_router.contract import CompiledConfig

PREFIX = "/autoscaling/v1"
"""Path for scalers, who ask for `/gateway` below it or for `/tiers/NAMESPACE/NAME`."""

RELAYED_PREFIX = "/v1/autoscaling"
"""Path for other replicas of the operator, which show their token for the leader."""

SETTLED_SECONDS = 65.0
"""Seconds of leading until every live router has polled: a poll waits 50 s, and a failed one up to 10."""

_UNAVAILABLE = web.HTTPServiceUnavailable


class Autoscaling:
    """One replica's answers."""

    def __init__(
        self,
        known: Reports,
        config: Callable[[], CompiledConfig | None],
        leading: Callable[[], float | None],
        leader: Leader,
        *,
        gateway: ServiceAccount,
        operator: ServiceAccount,
        scalers: TokenReviewer,
        replicas: TokenReviewer,
    ) -> None:
        """`config` is what routers have, `leading` for how many seconds we lead; None: another replica does. `gateway`
        is whose reports count, `operator` who may ask for others. `scalers` knows tokens of those who scale, `replicas`
        those of other replicas.
        """
        self._known = known
        self._config = config
        self._leading = leading
        self._leader = leader
        self._gateway = gateway
        self._operator = operator
        self._scalers = scalers
        self._replicas = replicas

    def serve(self, app: web.Application) -> None:
        """Adds the endpoints to a server that has not been started."""
        app.router.add_get(f"{PREFIX}/gateway", self._asked)
        app.router.add_get(f"{PREFIX}/tiers/{{namespace}}/{{name}}", self._asked)
        app.router.add_get(f"{RELAYED_PREFIX}/gateway", self._relayed)
        app.router.add_get(f"{RELAYED_PREFIX}/tiers/{{namespace}}/{{name}}", self._relayed)

    async def _asked(self, request: web.Request) -> web.Response:
        account = await account_of(request, self._scalers)
        namespace = request.match_info.get("namespace")
        if account.namespace not in (self._gateway.namespace, namespace):
            raise refusal(web.HTTPForbidden, _not_for(account, namespace, self._gateway.namespace))
        if self._leading() is not None:
            return self._answer(request)
        return await self._of_leader(request)

    async def _relayed(self, request: web.Request) -> web.Response:
        if await account_of(request, self._replicas) != self._operator:
            raise refusal(web.HTTPForbidden, f"only for other replicas of the operator; ask at {PREFIX}")
        return self._answer(request)

    async def _of_leader(self, request: web.Request) -> web.Response:
        url = self._leader.url
        if url is None:
            raise refusal(_UNAVAILABLE, "no replica of the operator leads at the moment")
        path = request.rel_url.raw_path.removeprefix(PREFIX)
        try:
            # A session per question: a scaler asks every 30 s, and a connection that waits for it is no better.
            async with (
                aiohttp.ClientSession() as session,
                self._leader.ask(session, "GET", url + RELAYED_PREFIX + path) as it,
            ):
                body = await it.read()
        except LeaderUnreachable as error:
            raise refusal(_UNAVAILABLE, f"the replica that leads cannot be asked: {error}") from None
        return web.Response(status=it.status, body=body, content_type="application/json")

    def _answer(self, request: web.Request) -> web.Response:
        namespace = request.match_info.get("namespace")
        figures = self._of_gateway() if namespace is None else self._of_tier(namespace, request.match_info["name"])
        return web.Response(
            body=encoded(figures), content_type="application/json", headers={"cache-control": "no-store"}
        )

    def _of_gateway(self) -> Figures:
        return of_gateway(self._said(self._settled_config()))

    def _of_tier(self, namespace: str, name: str) -> Figures:
        config = self._settled_config()
        tier = config.tiers.get(f"{namespace}/{name}")
        if tier is None:
            raise refusal(web.HTTPNotFound, f"there is no ModelTier {namespace}/{name} in the routers' config")
        return of_tier(tier, self._said(config, namespace))

    def _settled_config(self) -> CompiledConfig:
        config = self._config()
        if config is None:
            raise refusal(_UNAVAILABLE, "there is no config yet: the operator still reads the cluster")
        return config

    def _said(self, config: CompiledConfig, namespace: str | None = None) -> list[Said]:
        """Reports that count, of the gateway's routers and of sidecars in `namespace`."""
        now, gateways, said = self._known.now, 0, []
        for router, entry in self._known:
            if entry.report.load is None or (router.account != self._gateway and router.account.namespace != namespace):
                continue
            gateways += router.account == self._gateway
            said.append(Said(entry.report, now - entry.at))
        if not gateways:
            raise refusal(_UNAVAILABLE, "no router of the gateway has reported within 90 s")
        since = self._leading()
        if gateways < config.routers and (since is None or since < SETTLED_SECONDS):
            raise refusal(
                _UNAVAILABLE,
                f"this operator leads since a moment, and has heard of {gateways} of {config.routers} routers so far",
            )
        return said


def _not_for(account: ServiceAccount, namespace: str | None, platform: str) -> str:
    what = "the gateway's figures" if namespace is None else f"figures of tiers in namespace {namespace}"
    own = "" if namespace is None else "that namespace or of "
    return f"{what} are for ServiceAccounts of {own}{platform}; the token is that of {account}"
