"""ConfigMaps and Secrets that hold files, on the API server. The edge of `publish`: it decides nothing.

Errors of the server about a Secret are never repeated: an error about a malformed body quotes the body.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn

import msgspec
import urllib3
from kubernetes import client

from weir_operator.kube.owner import Owner, OwnerUnknown

REQUEST_TIMEOUT = 5.0
"""Seconds for one request: what lies between a leader's end and the next one's begin, see `leadership`."""

FIELD_MANAGER = "weir-operator"

_CONFLICT, _NOT_FOUND, _FORBIDDEN = 409, 404, 403


class PublishFailed(Exception):
    """The compiled config is not published, or only in part; the message says what to do. The old one still works."""


class Conflict(Exception):
    """Another client wrote the object in between: read it and decide again."""


class Kind(StrEnum):
    """The kind of a published object."""

    CONFIG_MAP = "ConfigMap"
    SECRET = "Secret"


@dataclass(frozen=True, order=True)
class ObjectId:
    """A published object of the installation's namespace."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


_PLURAL = {Kind.CONFIG_MAP: "configmaps", Kind.SECRET: "secrets"}
_Functions = Mapping[Kind, Callable[..., Any]]


@dataclass(frozen=True)
class Stored:
    """An object as it is on the server."""

    id: ObjectId
    files: Mapping[str, bytes] = field(repr=False)
    labels: Mapping[str, str]
    model: Any = field(repr=False)  # V1ConfigMap or V1Secret: what others added to it stays

    @property
    def is_ours(self) -> bool:
        """Whether the operator has written the object, be it without its labels now."""
        return any(it.manager == FIELD_MANAGER for it in self.model.metadata.managed_fields or ())


class ObjectStore:
    """The objects with certain labels in one namespace. Every method raises `PublishFailed`, and those that write
    also `Conflict`.
    """

    def __init__(
        self, api_client: client.ApiClient, namespace: str, labels: Mapping[str, str], owner: Owner | None = None
    ) -> None:
        """New objects get the `labels` and the `owner`."""
        api = client.CoreV1Api(api_client)
        self._owner = owner
        self._namespace = namespace
        self._labels = dict(labels)
        maps, secrets = Kind.CONFIG_MAP, Kind.SECRET
        self._list: _Functions = {maps: api.list_namespaced_config_map, secrets: api.list_namespaced_secret}
        self._create: _Functions = {maps: api.create_namespaced_config_map, secrets: api.create_namespaced_secret}
        self._replace: _Functions = {maps: api.replace_namespaced_config_map, secrets: api.replace_namespaced_secret}
        self._delete: _Functions = {maps: api.delete_namespaced_config_map, secrets: api.delete_namespaced_secret}

    def read(self, selector: str) -> dict[ObjectId, Stored]:
        """Every object that `selector` selects."""
        found = [
            _stored(kind, model)
            for kind, listed in self._list.items()
            for model in self._call("list", ObjectId(kind, ""), listed, label_selector=selector).items
        ]
        return {it.id: it for it in found}

    def find(self, name: ObjectId) -> Stored | None:
        """The object called `name`, with any labels. Needs the right to list, as `read` does."""
        listed = self._call("list", name, self._list[name.kind], field_selector=f"metadata.name={name.name}").items
        return _stored(name.kind, listed[0]) if listed else None

    def write(self, name: ObjectId, files: Mapping[str, bytes], old: Stored | None) -> Stored:
        """Gives the object exactly these files. `old` is what was read; None: it must not be there yet, or be ours
        without its labels. An object that was made immutable is made anew.
        """
        if old is not None and old.model.immutable:
            self.delete(old)
            old = None
        try:
            return self._write(name, files, old)
        except Conflict:
            found = self.find(name) if old is None else None
            if found is None or not found.is_ours or self._labels.items() <= found.labels.items():
                raise
        return self.write(name, files, found)

    def _write(self, name: ObjectId, files: Mapping[str, bytes], old: Stored | None) -> Stored:
        model = _model(name.kind) if old is None else old.model.model_copy(deep=True)
        model.metadata.name = name.name
        model.metadata.labels = {**(model.metadata.labels or {}), **self._labels}
        _fill(name.kind, model, files)
        common = {"body": model, "field_manager": FIELD_MANAGER}
        if old is None:
            model.metadata.owner_references = self._owners()
            written = self._call("create", name, self._create[name.kind], **common)
        else:
            # The model carries the resourceVersion that was read, so what others wrote since is a conflict.
            written = self._call("update", name, self._replace[name.kind], name=name.name, **common)
        return _stored(name.kind, written)

    def _owners(self) -> list[client.V1OwnerReference] | None:
        try:
            return self._owner.references() if self._owner else None
        except OwnerUnknown as error:
            raise PublishFailed(str(error)) from None

    def delete(self, old: Stored) -> None:
        """Removes the object, unless it has changed since it was read."""
        metadata = old.model.metadata
        same = client.V1Preconditions(uid=metadata.uid, resource_version=metadata.resource_version)
        options = client.V1DeleteOptions(preconditions=same)
        delete = self._delete[old.id.kind]
        self._call("delete", old.id, delete, name=old.id.name, body=options)

    def _call(self, verb: str, name: ObjectId, function: Callable[..., Any], /, **arguments: Any) -> Any:
        try:
            return function(namespace=self._namespace, **arguments, _request_timeout=REQUEST_TIMEOUT)
        except client.ApiException as error:
            self._raise(verb, name, error)
        except urllib3.exceptions.HTTPError as error:
            # Only the type: what was sent may be part of the message.
            raise PublishFailed(f"cannot {verb} {self._place(name)}: {type(error).__name__}") from None

    def _raise(self, verb: str, name: ObjectId, error: client.ApiException) -> NoReturn:
        if error.status == _CONFLICT and verb == "create":
            raise Conflict(f"{self._place(name)} is there without the labels of this installation") from None
        if error.status == _CONFLICT or (error.status == _NOT_FOUND and name.name and verb != "create"):
            raise Conflict(f"{self._place(name)} was changed by another client") from None
        raise PublishFailed(
            f"cannot {verb} {self._place(name)}: {error.status} {error.reason}{self._advice(verb, name, error)}"
        ) from None

    def _advice(self, verb: str, name: ObjectId, error: client.ApiException) -> str:
        said = _said(error)
        if error.status == _FORBIDDEN and f"cannot {verb} resource" in said:
            return f"; the operator's Role needs {verb} on {_PLURAL[name.kind]} in namespace {self._namespace}"
        if error.status == _NOT_FOUND:
            return f"; is there a namespace {self._namespace}?"
        return f"; {said}" if name.kind is Kind.CONFIG_MAP else ""

    def _place(self, name: ObjectId) -> str:
        return f"{name.kind} {self._namespace}/{name.name}" if name.name else f"{name.kind}s in {self._namespace}"


def _model(kind: Kind) -> Any:
    metadata = client.V1ObjectMeta()
    if kind is Kind.CONFIG_MAP:
        return client.V1ConfigMap(metadata=metadata)
    return client.V1Secret(metadata=metadata, type="Opaque")


def _fill(kind: Kind, model: Any, files: Mapping[str, bytes]) -> None:
    if kind is Kind.SECRET:
        model.data = {name: base64.b64encode(content).decode() for name, content in files.items()}
        return
    # As text, for people with kubectl and for who mounts it; what is gzipped cannot be.
    model.data = {name: content.decode() for name, content in files.items() if name.endswith((".json", ".crt"))}
    model.binary_data = {
        name: base64.b64encode(content).decode() for name, content in files.items() if name not in model.data
    }


def _stored(kind: Kind, model: Any) -> Stored:
    if kind is Kind.SECRET:
        files = _decoded(model.data)
    else:
        files = {name: text.encode() for name, text in (model.data or {}).items()} | _decoded(model.binary_data)
    return Stored(ObjectId(kind, model.metadata.name), files, model.metadata.labels or {}, model)


def _decoded(data: Mapping[str, str | bytes] | None) -> dict[str, bytes]:
    return {name: base64.b64decode(value) for name, value in (data or {}).items()}


def _said(error: client.ApiException) -> str:
    """The message of the Status object that the API server answers with."""
    try:
        return str(msgspec.json.decode(error.body or "{}")["message"])
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError):
        return "no reason was given"
