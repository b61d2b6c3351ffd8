"""Sidecars in one replica of the operator: the webhook on the config server's port, and the authority that the API
server trusts it by. Wired by `weir_operator.run.replica`, which tells it of the authority; decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from weir_operator.kube.client import ApiClient
from weir_operator.kube.webhooks import WebhookTrust, configuration_name
from weir_operator.sidecar.admission import Admission
from weir_operator.sidecar.inject import Settings


class Sidecars:
    """Every replica serves, the leader runs."""

    def __init__(
        self, settings: Settings | None, api_client: ApiClient, namespace: str, of_gateway: Callable[[], str]
    ) -> None:
        """`settings` of None switches sidecars off. `namespace` is the installation's. `of_gateway` gives the
        authorities of the gateway's certificate (PEM), empty for public ones.
        """
        self._settings = settings
        self._of_gateway = of_gateway
        self._authorities: str | None = None
        self._told = asyncio.Event()
        name = configuration_name(settings.installation, namespace) if settings else ""
        self._trust = WebhookTrust(api_client, name, lambda: self._authorities, sleep=self._sleep)

    @property
    def trouble(self) -> str | None:
        """Why pods may get no sidecar; None: nothing is wrong, as far as this replica knows."""
        return self._trust.trouble

    def serve(self, app: web.Application) -> None:
        """Adds the webhook to a server that has not been started."""
        if self._settings is not None:
            Admission(self._settings, lambda: self._authorities, self._of_gateway).serve(app)

    def told(self, authorities: str) -> None:
        """Takes the authorities that signed our certificate, as PEM; empty: a public one."""
        if authorities != self._authorities:
            self._authorities = authorities
            self._told.set()

    async def run(self) -> None:
        """Keeps the webhook configuration, until cancelled."""
        if self._settings is not None:
            await self._trust.run()

    async def _sleep(self, seconds: float) -> None:
        """Sleeps for `seconds`, or until the authorities change."""
        self._told.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._told.wait()
        except TimeoutError:
            pass
