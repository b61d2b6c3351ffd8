"""One replica of the operator: wires everything, holds no logic. Started and ended by `weir_operator.run.handlers`.

Every replica watches the cluster, mirrors what is published, serves it to routers, and follows the Lease. The one that
leads reconciles and writes statuses besides.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import msgspec
from aiohttp import web
from kubernetes.client import ApiClient

from weir_operator.compile import Compiled, Memory, compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.distribute.autoscaling import Autoscaling
from weir_operator.distribute.leader import Leader
from weir_operator.distribute.offline import OfflineCheck
from weir_operator.distribute.relay import Follower
from weir_operator.distribute.reviews import CachedReviewer
from weir_operator.distribute.server import ConfigServer, listen
from weir_operator.identity import trust
from weir_operator.kinds import KINDS
from weir_operator.kube import client, oidc
from weir_operator.kube.lease import Lease
from weir_operator.kube.owner import Owner
from weir_operator.kube.statuses import StatusWriter
from weir_operator.kube.token_reviews import KubernetesReviewer
from weir_operator.kube.unknowns import Unknown
from weir_operator.lead.leadership import LEASE_SECONDS, Leadership
from weir_operator.lead.routers import RouterCount
from weir_operator.observe.gather import Gatherer
from weir_operator.observe.observed import Observed
from weir_operator.publish.certificate import Certificate, server_names
from weir_operator.publish.gateway_trust import GatewayTrust
from weir_operator.publish.mirror import Mirror
from weir_operator.publish.publisher import Publisher, labels
from weir_operator.publish.state_keys import StateKeys
from weir_operator.run.admin import Admin
from weir_operator.run.metrics import Metrics
from weir_operator.run.reconciler import Reconciler, Steps
from weir_operator.run.settings import Settings
from weir_operator.sidecar.expected import Scope
from weir_operator.sidecar.sidecars import Sidecars
from weir_operator.status.readiness import readiness
from weir_operator.status.reporter import Reporter
from weir_router.contract import CompiledConfig

_log = logging.getLogger("weir_operator")


class Replica:
    """Works from `start` to `stop`, in one event loop."""

    def __init__(self, settings: Settings, api_client: ApiClient) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.url = self.admin_url = ""
        self._loop = asyncio.get_running_loop()
        self._ending = AsyncExitStack()
        self._task: asyncio.Task[None] | None = None
        self._published: CompiledConfig | None = None
        self._mirror_news, self._mirrored = asyncio.Event(), asyncio.Event()
        # A thread of its own: routers must not wait for statuses and tokens, of which there may be hundreds.
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="mirror")
        self._routers = RouterCount(self._gateway_routers, lambda: self.leads, self._changed)
        self._leading_since = 0.0
        self._catalogue = Catalogue.load()
        self._memory = Memory()
        self._make_shared(settings, api_client)
        self._make_leading(settings, api_client)

    def _make_shared(self, settings: Settings, api_client: ApiClient) -> None:
        """Makes the parts of every replica."""
        namespace, installation = settings.namespace, settings.installation
        self._owner = Owner(api_client, settings.account)
        self._lease = Lease(
            api_client,
            namespace,
            settings.lease_name,
            identity=settings.identity,
            seconds=LEASE_SECONDS,
            labels={**labels(installation), "app.kubernetes.io/component": "operator"},
            owner=self._owner,
        )
        self._leadership = Leadership(self._lease)
        self._mirror = Mirror(api_client, namespace, installation, self._published_changed)
        self._certificate = Certificate(
            api_client,
            namespace,
            installation,
            server_names(settings.service_name, namespace),
            owner=self._owner,
            on_authorities=self._signed_by,
        )
        self._keys = oidc.ClusterKeys(
            functools.partial(oidc.fetch, api_client), installation, self._changed, review=settings.review_tokens
        )
        routers = self._reviewer(api_client, trust.config_audience(installation))
        self._server = ConfigServer(
            routers,
            settings.gateway,
            callers=self._reviewer(api_client, trust.audience(installation)),
            operator=settings.account,
            on_report=self._heard,
        )
        self._gateway_trust = GatewayTrust(settings.gateway_ca_file, self._changed)
        self._sidecars = self._make_sidecars(settings, api_client)
        self._sidecars.serve(self._server.app)
        leader = Leader(
            lambda: self._leadership.leader_address,
            token_file=settings.token_file,
            trust=self._certificate.trust,
            server_name=f"{settings.service_name}.{namespace}.svc",
        )
        self._follower = Follower(self._server.known, settings.identity, leader)
        Autoscaling(
            self._server.known,
            lambda: self._published,
            self._leading_seconds,
            leader,
            gateway=settings.gateway,
            operator=settings.account,
            scalers=self._reviewer(api_client, trust.autoscaling_audience(installation)),
            replicas=routers,
        ).serve(self._server.app)

    def _make_sidecars(self, settings: Settings, api_client: ApiClient) -> Sidecars:
        return Sidecars(
            settings.sidecar,
            api_client,
            Scope(settings.namespace, settings.namespaces),
            lambda: self._gateway_trust.authorities,
            service=settings.service_name,
            namespaces=lambda: self._gatherer.namespaces(),
            instance=settings.pod_name,
        )

    def _reviewer(self, api_client: ApiClient, audience: str) -> CachedReviewer:
        """Identifies tokens of one audience."""
        return CachedReviewer(
            KubernetesReviewer(api_client, audience),
            check=OfflineCheck(lambda: self._keys.trust_for(audience), on_unknown_key=self._keys.missed),
            own=(self.settings.gateway, self.settings.account),
        )

    def _make_leading(self, settings: Settings, api_client: ApiClient) -> None:
        """Makes the further parts of a leader; its watches run before it leads."""
        self._gatherer = Gatherer(
            api_client,
            KINDS,
            class_name=settings.class_name,
            namespaces=settings.namespaces,
            on_change=self._changed,
            hosts=client.host_policy(settings.refused_networks),
            gateway=settings.gateway_service,
            tenancy=settings.tenancy,
        )
        publisher = Publisher(
            api_client,
            settings.namespace,
            settings.installation,
            leads=lambda: self.leads,
            owner=self._owner,
            state_keys=StateKeys(mirrored=lambda: self._mirror.state_keys),
        )
        self._reporter = Reporter(
            StatusWriter(api_client, KINDS),
            KINDS,
            self._gatherer.manifests,
            lambda: self._server.reports,
            instance=settings.pod_name,
        )
        steps = Steps(
            observed=self._observed,
            compile=self._compile,
            publish=publisher.publish,
            intact=lambda published: self._mirror.trouble is None and self._mirror.index == published.index,
            due_in=self._routers.due_in,
        )
        self._reconciler = Reconciler(steps, (self._reporter,), metrics=self.metrics)

    @property
    def ready(self) -> bool:
        """Whether routers can have their config here."""
        return self._published is not None and self._certificate.ready.is_set()

    @property
    def revision(self) -> int:
        """The revision that routers get; 0: none yet."""
        return self._published.revision if self._published else 0

    @property
    def leads(self) -> bool:
        """Whether this replica leads now."""
        return self._leadership.leads

    def _leading_seconds(self) -> float | None:
        return time.monotonic() - self._leading_since if self.leads else None

    def unknown(self) -> tuple[Unknown, ...]:
        """The unknown parts of the cluster, and how to mend them."""
        return (*self._gatherer.unknown(), *self._mirror.unknown(), *self._sidecars.unknown())

    def troubles(self) -> tuple[str, ...]:
        """Everything else that does not work now."""
        found = (
            self._leadership.trouble,
            self._reconciler.trouble,
            self._reconciler.contest.trouble,
            self._mirror.trouble,
            self._keys.failure,
            self._certificate.trouble,
            self._certificate.contest.trouble,
            self._gateway_trust.trouble,
            *self._sidecars.troubles(),
        )
        return tuple(it for it in found if it)

    def refresh_metrics(self) -> None:
        """Brings up to date what is not counted as it happens."""
        self.metrics.leader.set(self.leads)
        self.metrics.unpublished_seconds.set(self._reconciler.failing_seconds if self.leads else 0.0)
        until = self._certificate.valid_until
        self.metrics.certificate_expiry.set(until.timestamp() if until else 0.0)
        self.metrics.polls.set(self._server.waiting)
        self.metrics.webhook_missing.set(self._sidecars.webhook.missing)
        contests = {
            "config": self._reconciler.contest,
            "certificate": self._certificate.contest,
            "webhook": self._sidecars.webhook.contest,
        }
        self.metrics.contested({name: it.trouble is not None for name, it in contests.items()})
        self.metrics.pods_lacking(self._sidecars.census.counts)
        self.metrics.webhook_changed.set(self._sidecars.webhook.changed)
        self.metrics.unknown(self.unknown())
        self.metrics.objects(readiness(self._gatherer.manifests(), self.settings.class_name))
        self.metrics.routers_seen((it.gateway, it.current) for it in self._server.reports)

    async def start(self, on_failure: Callable[[], None]) -> None:
        """Listens and begins to work; `on_failure` is called if it cannot go on. Raises `OSError`."""
        try:
            admin = await Admin(self).listen(*self.settings.admin)
            self._ending.push_async_callback(admin.cleanup)
            self.admin_url = _url("http", admin)
            server = await listen(self._server, *self.settings.listen, self._certificate.context)
            self._ending.push_async_callback(server.cleanup)
            self.url = _url("https", server)
        except BaseException:
            await self._ending.aclose()
            raise
        self._lease.address = _url("https", server, self.settings.pod_ip)
        for source in (self._mirror, self._gatherer):
            source.start()
            self._ending.push_async_callback(asyncio.to_thread, source.stop)
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda _: on_failure())
        _log.info("config server on %s, metrics and state on %s", self.url, self.admin_url)

    async def stop(self) -> None:
        """Ends: first of all the lead, so that another replica can have it while this one sends its routers away."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._ending.aclose()

    @property
    def failure(self) -> BaseException | None:
        """The error that ended it."""
        task = self._task
        return task.exception() if task is not None and task.done() and not task.cancelled() else None

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._certificate.run())
            tasks.create_task(self._gateway_trust.run())
            tasks.create_task(self._keys.run())
            tasks.create_task(self._serve())
            tasks.create_task(self._follower.run())
            tasks.create_task(self._leadership.run(self._lead))

    async def _lead(self) -> None:
        """A term."""
        self._leading_since = time.monotonic()
        await self._mirrored.wait()
        published = self._published
        self._routers.begin(published.routers if published else 1)
        self._keys.take_over(published.tokens if published else None)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._reconciler.run())
            tasks.create_task(self._reporter.run())
            tasks.create_task(self._sidecars.run())

    async def _serve(self) -> None:
        """Hands out the published config, of every leader."""
        while True:
            await self._mirror_news.wait()
            self._mirror_news.clear()
            found = await self._loop.run_in_executor(self._reading, self._mirror.read)
            if found is not None:
                self._server.publish(*found)
                self._published = found[0]
                self.metrics.revision.set(self.revision)
            if self._mirror.listed:
                self._mirrored.set()
            self._reconciler.touched()

    def _published_changed(self) -> None:
        self._loop.call_soon_threadsafe(self._mirror_news.set)

    def _signed_by(self, authorities: str) -> None:
        self._server.trust(authorities)
        self._sidecars.told(authorities)

    def _changed(self) -> None:
        self._reconciler.changed()

    def _heard(self) -> None:
        self._reporter.heard()
        self._routers.heard()

    def _gateway_routers(self) -> int:
        return sum(router.account == self.settings.gateway for router, _ in self._server.known)

    def _observed(self) -> Observed | None:
        self._routers.take()
        return self._gatherer.observed() if self._keys.asked.is_set() else None

    def _compile(self, observed: Observed) -> Compiled:
        compiled = compile_config(
            observed,
            KINDS,
            catalogue=self._catalogue,
            now=time.time(),
            tokens=self._keys.trust,
            memory=self._memory,
        )
        authorities = self._gateway_trust.to_publish(self._published)
        config = msgspec.structs.replace(compiled.config, routers=self._routers.value, gateway_authorities=authorities)
        return dataclasses.replace(compiled, config=config)


def _url(scheme: str, runner: web.AppRunner, host: str | None = None) -> str:
    own, port = runner.addresses[0][:2]
    host = host or own
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
