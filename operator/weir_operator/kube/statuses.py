"""Statuses and Events, on the API server. The edge of `weir_operator.status.reporter`: it decides nothing. Blocking.

A status is applied by the server (server-side apply), with our fields only: what others add stays, and what we say no
longer goes. The version that we know goes with it, so that the status of an object never lands on its successor, nor
one that was made of an older spec on a newer.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Protocol

import urllib3
from kubernetes import client

from weir_operator.kube.objects import JSON
from weir_operator.kube.store import FIELD_MANAGER, REQUEST_TIMEOUT
from weir_operator.schemas import GROUP, VERSION
from weir_operator.schemas.common import Kind

_APPLY = "application/apply-patch+yaml"
_EVENTS = ("events.k8s.io", "v1")

UNDECLARED_SECONDS = 300.0
"""Seconds for which a status field is left out after CRDs of an older version have refused it: a newer CRD may come at
any time, and one refused write in five minutes costs nothing."""

_UNDECLARED = re.compile(r"\.status\.(\w+)\S*: field not declared in schema")
_NEEDED = frozenset({"conditions", "observedGeneration"})


class Outcome(StrEnum):
    """The result of a write."""

    DONE = "Done"
    STALE = "Stale"  # the object was changed or deleted meanwhile, which the informers will tell in a moment
    FORBIDDEN = "Forbidden"  # a right is missing
    FAILED = "Failed"  # the API server, or the way there; it may work later


class Subject(Protocol):
    """The object whose status is written."""

    @property
    def kind(self) -> str:
        """The kind, for example `ModelTier`."""

    @property
    def namespace(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """`metadata.resourceVersion` of the object that the status was made of."""


class StatusWriter:
    """Writes for one operator. Used from several threads at once."""

    def __init__(
        self, api_client: client.ApiClient, kinds: Iterable[Kind], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = client.CustomObjectsApi(api_client)
        self._plurals = {kind.kind: kind.plural for kind in kinds}
        self._monotonic = monotonic
        self._undeclared: dict[tuple[str, str], float] = {}  # kind and field: until when it is left out

    @property
    def undeclared(self) -> frozenset[tuple[str, str]]:
        """Kinds and fields of their statuses that the installed CRDs are too old for. Without them, the rest can be
        written."""
        now = self._monotonic()
        return frozenset([key for key, until in list(self._undeclared.items()) if now < until])

    def write(self, subject: Subject, status: JSON) -> tuple[Outcome, str]:
        """Gives the object this status; the text says what is wrong."""
        plural = self._plurals[subject.kind]
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": subject.kind,
            "metadata": {"name": subject.name, "namespace": subject.namespace, "resourceVersion": subject.version},
            "status": status,
        }
        outcome, text = _called(
            lambda: self._api.patch_namespaced_custom_object_status(
                GROUP,
                VERSION,
                subject.namespace,
                plural,
                subject.name,
                body,
                field_manager=FIELD_MANAGER,
                force=True,  # our fields are ours alone
                _content_type=_APPLY,
                _preload_content=False,
                _request_timeout=REQUEST_TIMEOUT,
            ),
            f'{{apiGroups: ["{GROUP}"], resources: ["{plural}/status"], verbs: ["patch"]}}',
        )
        until = self._monotonic() + UNDECLARED_SECONDS
        fields = set(_UNDECLARED.findall(text)) - _NEEDED
        self._undeclared.update({(subject.kind, field): until for field in fields})
        return outcome, text

    def tell(self, event: JSON) -> tuple[Outcome, str]:
        """Creates an Event; the text says what is wrong."""
        namespace = event["metadata"]["namespace"]
        return _called(
            lambda: self._api.create_namespaced_custom_object(
                *_EVENTS, namespace, "events", dict(event), _preload_content=False, _request_timeout=REQUEST_TIMEOUT
            ),
            '{apiGroups: ["events.k8s.io"], resources: ["events"], verbs: ["create"]}',
        )


def _called(call: Callable[[], Any], rule: str) -> tuple[Outcome, str]:
    try:
        response = call()
        data = response.data  # read to its end, or the connection could not be used again
    except client.ApiException as error:
        return _outcome(error.status, f"{error.status} {_message(error.body)}", rule)
    except urllib3.exceptions.HTTPError as error:
        return Outcome.FAILED, type(error).__name__
    if response.status < HTTPStatus.MULTIPLE_CHOICES:
        return Outcome.DONE, ""
    return _outcome(response.status, f"{response.status} {_message(data)}", rule)


def _outcome(status: int, text: str, rule: str) -> tuple[Outcome, str]:
    if status == HTTPStatus.FORBIDDEN:
        return Outcome.FORBIDDEN, f"the operator may not; add to its role: {rule}"
    # A conflict is that of the version: `force` leaves no other.
    stale = status in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)
    return (Outcome.STALE if stale else Outcome.FAILED), text


def _message(data: str | bytes | None) -> str:
    try:
        return str(json.loads(data or b"")["message"])
    except (ValueError, KeyError, TypeError):
        return "no reason was given"
