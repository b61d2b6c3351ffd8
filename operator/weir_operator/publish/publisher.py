"""Writes what was compiled where routers find it. Called by the leader after each compile; `stored` is its edge.

1. Read what is there: all objects of this installation, in two requests.
2. Content that is there already keeps its revision, and nothing is written.
3. Otherwise: credentials, callers' keys, keys that seal ids, shards, and the index last. Until the index is written
   the old one holds, and an object that changes keeps the files which the old index names: a router that reads in
   between, or starts after we died in between, finds the old config whole.
4. Files that the index no longer names are removed `RETIRE_AFTER` seconds later, by the next call.

No other client may write these objects; when one has, 1 to 3 are done again. An object of ours that lost its labels is
taken back. Leadership is checked before each write,
so that a leader that has been replaced writes nothing, however long a request of it took.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from weir_operator.compile import Compiled
from weir_operator.kube.client import ApiClient
from weir_operator.kube.owner import Owner
from weir_operator.kube.store import Conflict, Kind, ObjectId, ObjectStore, PublishFailed, Stored
from weir_operator.publish.publication import ConfigTooLarge, Names, Publication, fits, publication
from weir_operator.publish.state_keys import StateKeys
from weir_router.contract import API_VERSION, prepare
from weir_router.contract.published import INDEX_FILE, Index

__all__ = [
    "RETIRE_AFTER",
    "ConfigTooLarge",
    "Kind",
    "Names",
    "NotLeading",
    "ObjectId",
    "Publication",
    "PublishFailed",
    "Published",
    "Publisher",
    "publication",
]

RETIRE_AFTER = 120.0
"""Seconds that what an older index names stays: a kubelet may see two objects a minute apart."""

OLD_SECONDS = 3600.0
"""Seconds for which the one Secret of earlier versions stays after a replica has begun: pods of a gateway that is being
upgraded mount no other. A file in it that no index names is removed as everywhere."""

ATTEMPTS = 5
"""Conflicts in a row before giving up: more than one is two operators at work, which a Lease should prevent."""

MAX_REVISION = 2**53
"""Largest revision of an index that counts; a larger one was written by hand, and no successor of it could be read."""

COMPONENT = "router-config"
"""Value of `app.kubernetes.io/component` that tells published objects from the installation's other ones."""


class NotLeading(PublishFailed):
    """Another replica may lead by now: it is up to that one."""


@dataclass(frozen=True)
class Published:
    """The result of `Publisher.publish`."""

    revision: int
    written: tuple[ObjectId, ...] = ()  # in the order of writing; empty: the content was there
    removed: tuple[ObjectId, ...] = ()  # rid of files that no index names, or deleted
    call_again_in: float | None = None  # seconds after which a call would remove something; None: nothing to remove
    index: Index | None = field(default=None, compare=False, repr=False)


class Publisher:
    """Publishes for one installation. Blocking, and not thread-safe: one call at a time, in a thread of its own."""

    def __init__(
        self,
        api_client: ApiClient,
        namespace: str,
        installation: str,
        *,
        leads: Callable[[], bool] = lambda: True,
        owner: Owner | None = None,
        state_keys: StateKeys | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`namespace` is the gateway's; `leads` is asked before each write. Raises `ValueError` for an installation
        that cannot be part of a name. `state_keys`: None: routers get none.
        """
        self.names = Names(installation)
        self._labels = labels(installation)
        self._selector = selector(installation)
        self._store = ObjectStore(api_client, namespace, self._labels, owner)
        self._leads = leads
        self._state_keys = state_keys
        self._monotonic = monotonic
        self._revision = 0
        # Another replica may have written the index just before us.
        self._retire_at = monotonic() + RETIRE_AFTER
        self._old_until = monotonic() + OLD_SECONDS

    def publish(self, compiled: Compiled) -> Published:
        """Brings the cluster to the compiled config; `compiled.config.revision` does not count. Raises `PublishFailed`:
        routers then still have the old config, or the new one.
        """
        written: list[ObjectId] = []
        removed: list[ObjectId] = []
        for _ in range(ATTEMPTS):
            try:
                return self._publish(compiled, written, removed)
            except Conflict as conflict:
                last = conflict
        raise PublishFailed(f"{last}, {ATTEMPTS} times in a row; is a second operator at work, or a tool that prunes?")

    def _publish(self, compiled: Compiled, written: list[ObjectId], removed: list[ObjectId]) -> Published:
        there = self._store.read(self._selector)
        current = self._current(there)
        compiled = self._with_keys(compiled, current, there)
        wanted = publication(compiled, self._revision, names=self.names)
        if current != wanted.index:
            wanted = wanted.at(self._revision + 1)
        self._write(wanted, current, there, written)
        return self._retire(wanted, there, written, removed)

    def _with_keys(self, compiled: Compiled, current: Index | None, there: Mapping[ObjectId, Stored]) -> Compiled:
        """The compiled config with the keys that seal ids, of which a compile knows nothing."""
        if self._state_keys is None:
            return compiled
        stored = there.get(self.names.state_keys)
        keys = self._state_keys.wanted(stored.files if stored else {}, current)
        return replace(compiled, secrets=msgspec.structs.replace(compiled.secrets, state_keys=keys))

    def _retire(
        self,
        wanted: Publication,
        there: dict[ObjectId, Stored],
        written: list[ObjectId],
        removed: list[ObjectId],
    ) -> Published:
        """Removes what no index names, once that is due."""
        now, old = self._monotonic(), self.names.old_credentials
        unnamed = _unnamed(there, wanted.index)
        if old in there and now >= self._old_until:
            unnamed[old] = {}
        if unnamed and now >= self._retire_at:
            self._remove(unnamed, there, removed)
            unnamed = {}
        due = [self._retire_at] if unnamed else []
        if old in there and now < self._old_until:
            due.append(self._old_until)
        if self._state_keys is not None:
            due.append(now + self._state_keys.due_in())
        again = min(due) - now if due else None
        return Published(self._revision, tuple(written), tuple(removed), again, wanted.index)

    def _current(self, there: Mapping[ObjectId, Stored]) -> Index | None:
        """The index that is there, if it is one; its revision counts in any case, so that the next one is higher."""
        stored = there.get(self.names.index)
        data = stored.files.get(INDEX_FILE, b"") if stored else b""
        try:
            head = msgspec.json.decode(data, type=_Head)
            if head.revision <= MAX_REVISION:
                self._revision = max(self._revision, head.revision)
            return msgspec.json.decode(data, type=Index) if head.api_version == API_VERSION else None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def _write(
        self, wanted: Publication, current: Index | None, there: dict[ObjectId, Stored], written: list[ObjectId]
    ) -> None:
        named = current.files if current else frozenset()
        for name, files in wanted.objects:
            old = there.get(name)
            if old and files.items() <= old.files.items() and self._labels.items() <= old.labels.items():
                continue
            kept = {file: content for file, content in old.files.items() if file in named} if old else {}
            # Where there is no room for both, the new ones go first: routers that run keep what they have.
            both = {**kept, **files}
            self._check_leads()
            there[name] = self._store.write(name, both if fits(both) else files, old)
            written.append(name)
            if name == self.names.index:
                self._revision = wanted.index.revision
                self._retire_at = self._monotonic() + RETIRE_AFTER

    def _remove(
        self, unnamed: Mapping[ObjectId, Mapping[str, bytes]], there: Mapping[ObjectId, Stored], removed: list[ObjectId]
    ) -> None:
        for name, rest in unnamed.items():
            self._check_leads()
            if rest:
                self._store.write(name, rest, there[name])
            else:
                self._store.delete(there[name])
            removed.append(name)

    def _check_leads(self) -> None:
        if not self._leads():
            raise NotLeading("another replica of the operator may lead by now")


class _Head(msgspec.Struct, rename="camel"):
    """The fields that every version of an index has."""

    api_version: str = ""
    revision: int = 0


prepare(_Head)

SELECTED_BY = ("weir.dev/installation", "app.kubernetes.io/component")
"""Labels by which an installation knows what it has published."""


def labels(installation: str) -> dict[str, str]:
    """The labels of everything that is published."""
    return {
        "app.kubernetes.io/name": "weir",
        "app.kubernetes.io/instance": installation,
        "app.kubernetes.io/component": COMPONENT,
        "app.kubernetes.io/managed-by": "weir-operator",
        "weir.dev/installation": installation,
    }


def selector(installation: str) -> str:
    """Selects everything that is published, by the labels by which an installation knows it."""
    ours = labels(installation)
    return ",".join(f"{key}={ours[key]}" for key in SELECTED_BY)


def _unnamed(there: Mapping[ObjectId, Stored], index: Index) -> dict[ObjectId, dict[str, bytes]]:
    """The objects with files that `index` does not name, each with its other files."""
    keep = {*index.files, INDEX_FILE}
    left = {name: {it: stored.files[it] for it in stored.files if it in keep} for name, stored in there.items()}
    return {name: rest for name, rest in left.items() if len(rest) < len(there[name].files)}
