"""Changes from one `Observed` to another: by object its compiled form, and its status. PURE.

Used by `weir diff` and, before they change something, by `weir pause` and `weir override`. Both sides are compiled with
the operator's compiler and judged with its rules; routers are taken to follow, and to find every backend healthy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from weir_operator.compile import Compiled, compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.distribute.reports import Reported
from weir_operator.kinds import KINDS, MODEL_TIER, ROUTING_POLICY
from weir_operator.kube.accounts import ServiceAccount
from weir_operator.observe.observed import Manifest, Observed
from weir_operator.problems.problem import ConditionType
from weir_operator.status.conditions import TRUE, Judgement, by_type
from weir_operator.status.rollout import Rollout
from weir_operator.status.statuses import statuses
from weir_router.contract import Backend, CallerRule, RouterReport, When

_GATEWAY = Reported(ServiceAccount("", ""), True, RouterReport(router="", revision=1), 1)

_UNTOLD = ("credential", "created")
"""Fields of a compiled object that are not shown: a hash, and an age that an object gets when it is made."""

_SETS = frozenset(
    field.encode_name
    for kind in (Backend, CallerRule, When)
    for field in msgspec.structs.fields(kind)
    if "frozenset" in str(field.type)
)
"""Names of lists that have no order, as compiled objects have them: those that are sets in the contract."""

_ORDERED = ("routes",)
"""Lists of named things whose order decides."""


_GOOD = {kind.kind: kind.judge.good for kind in KINDS}


class Change(StrEnum):
    """The change of an object."""

    ADDED = "Added"
    CHANGED = "Changed"
    AFFECTED = "Affected"  # it stays as it is, and something that it depends on does not


@dataclass(frozen=True)
class Line:
    """One figure of an object as routers run it."""

    path: str  # routes[quick].tiers
    before: str | None  # None: not there
    after: str | None


@dataclass(frozen=True)
class ConditionChange:
    """One condition; `None` where there was none."""

    type: str
    before: str | None  # "True, Ready"
    after: str
    message: str
    worse: bool


@dataclass(frozen=True)
class ObjectChange:
    """One object."""

    object: str  # "ModelTier/llm/budget"
    change: Change
    lines: tuple[Line, ...]
    conditions: tuple[ConditionChange, ...]

    @property
    def worse(self) -> bool:
        """Whether something stops working."""
        return any(it.worse for it in self.conditions)


@dataclass(frozen=True)
class Side:
    """One of the two, compiled."""

    observed: Observed
    compiled: Compiled
    statuses: Mapping[str, Mapping[str, Any]]

    def figures(self, manifest: Manifest) -> dict[str, str]:
        """The figures of an object, as routers run it."""
        config, key = self.compiled.config, str(manifest.key)
        found: Any = None
        if manifest.kind == MODEL_TIER.kind:
            found = config.tiers.get(key)
        elif manifest.kind == ROUTING_POLICY.kind:
            found = next((it for it in config.policies if it.key == key), None)
        return {} if found is None else dict(flattened(msgspec.json.decode(msgspec.json.encode(found))))


def side(observed: Observed, now: float) -> Side:
    """Compiles and judges; `now` is in seconds since the epoch."""
    compiled = compile_config(observed, KINDS, catalogue=Catalogue.load(), revision=1, now=now)
    rollout = Rollout(revision=1, since=dict.fromkeys(compiled.config.generations, 1), routers=(_GATEWAY,))
    return Side(
        observed, compiled, {it.id: status for it, status in statuses(observed, KINDS, compiled, rollout, {}, now)}
    )


def compare(before: Side, after: Side) -> list[ObjectChange]:
    """The objects that differ, sorted by kind, namespace and name."""
    earlier = _manifests(before.observed)
    found = []
    for name, manifest in sorted(_manifests(after.observed).items()):
        old = earlier.get(name)
        lines = tuple(_lines(before.figures(old) if old else {}, after.figures(manifest)))
        good = _GOOD[manifest.kind]
        conditions = tuple(_conditions(before.statuses.get(name, {}), after.statuses.get(name, {}), good))
        own = old is None or old.spec != manifest.spec
        if own or lines or conditions:
            change = Change.ADDED if old is None else Change.CHANGED if own else Change.AFFECTED
            found.append(ObjectChange(name, change, lines, conditions))
    return found


def _manifests(observed: Observed) -> dict[str, Manifest]:
    return {it.id: it for it in observed.all()}


def _lines(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Line]:
    for path in dict.fromkeys((*before, *after)):
        if before.get(path) != after.get(path):
            yield Line(path, before.get(path), after.get(path))


def _conditions(
    before: Mapping[str, Any], after: Mapping[str, Any], judgements: Mapping[str, Judgement]
) -> Iterator[ConditionChange]:
    earlier = by_type(before)
    for name, it in by_type(after).items():
        old = earlier.get(name)
        news = (it["status"], it["reason"], it["message"])
        if name == ConditionType.PROGRAMMED or (old and news == (old["status"], old["reason"], old["message"])):
            continue
        good = judgements[name].status if name in judgements else TRUE
        worse = it["status"] != good and (old is None or old["status"] == good)
        if old is not None or worse:  # of a new object only what is wrong with it
            told = f"{old['status']}, {old['reason']}" if old else None
            yield ConditionChange(name, told, f"{it['status']}, {it['reason']}", it["message"], worse)


def flattened(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every figure with its path. Of lists whose items have names, the items by name; other lists are one figure."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name not in _UNTOLD:
                yield from flattened(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and all(isinstance(it, dict) and "name" in it for it in value):
        if path in _ORDERED:
            yield path, ", ".join(it["name"] for it in value)
        for item in value:
            yield from flattened({k: v for k, v in item.items() if k != "name"}, f"{path}[{item['name']}]")
    elif isinstance(value, list):
        if value:
            yield path, ", ".join(sorted(map(str, value)) if _is_set(path) else map(_item, value))
    else:
        yield path, str(value)


def _is_set(path: str) -> bool:
    return path.rpartition(".")[2] in _SETS


def _item(value: Any) -> str:
    """An item of a list: a reference to a tier by the tier's name, anything else as JSON."""
    if isinstance(value, dict):
        return str(value["tier"]) if "tier" in value else msgspec.json.encode(value).decode()
    return str(value)
