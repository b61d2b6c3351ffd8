"""Whether objects were deleted, or go with their CRD. Called by `weir_operator.kube.informers` on deletions.

A CRD that is deleted takes its objects along, each with an ordinary deletion: an accident (`helm uninstall`, `kubectl
delete -f crds/`) that must not stop what is being served. The API server says so in discovery, which every
authenticated user may read, so that no right on CRDs is needed: a kind whose CRD is being deleted cannot be created.
"""

from __future__ import annotations

from http import HTTPStatus

from kubernetes.client import ApiClient, ApiException, CustomObjectsApi
from urllib3.exceptions import HTTPError

from weir_operator.kube.unknowns import Resource

TIMEOUT = (5.0, 5.0)
"""Seconds to connect and to answer. The answer is made in memory."""


def crd_is_leaving(client: ApiClient, resource: Resource) -> bool:
    """Whether the CRD of `resource` is gone or being deleted; False if that is unknown."""
    try:
        served = CustomObjectsApi(client).get_api_resources(resource.group, resource.version, _request_timeout=TIMEOUT)
    except ApiException as error:
        return bool(error.status == HTTPStatus.NOT_FOUND)
    except HTTPError:
        return False
    return not any(it.name == resource.plural and "create" in it.verbs for it in served.resources)
