"""Keeps the authority of our certificate where the API server looks for it: in the webhook configuration.

Helm renders the configuration without a `caBundle`, because only the operator knows it; what is absent there is left
alone by upgrades. Blocking; needs `get` and `patch` on the one configuration. Called by the leader.
"""

from __future__ import annotations

import base64
from typing import Any

import urllib3
from kubernetes import client

REQUEST_SECONDS = 5.0

_NOT_FOUND = 404


class WebhookNotTrusted(Exception):
    """The API server may not know our authority, so pods get no sidecars; the message says why, and what to do."""


def configuration_name(installation: str, namespace: str) -> str:
    """What the chart calls the configuration of an installation in a namespace."""
    return f"{installation}.{namespace}.sidecar.weir.dev"


def trust_authorities(api_client: client.ApiClient, name: str, authorities: str) -> bool:
    """Brings every webhook of the configuration `name` to `authorities` (PEM); whether there was anything to do.

    A configuration that is not there is none of our business: sidecars are switched off. Raises `WebhookNotTrusted`.
    """
    api = client.AdmissionregistrationV1Api(api_client)
    bundle = base64.b64encode(authorities.encode()).decode()
    try:
        found = api.read_mutating_webhook_configuration(name, _request_timeout=REQUEST_SECONDS)
        stale = [number for number, it in enumerate(found.webhooks or ()) if it.client_config.ca_bundle != bundle]
        if not stale:
            return False
        api.patch_mutating_webhook_configuration(name, _patch(found, stale, bundle), _request_timeout=REQUEST_SECONDS)
    except client.ApiException as error:
        if error.status == _NOT_FOUND:
            return False
        hint = "; the operator needs get and patch on it" if error.status == 403 else ""
        raise WebhookNotTrusted(f"MutatingWebhookConfiguration {name}: {error.status} {error.reason}{hint}") from None
    except urllib3.exceptions.HTTPError as error:
        raise WebhookNotTrusted(f"MutatingWebhookConfiguration {name}: {type(error).__name__}") from None
    return True


def _patch(found: Any, stale: list[int], bundle: str) -> list[dict[str, Any]]:
    """A JSON patch, which fails if somebody else changes the configuration in between."""
    unchanged = {"op": "test", "path": "/metadata/resourceVersion", "value": found.metadata.resource_version}
    paths = (f"/webhooks/{number}/clientConfig/caBundle" for number in stale)
    return [unchanged, *({"op": "add", "path": path, "value": bundle} for path in paths)]
