"""A platform team, a tenant and a malicious tenant, on a real API server with a real router."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from apiserver import ApiServer

from support.kube import PATIENCE, apply, client_of, run
from support.statuses import Reported
from weir_cli.sim import Simulator
from weir_operator.compile import compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.distribute.reviews import CachedReviewer
from weir_operator.distribute.server import ConfigServer, listen
from weir_operator.identity.trust import config_audience
from weir_operator.kinds import KINDS
from weir_operator.kube.accounts import ServiceAccount
from weir_operator.kube.statuses import StatusWriter
from weir_operator.kube.token_reviews import KubernetesReviewer
from weir_operator.observe.gather import Gatherer
from weir_operator.observe.tenancy import ACCEPT_ANNOTATION
from weir_operator.status.reporter import Reporter
from weir_router.app import Router
from weir_router.config.access import Access
from weir_router.config.longpoll import LongPoll
from weir_router.contract import RouterReport
from weir_router.identify.keys import fingerprint
from weir_router.report.report import Reports

PLATFORM_KEY = "sk-of-the-platform-0123456789"


class Town:
    """The stage of a test. `platform`, `tenant` and `enemy` are namespaces."""

    def __init__(self, server: ApiServer, name: str, sim: Simulator, folder: Path) -> None:
        self.platform, self.tenant, self.enemy = (f"{name}-{role}" for role in ("platform", "tenant", "enemy"))
        self.sim = sim
        self.url = ""
        self._server = server
        self._folder = folder
        self._client = client_of(server)
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._revision = 0
        self._gatherer = Gatherer(
            self._client,
            KINDS,
            class_name="weir",
            namespaces=(self.platform, self.tenant, self.enemy),
            on_change=lambda: self._loop.call_soon_threadsafe(self._changed.set),
        )
        gateway = ServiceAccount(self.platform, "router")
        self.config_server = ConfigServer(
            CachedReviewer(KubernetesReviewer(self._client, config_audience("weir"))),
            gateway,
            operator=ServiceAccount(self.platform, "operator"),
            on_report=lambda: self._reporter.heard(),
        )
        self._reporter = Reporter(
            StatusWriter(self._client, KINDS),
            KINDS,
            self._gatherer.manifests,
            lambda: self.config_server.reports,
            instance="op",
        )
        self.router = Router(port=0, admin_port=0, grace=1.0)

    def apply(self, *bodies: dict[str, Any]) -> None:
        """`kubectl apply`."""
        apply(self._server, json.dumps({"apiVersion": "v1", "kind": "List", "items": list(bodies)}))

    def accepts(self, namespace: str, *names: str) -> None:
        """Annotates a Namespace: policies of the namespaces `names` may serve its callers."""
        run(self._server, "annotate", "namespace", namespace, f"{ACCEPT_ANNOTATION}={','.join(names)}")

    def refused(self, body: dict[str, Any]) -> str:
        """The error message of `kubectl apply`, which must fail."""
        done = self._server.kubectl("apply", "-f", "-", input=json.dumps(body))
        assert done.returncode != 0
        return done.stderr

    async def verdict(self, namespace: str, resource: str, condition: str, until: str) -> tuple[str, str, str]:
        """Status, reason and message of a condition, as soon as its status is `until`."""
        path = f'{{.status.conditions[?(@.type=="{condition}")]'
        await asyncio.to_thread(
            run, self._server, "wait", resource, "-n", namespace, f"--for=jsonpath={path}.status}}={until}",
            "--timeout=25s",
        )  # fmt: skip
        found = [it for it in self.status(namespace, resource)["conditions"] if it["type"] == condition]
        return found[0]["status"], found[0]["reason"], found[0]["message"]

    def status(self, namespace: str, resource: str) -> dict[str, Any]:
        """An object's status."""
        return dict(json.loads(run(self._server, "get", resource, "-n", namespace, "-o", "json"))["status"])

    async def ask(self, key: str, model: str = "auto") -> tuple[int, str]:
        """HTTP status and body of a completion."""
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
        headers = {"Authorization": f"Bearer {key}"}
        url = f"{self.router.url}/v1/chat/completions"
        async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as answer:
            return answer.status, await answer.text()

    async def until_asked(self, key: str, status: int, model: str = "auto") -> str:
        """Asks until the answer has this HTTP status; returns its body."""
        async with asyncio.timeout(PATIENCE):
            while (answer := await self.ask(key, model))[0] != status:  # noqa: ASYNC110 - it is a question
                await asyncio.sleep(0.05)
        return answer[1]

    async def poll(self, account: ServiceAccount, *, path: str = "/v1/poll", **options: Any) -> tuple[int, str]:
        """The config server's answer to `account`."""
        token = await asyncio.to_thread(self.token, account)
        said = options.get("data", msgspec.json.encode(RouterReport(router="app")))
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url + path, data=said, headers=headers) as answer,
        ):
            return answer.status, await answer.text()

    def token(self, account: ServiceAccount) -> str:
        """A router's token."""
        wanted = ("create", "token", account.name, "-n", account.namespace, f"--audience={config_audience('weir')}")
        return run(self._server, *wanted).strip()

    def key(self, namespace: str, name: str = "ci") -> tuple[str, dict[str, Any]]:
        """A caller's API key, and the Secret that makes it one."""
        key = f"weir_{namespace}-{name}-0123456789abcdef"
        metadata = {"name": name, "namespace": namespace, "labels": {"weir.dev/api-key": "true"}}
        data = {"sha256": fingerprint(key)}
        return key, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}

    def credential(self, namespace: str, value: str, name: str = "openai", **labels: str) -> dict[str, Any]:
        """A Secret with a provider's key; it consents unless `labels` say otherwise."""
        metadata = {"name": name, "namespace": namespace, "labels": labels or {"weir.dev/credential": "true"}}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"api-key": value}}

    def tier(self, namespace: str, name: str = "premium", **fields: Any) -> dict[str, Any]:
        """A ModelTier of the simulated model, with the namespace's own credential."""
        reference = {"secretRef": {"name": "openai", "key": "api-key"}}
        backend = {"name": "one", "provider": "OpenAI", "baseURL": f"{self.sim.url}/v1", "model": "sim-minnow"}
        return _manifest("ModelTier", namespace, name, {"backends": [backend | {"credentials": reference}], **fields})

    def policy(self, namespace: str, tier: dict[str, str], name: str = "assistants", **fields: Any) -> dict[str, Any]:
        """A RoutingPolicy that sends everything to one tier."""
        routes = [{"name": "all", "tiers": [tier]}]
        return _manifest("RoutingPolicy", namespace, name, {"models": [{"name": "auto"}], "routes": routes, **fields})

    async def _reconcile(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            observed = self._gatherer.observed()
            if observed is None:
                continue
            self._revision += 1
            compiled = compile_config(
                observed, KINDS, catalogue=Catalogue.load(), revision=self._revision, now=time.time()
            )
            self.config_server.publish(compiled.config, compiled.secrets)
            self._reporter.published(observed, compiled, self._revision)

    async def _follow(self) -> None:
        token_file = self._folder / "token"
        token_file.write_text(await asyncio.to_thread(self.token, ServiceAccount(self.platform, "router")))
        router = self.router
        reports = Reports("gw-0", router.store, router.board, router.metrics, router.room, router.clock)
        poll = LongPoll(Access(self.url, token_file), router.store, reports.report)
        self.router.on_health = poll.tell_health
        await poll.run()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Town]:
        """Runs all parts for the length of a block."""
        accounts = {
            self.platform: ("router", "operator"),
            self.tenant: ("app",),
            self.enemy: ("app", "router", "operator"),
        }
        self.apply(*({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": it}} for it in accounts))
        self.apply(
            *(
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
                for namespace, names in accounts.items()
                for name in names
            )
        )
        self._gatherer.start()
        runner = await listen(self.config_server, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with self.router:
            tasks = [asyncio.create_task(it) for it in (self._reconcile(), self._reporter.run(), self._follow())]
            try:
                yield self
                assert not [task for task in tasks if task.done()], [task.exception() for task in tasks if task.done()]
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        await runner.cleanup()
        await asyncio.to_thread(self._gatherer.stop)
        self._client.close()

    @property
    def reports(self) -> list[Reported]:
        """The reports of the routers."""
        return self.config_server.reports


def _manifest(kind: str, namespace: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "weir.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
