"""Sidecars in one replica of the operator: the webhook on the config server's port, its configuration, and the look for
pods without a sidecar. Wired by `weir_operator.run.replica`, which passes the authority on; decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

from aiohttp import web

from weir_operator.kube.client import ApiClient
from weir_operator.kube.informers import Source
from weir_operator.kube.objects import JSON
from weir_operator.kube.unknowns import Unknown
from weir_operator.kube.webhooks import resource
from weir_operator.sidecar.admission import Admission
from weir_operator.sidecar.census import Census
from weir_operator.sidecar.expected import Scope, configuration_name
from weir_operator.sidecar.inject import Settings
from weir_operator.sidecar.webhook import WebhookTrust, differences

CALM_SECONDS = 0.5
"""Seconds from a change of the configuration until it is looked at: a client may write it all the time."""


class Sidecars:
    """Every replica serves, the leader runs."""

    def __init__(
        self,
        settings: Settings | None,
        api_client: ApiClient,
        scope: Scope,
        of_gateway: Callable[[], str],
        *,
        service: str,
        namespaces: Callable[[], Mapping[str, Mapping[str, str]] | None],
        instance: str,
    ) -> None:
        """`settings` of None switches sidecars off. `of_gateway` gives the authorities of the gateway's certificate
        (PEM), empty for public ones. `service` is that of the operator, which the webhook's configuration names.
        `namespaces` gives the labels of each namespace; None: they are not known. `instance` is this operator's name.
        """
        self._settings = settings
        self._of_gateway = of_gateway
        self._authorities: str | None = None
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._api_client = api_client
        self._name = configuration_name(settings.installation, scope.namespace) if settings else ""
        self._watch: Source[str] | None = None  # of a term
        self.census = Census(api_client, scope, namespaces, instance=instance)
        self.webhook = WebhookTrust(
            api_client,
            self._name,
            lambda: self._authorities,
            differs=lambda body: differences(body, scope, service),
            sleep=self._sleep,
        )

    def troubles(self) -> Iterator[str]:
        """Why pods may get no sidecar, and which have none, as far as this replica knows."""
        if self.webhook.trouble is not None:
            yield self.webhook.trouble
        yield from self.census.troubles()

    def unknown(self) -> tuple[Unknown, ...]:
        """Why changes of the webhook's configuration may be noticed late."""
        found = self._watch.unknown if self._watch is not None else None
        return (found,) if found is not None else ()

    def serve(self, app: web.Application) -> None:
        """Adds the webhook to a server that has not been started."""
        if self._settings is not None:
            Admission(self._settings, lambda: self._authorities, self._of_gateway).serve(app)

    def told(self, authorities: str) -> None:
        """Takes the authorities that signed our certificate, as PEM; empty: a public one."""
        if authorities != self._authorities:
            self._authorities = authorities
            self._news.set()

    async def run(self) -> None:
        """Keeps the webhook configuration and looks for pods without a sidecar, until cancelled."""
        if self._settings is None:
            return
        self._watch = Source(self._api_client, resource(self._name), None, _version, self._changed)
        self._watch.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.webhook.run())
                tasks.create_task(self.census.run())
        finally:
            self._watch.stop()
            self._watch = None

    def _changed(self) -> None:
        """Notes a change of the configuration; called from the watch's thread."""
        self._loop.call_soon_threadsafe(self._news.set)

    async def _sleep(self, seconds: float) -> None:
        """Sleeps for `seconds`, or until the authorities or the configuration change."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return
        await asyncio.sleep(CALM_SECONDS)
        self._news.clear()


def _version(body: JSON) -> str:
    return str(body["metadata"].get("resourceVersion"))
