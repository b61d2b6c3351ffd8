"""How large objects may be, and which are left out where all together are too large. PURE; used by `compile`.

An object that is too large by itself is left out by itself. Where the objects of all namespaces have no room together,
those of the namespace that uses most are left out, the newest first, until the rest fits: so what one tenant makes
never keeps the objects of another from routers, nor the news that one of them is gone. The same objects always give
the same answer.

Weights are bytes of JSON, and published files are gzipped. So a config that has room here fits into its objects, and
routers and the operator can hold all of it in memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from weir_operator.compile.report import Report
from weir_operator.kube.crowding import Part, crowded_out
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import MAX_VALUE, Manifest
from weir_operator.problems.problem import ConditionType, Problem, Reason, Severity
from weir_router.contract import digest

KIB = 1024

MAX_OBJECT_BYTES = 1024 * KIB
"""Bytes that the values of one ConfigMap or Secret may have: the API server's bound."""

SHARDS = 16
"""ConfigMaps that a config is spread over. Fixed, because a pod's volumes are."""

CREDENTIAL_SECRETS = 32
"""Secrets that the credentials are spread over by their namespace. Fixed, because a pod's volumes are; a node with a
router of the gateway watches each of them."""

MAX_USER_TIER = 253
"""Characters of a caller's user tier: as many as `when.userTiers` can compare it with."""

MAX_CREDENTIAL = MAX_VALUE
"""Bytes of a credential: servers accept no longer line in a request's head."""

MAX_POLICY = 64 * KIB
"""Bytes of a compiled policy: some fifty times an ordinary one."""

MAX_TIER = 64 * KIB
"""Bytes of a compiled tier whose Services are one backend each: 32 backends of 2 KiB."""

MAX_SPEC = 256 * KIB
"""Bytes of a spec as JSON, beyond which it is not even read: some two hundred times an ordinary one."""

MAX_ENDPOINTS_OF_TIER = 256 * KIB
"""Bytes of the endpoints of a tier's Services, which are shared out evenly: 256 endpoints of 1 KiB."""

SHARE = 4
"""The part of a room, as one of so many, that a namespace may fill. Three more must do the same until others suffer."""


@dataclass(frozen=True)
class Room:
    """Space in published objects for one sort of things."""

    what: str  # for people
    size: int  # bytes, in each of the shards
    shards: int = 1
    by_namespace: bool = False  # a namespace is in one shard, and not in all of them

    @property
    def share(self) -> int:
        """Bytes that one namespace may have."""
        return self.size * (1 if self.by_namespace else self.shards) // SHARE

    def place(self, name: ObjectName) -> str:
        """The shard of an object."""
        if self.by_namespace:
            return _shard(name.namespace, self.shards)
        return shard_of(str(name)) if self.shards > 1 else ""


# Together a little less than one object holds: separators and the names of files need some space, too.
TIERS = Room("compiled tiers", 448 * KIB, SHARDS)
POLICIES = Room("compiled policies", 384 * KIB, SHARDS)
CLAIMS = Room("claims of policies that are left out", 128 * KIB, SHARDS)
CREDENTIALS = Room("credentials", 1000 * KIB, CREDENTIAL_SECRETS, by_namespace=True)
KEYS = Room("callers' keys", 1000 * KIB)

MAX_SPECS = 1024 * KIB
"""Bytes of the specs of one kind that a namespace may have. Reading and compiling them takes longest in a compile."""

MAX_ALL_SPECS = 8 * MAX_SPECS
"""Bytes of the specs of one kind that are read in all."""


def size(value: Any) -> int:
    """The bytes of `value` as JSON."""
    return len(msgspec.json.encode(value))


def shard_of(key: str) -> str:
    """The shard of the tier or policy called `namespace/name`: by hash, so that a change stays in one shard."""
    return _shard(key, SHARDS)


def credential_shard(namespace: str) -> str:
    """The Secret of a namespace's credentials, by hash: each namespace is in one, and stays there."""
    return _shard(namespace, CREDENTIAL_SECRETS)


def _shard(key: str, shards: int) -> str:
    return shard_name(int(digest(key.encode())[-8:], 16) % shards)


def shard_name(shard: int) -> str:
    """`07` for 7."""
    return f"{shard:02}"


def left_out(parts: Iterable[Part], room: Room) -> Mapping[ObjectName, str]:
    """The parts that have no room, each with the reason, for people."""
    rest = list(parts)
    found: dict[ObjectName, str] = {}
    for namespace, own in _over(rest, room.share, lambda it: it.name.namespace):
        why = f"namespace {namespace} has more than {room.share // KIB:,} KiB of {room.what}; this is one of its newest"
        found |= dict.fromkeys(crowded_out(own, room.share), why)
    if found:
        rest = [it for it in rest if it.name not in found]
    for _, together in _over(rest, room.size, lambda it: room.place(it.name)):
        for name in crowded_out(together, room.size):
            found[name] = (
                f"there is no room for all {room.what}; namespace {name.namespace} uses most of it, "
                "and this is one of its newest"
            )
    return found


def unread(parts: Iterable[Part], most: int) -> Mapping[ObjectName, str]:
    """The objects of one kind, weighed by their specs, that are not even read, each with the reason, for people.

    A namespace may have `most` bytes of specs.
    """
    rest = list(parts)
    found: dict[ObjectName, str] = {}
    for namespace, own in _over(rest, most, lambda it: it.name.namespace):
        why = f"the specs of namespace {namespace} have more than {most // KIB:,} KiB; this is one of its newest"
        found |= dict.fromkeys(crowded_out(own, most), why)
    for name in crowded_out((it for it in rest if it.name not in found), MAX_ALL_SPECS):
        found[name] = f"all specs have over {MAX_ALL_SPECS // KIB:,} KiB; namespace {name.namespace} has most of it"
    return found


def _over(parts: list[Part], most: int, place: Callable[[Part], str]) -> Iterator[tuple[str, list[Part]]]:
    """The places whose parts weigh more than `most` together, each with its parts."""
    if sum(it.weight for it in parts) <= most:
        return
    there: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        there[place(part)].append(part)
    for name, them in there.items():
        if sum(it.weight for it in them) > most:
            yield name, them


def weight(manifest: Manifest, bytes_: int) -> int:
    """Bytes of an object of `bytes_` with its name, which stands beside it and beside its generation."""
    return bytes_ + 2 * len(manifest.id) + 32


def crowded(manifest: Manifest, why: str, what: str) -> Problem:
    """The problem of an object that has no room; `what` are such objects, e.g. "tiers"."""
    return Problem(
        object=manifest.id,
        field="",
        condition=ConditionType.ACCEPTED,
        reason=Reason.TOO_LARGE,
        message=f"{why}; it is left out",
        action=f"Remove {what} of namespace {manifest.namespace}, make them smaller, or spread them over namespaces.",
        where=manifest.where(""),
    )


def too_large(report: Report, found: int, most: int, action: str) -> None:
    """Notes that the object would take more bytes than one may."""
    message = f"it would take {found:,} bytes of the routers' config, and may take {most:,}; it is left out"
    report.note("", ConditionType.ACCEPTED, Reason.TOO_LARGE, message, action, Severity.ERROR)
