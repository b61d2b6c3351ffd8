"""The owner of all objects that the operator makes at run time: the ServiceAccount that it was installed with.

Kubernetes removes what has lost its owner, so uninstalling leaves nothing behind, whichever tool does it. It is the
ServiceAccount and not the Deployment, because a Deployment is sometimes made anew, and routers' config must survive
that. Used by `stored` and `lease` when they create something. Blocking.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import urllib3
from kubernetes import client

from weir_operator.kube.accounts import ServiceAccount

OWNER_REQUEST_SECONDS = 4.0
"""Seconds for the one request; a Lease waits for it."""

_log = logging.getLogger("weir_operator.owner")


class OwnerUnknown(Exception):
    """The API server did not say; the message says why. It may work a moment later."""


class Owner:
    """One ServiceAccount; asked for once."""

    def __init__(self, api_client: client.ApiClient, account: ServiceAccount) -> None:
        self._api = client.CoreV1Api(api_client)
        self._account = account
        self._found: list[client.V1OwnerReference] | None = None

    def references(self) -> list[client.V1OwnerReference]:
        """`metadata.ownerReferences` of a new object; empty where there is no such ServiceAccount, or no right to read
        it: then what is made stays when Weir goes. Raises `OwnerUnknown`.
        """
        if self._found is None:
            self._found = self._read()
        return self._found

    def _read(self) -> list[client.V1OwnerReference]:
        try:
            account: Any = self._api.read_namespaced_service_account(
                self._account.name, self._account.namespace, _request_timeout=OWNER_REQUEST_SECONDS
            )
        except client.ApiException as error:
            if error.status not in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
                raise OwnerUnknown(f"cannot get {self._place}: {error.status} {error.reason}") from None
            _log.warning(
                "cannot get %s: %s. Objects that the operator makes will stay when it is uninstalled.",
                self._place,
                error.reason,
            )
            return []
        except urllib3.exceptions.HTTPError as error:
            raise OwnerUnknown(f"cannot get {self._place}: {type(error).__name__}") from None
        uid = account.metadata.uid
        return [client.V1OwnerReference(api_version="v1", kind="ServiceAccount", name=self._account.name, uid=uid)]

    @property
    def _place(self) -> str:
        return f"ServiceAccount {self._account.namespace}/{self._account.name}"
