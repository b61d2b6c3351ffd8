"""A directory (or file) of manifests → `Observed`, with file and line of everything that is wrong.

Called by `weir up`, `weir validate` and `weir explain`. It reads the same files that `kubectl apply -f` sends. Specs
are not judged here: the compiler does that, for a directory as for a cluster.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from weir_operator.kube.objects import ObjectName
from weir_operator.observe.documents import Document, Fault, documents
from weir_operator.observe.environment import from_environment
from weir_operator.observe.observed import Manifest, NamedSecret, Observed, SecretData, by_kind, nearest
from weir_operator.observe.tenancy import Tenancy, accepted
from weir_operator.problems.problem import ConditionType, Problem, Reason, Severity
from weir_operator.schemas import GROUP, VERSION

SUFFIXES = frozenset({".yaml", ".yml"})

MAX_BYTES = 4 * 1024 * 1024
"""Bytes of one file: more than twice the size of the largest object in etcd, and a bound on the cost of a wrong file.
"""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_ENVELOPE = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})


class Readable(Protocol):
    """A kind, as far as a directory is read for it."""

    @property
    def kind(self) -> str:
        """The kind, for example `ModelTier`."""

    @property
    def secrets(self) -> Callable[[Manifest], Iterable[NamedSecret]]:
        """The Secrets that an object names."""


@dataclass(frozen=True)
class Loaded:
    """The content of a directory."""

    observed: Observed
    problems: tuple[Problem, ...]  # of files and envelopes; specs are the compiler's
    notices: tuple[str, ...]  # what was left out or taken from elsewhere


def load(
    path: Path,
    kinds: Sequence[Readable],
    *,
    namespace: str = "default",
    class_name: str = "weir",
    environ: Mapping[str, str] | None = None,
    tenancy: Tenancy | None = None,
) -> Loaded:
    """Reads objects of `kinds`; those without a namespace are of `namespace`. Raises nothing: faults are problems.

    `tenancy`: the rules between tenants; by default policies of `namespace` are offered to all.
    A Secret that is named but not there is looked up in `environ` (see `weir_operator.observe.environment`).
    """
    reader = _Reader(namespace, frozenset(kind.kind for kind in kinds))
    for file in _files(path, reader.closed):
        reader.read(file, str(file.relative_to(path)) if path.is_dir() else file.name)
    found = by_kind(reader.manifests.values())
    named = (secret for kind in kinds for it in found.get(kind.kind, ()) for secret in kind.secrets(it))
    values, notices = from_environment(named, reader.secrets, environ or {})
    observed = Observed(
        manifests=found,
        namespaces=reader.known_namespaces(),
        accepts=reader.accepts,
        tenancy=Tenancy(offering=(namespace,)) if tenancy is None else tenancy,
        secrets=reader.secrets,
        environment=values,
        class_name=class_name,
        local=True,
    )
    return Loaded(observed, tuple(reader.problems), (*reader.notices, *notices))


def _files(path: Path, closed: Callable[[OSError], None]) -> Iterator[Path]:
    """YAML files in a stable order, without hidden ones: editors and mounted ConfigMaps keep copies there."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path, onerror=closed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(folder, name)
            if file.suffix in SUFFIXES and not name.startswith(".") and not file.is_fifo():  # that would wait for ever
                yield file


@dataclass
class _Object:
    """One document with its envelope read."""

    body: dict[str, Any]
    file: str
    lines: Mapping[str, int]  # of the whole document
    prefix: str = ""  # "items[3]." within a List

    def where(self, path: str = "") -> str:
        return f"{self.file}:{nearest(self.lines, self.prefix + path)}"

    @property
    def field_lines(self) -> dict[str, str]:
        start = len(self.prefix)
        inside = ((path[start:], line) for path, line in self.lines.items() if path.startswith(self.prefix))
        return {path: f"{self.file}:{line}" for path, line in inside} | {"": self.where()}


@dataclass
class _Reader:
    """Gathers objects over all files."""

    namespace: str
    kinds: frozenset[str]
    manifests: dict[str, Manifest] = field(default_factory=dict)  # by "Kind/namespace/name"
    secrets: dict[ObjectName, SecretData] = field(default_factory=dict)
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    accepts: dict[str, frozenset[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def closed(self, error: OSError) -> None:
        """Notes a folder that cannot be listed."""
        name = str(error.filename)
        self._problem(name, "", Reason.YAML_INVALID, f"cannot be read: {error.strerror}", "Check the folder.", name)

    def read(self, file: Path, shown: str) -> None:
        try:
            with file.open("rb") as source:
                data = source.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                message = f"is larger than {MAX_BYTES} bytes"
                self._problem(shown, "", Reason.YAML_INVALID, message, "Split it.", shown)
                return
            text = data.decode("utf-8-sig")
        except OSError as error:
            self._problem(shown, "", Reason.YAML_INVALID, f"cannot be read: {error.strerror}", "Check the file.", shown)
            return
        except UnicodeDecodeError:
            self._problem(shown, "", Reason.YAML_INVALID, "is not UTF-8", "Save it as UTF-8.", shown)
            return
        for document in documents(text):
            if isinstance(document, Fault):
                self._fault(shown, document)
            else:
                self._document(document, shown)

    def known_namespaces(self) -> dict[str, dict[str, str]]:
        """Those with a manifest, and those that objects are in: a directory has no others."""
        named = [it.namespace for it in self.manifests.values()] + [it.namespace for it in self.secrets]
        unlabelled: dict[str, dict[str, str]] = {name: {} for name in (self.namespace, *named)}
        return unlabelled | self.namespaces

    def _fault(self, shown: str, fault: Fault) -> None:
        reason = Reason.YAML_INVALID if fault.fatal else Reason.DUPLICATE_KEY
        action = "Correct it; the rest of this file is not read." if fault.fatal else "Keep one; the last one counts."
        self._problem(shown, "", reason, fault.message, action, f"{shown}:{fault.line}")

    def _document(self, document: Document, shown: str) -> None:
        for fault in document.faults:
            self._fault(shown, fault)
        body = document.value
        if not isinstance(body, dict) or "kind" not in body:
            self._not_a_manifest(body, f"{shown}:{document.lines.get('', 1)}", shown)
        elif body["kind"] == "List" and isinstance(body.get("items"), list):
            for number, item in enumerate(body["items"]):
                if isinstance(item, dict):
                    self._object(_Object(item, shown, document.lines, f"items[{number}]."))
        else:
            self._object(_Object(body, shown, document.lines))

    def _not_a_manifest(self, body: Any, where: str, shown: str) -> None:
        if isinstance(body, dict) and body.keys() & {"apiVersion", "metadata", "spec"}:
            action = f"Say which kind it is, e.g. kind: {min(self.kinds)}."
            self._problem(shown, "kind", Reason.NOT_A_MANIFEST, "a manifest without kind", action, where)
        else:
            self.notices.append(f"{where}: no Kubernetes manifest, left out")

    def _object(self, it: _Object) -> None:
        kind, version = str(it.body.get("kind")), str(it.body.get("apiVersion"))
        if kind in self.kinds or version.partition("/")[0] == GROUP:
            self._ours(it, kind, version)
        elif (version, kind) == ("v1", "Secret"):
            self._secret(it)
        elif (version, kind) == ("v1", "Namespace"):
            self._namespace(it)
        else:
            self.notices.append(f"{it.where()}: {kind} is not for Weir, left out")

    def _ours(self, it: _Object, kind: str, version: str) -> None:
        if kind not in self.kinds or version != f"{GROUP}/{VERSION}":
            action = f"Weir knows {', '.join(sorted(self.kinds))} of {GROUP}/{VERSION}."
            self._problem(it.file, "kind", Reason.UNKNOWN_KIND, f"there is no {kind} of {version}", action, it.where())
            return
        key = self._key(it, kind)
        if key is None:
            return
        for name in it.body.keys() - _ENVELOPE:
            message, action = f"there is no field '{name}' here", "Fields of the object stand below spec."
            self._problem(f"{kind}/{key}", name, Reason.INVALID_SPEC, message, action, it.where(name))
        manifest = Manifest(kind, *key, it.body.get("spec", {}), lines=it.field_lines)
        earlier = self.manifests.setdefault(manifest.id, manifest)
        if earlier is not manifest:
            self._duplicate(manifest.id, it, earlier.where(""))

    def _duplicate(self, name: str, it: _Object, earlier: str | None) -> None:
        message, action = f"stands in {earlier} already, and that one counts", "Remove or rename one of the two."
        self._problem(name, "metadata.name", Reason.DUPLICATE_OBJECT, message, action, it.where("metadata.name"))

    def _key(self, it: _Object, kind: str) -> ObjectName | None:
        metadata = it.body.get("metadata")
        stated = metadata if isinstance(metadata, dict) else {}
        name, namespace = stated.get("name"), stated.get("namespace") or self.namespace
        for path, text in (("metadata.name", name), ("metadata.namespace", namespace)):
            if not isinstance(text, str) or not _NAME.fullmatch(text):
                message = f"{path} is missing, or is no name that Kubernetes takes"
                action = "Lower-case letters, digits, '-' and '.'; it begins and ends with a letter or digit."
                self._problem(f"{kind} in {it.file}", path, Reason.METADATA_INVALID, message, action, it.where(path))
                return None
        return ObjectName(str(namespace), str(name))

    def _secret(self, it: _Object) -> None:
        key = self._key(it, "Secret")
        if key is None:
            return
        secret = SecretData(_labels(it, "labels"), _labels(it, "annotations"), self._data(it, key), it.where())
        earlier = self.secrets.setdefault(key, secret)
        if earlier is not secret:
            self._duplicate(f"Secret/{key}", it, earlier.where)

    def _data(self, it: _Object, key: ObjectName) -> dict[str, bytes]:
        """The data as the API server keeps it: `data` decoded, `stringData` on top."""
        data: dict[str, bytes] = {}
        for name, text in _strings(it.body.get("data")):
            try:
                data[name] = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                action = "Encode it (base64), or put the plain value into stringData."
                path = f"data.{name}"
                message = f"the value of '{name}' is not base64"
                self._problem(f"Secret/{key}", path, Reason.SECRET_INVALID, message, action, it.where(path))
        return data | {name: text.encode() for name, text in _strings(it.body.get("stringData"))}

    def _namespace(self, it: _Object) -> None:
        key = self._key(it, "Namespace")
        if key is not None:
            self.namespaces[key.name] = _labels(it, "labels")
            if names := accepted(_labels(it, "annotations")):
                self.accepts[key.name] = names

    def _problem(self, name: str, path: str, reason: Reason, message: str, action: str, where: str) -> None:
        self.problems.append(
            Problem(name, path, ConditionType.ACCEPTED, reason, message, action, Severity.ERROR, where)
        )


def _labels(it: _Object, name: str) -> dict[str, str]:
    metadata = it.body["metadata"]
    return dict(_strings(metadata.get(name)))


def _strings(value: Any) -> Iterable[tuple[str, str]]:
    return [(key, text) for key, text in value.items() if isinstance(text, str)] if isinstance(value, dict) else []
