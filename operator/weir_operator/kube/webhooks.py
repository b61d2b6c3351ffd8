"""The sidecars' webhook configuration on the API server: reads it, and writes the authority of our certificate into it.

Helm renders the configuration without a `caBundle`, because only the operator knows it; fields that Helm leaves out
are left alone by upgrades. Blocking; needs `get`, `list`, `watch` and `patch` on the one configuration. The edge of
`weir_operator.sidecar.webhook`, which decides.
"""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

import urllib3
from kubernetes import client

from weir_operator.kube.objects import JSON
from weir_operator.kube.unknowns import Resource

WEBHOOK_REQUEST_SECONDS = 5.0
"""Seconds for one request."""

_NOT_FOUND = 404


class WebhookNotTrusted(Exception):
    """The API server may not know our authority, so pods get no sidecars; the message says why, and what to do."""


class Configuration(NamedTuple):
    """A webhook configuration, and whether we have written it."""

    body: JSON | None  # None: there is none
    written: bool = False


def resource(name: str) -> Resource:
    """The configuration, to be watched."""
    kind, group = "MutatingWebhookConfiguration", "admissionregistration.k8s.io"
    return Resource(kind, group, "v1", "mutatingwebhookconfigurations", name=name)


def trust_authorities(
    api_client: client.ApiClient, name: str, authorities: str, *, only_look: bool = False
) -> Configuration:
    """Brings every webhook of the configuration `name` to `authorities` (PEM). Raises `WebhookNotTrusted`."""
    api = client.AdmissionregistrationV1Api(api_client)
    bundle = base64.b64encode(authorities.encode()).decode()
    try:
        found: Any = api.read_mutating_webhook_configuration(name, _request_timeout=WEBHOOK_REQUEST_SECONDS)
        stale = [number for number, it in enumerate(found.webhooks or ()) if it.client_config.ca_bundle != bundle]
        if stale and not only_look:
            found = api.patch_mutating_webhook_configuration(
                name, _patch(found, stale, bundle), _request_timeout=WEBHOOK_REQUEST_SECONDS
            )
    except client.ApiException as error:
        if error.status == _NOT_FOUND:
            return Configuration(None)
        hint = "; the operator needs get and patch on it" if error.status == 403 else ""
        raise WebhookNotTrusted(f"MutatingWebhookConfiguration {name}: {error.status} {error.reason}{hint}") from None
    except urllib3.exceptions.HTTPError as error:
        raise WebhookNotTrusted(f"MutatingWebhookConfiguration {name}: {type(error).__name__}") from None
    body: Any = api_client.sanitize_for_serialization(found)  # type: ignore[no-untyped-call]
    return Configuration(body, bool(stale) and not only_look)


def _patch(found: Any, stale: list[int], bundle: str) -> list[dict[str, Any]]:
    """A JSON patch, which fails if the configuration changes in between."""
    unchanged = {"op": "test", "path": "/metadata/resourceVersion", "value": found.metadata.resource_version}
    paths = (f"/webhooks/{number}/clientConfig/caBundle" for number in stale)
    return [unchanged, *({"op": "add", "path": path, "value": bundle} for path in paths)]
