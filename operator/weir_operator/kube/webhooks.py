"""Keeps the authority of our certificate where the API server looks for it: in the webhook configuration.

Helm renders the configuration without a `caBundle`, because only the operator knows it; what is absent there is left
alone by upgrades. Blocking; needs `get` and `patch` on the one configuration. Called by the leader.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import urllib3
from kubernetes import client

WEBHOOK_REQUEST_SECONDS = 5.0
"""Seconds for one request."""

WEBHOOK_CHECK_SECONDS = 300.0
"""Seconds between two checks: another client may have written it. A new authority is known an hour before it signs."""

RETRY_SECONDS = 5.0
"""Seconds between two checks while there is no certificate, and after a failure."""

_log = logging.getLogger("weir_operator.webhooks")

_NOT_FOUND = 404


class WebhookNotTrusted(Exception):
    """The API server may not know our authority, so pods get no sidecars; the message says why, and what to do."""


class WebhookTrust:
    """Keeps one configuration at our authorities. `run` it on the leader."""

    def __init__(
        self,
        api_client: client.ApiClient,
        name: str,
        authorities: Callable[[], str | None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`authorities` gives the PEM, empty for a public one; None: there is no certificate yet."""
        self._api_client = api_client
        self._name = name
        self._authorities = authorities
        self._sleep = sleep
        self.trouble: str | None = None
        """Why pods may get no sidecar; None: nothing is wrong."""

    async def run(self) -> None:
        """Looks again and again, until cancelled."""
        while True:
            await self._sleep(WEBHOOK_CHECK_SECONDS if await self.look() else RETRY_SECONDS)

    async def look(self) -> bool:
        """Writes what differs; whether all is well."""
        authorities = self._authorities()
        if not authorities:
            return authorities is not None
        try:
            if await asyncio.to_thread(trust_authorities, self._api_client, self._name, authorities):
                _log.info("MutatingWebhookConfiguration %s has our authorities", self._name)
        except WebhookNotTrusted as error:
            if str(error) != self.trouble:
                _log.warning("pods may get no sidecar: %s", error)
            self.trouble = str(error)
            return False
        self.trouble = None
        return True


def configuration_name(installation: str, namespace: str) -> str:
    """The chart's name for the configuration of an installation in a namespace."""
    return f"{installation}.{namespace}.sidecar.weir.dev"


def trust_authorities(api_client: client.ApiClient, name: str, authorities: str) -> bool:
    """Brings every webhook of the configuration `name` to `authorities` (PEM); whether there was anything to do.

    A configuration that is not there is none of our business: sidecars are switched off. Raises `WebhookNotTrusted`.
    """
    api = client.AdmissionregistrationV1Api(api_client)
    bundle = base64.b64encode(authorities.encode()).decode()
    try:
        found = api.read_mutating_webhook_configuration(name, _request_timeout=WEBHOOK_REQUEST_SECONDS)
        stale = [number for number, it in enumerate(found.webhooks or ()) if it.client_config.ca_bundle != bundle]
        if not stale:
            return False
        api.patch_mutating_webhook_configuration(
            name, _patch(found, stale, bundle), _request_timeout=WEBHOOK_REQUEST_SECONDS
        )
    except client.ApiException as error:
        if error.status == _NOT_FOUND:
            return False
        hint = "; the operator needs get and patch on it" if error.status == 403 else ""
        raise WebhookNotTrusted(f"MutatingWebhookConfiguration {name}: {error.status} {error.reason}{hint}") from None
    except urllib3.exceptions.HTTPError as error:
        raise WebhookNotTrusted(f"MutatingWebhookConfiguration {name}: {type(error).__name__}") from None
    return True


def _patch(found: Any, stale: list[int], bundle: str) -> list[dict[str, Any]]:
    """A JSON patch, which fails if the configuration changes in between."""
    unchanged = {"op": "test", "path": "/metadata/resourceVersion", "value": found.metadata.resource_version}
    paths = (f"/webhooks/{number}/clientConfig/caBundle" for number in stale)
    return [unchanged, *({"op": "add", "path": path, "value": bundle} for path in paths)]
