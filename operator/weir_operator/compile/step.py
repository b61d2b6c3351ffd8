"""How a kind takes part in a compile: its step, and the surroundings that the step sees. Pure.

A kind's row holds one `CompileStep` (`weir_operator.kinds`); `compile_config` runs the steps in the order of the rows.
A step may look at objects of the kinds before it. Example: a step for a kind that is compiled into nothing.

    CompileStep(one=lambda spec, report, around: spec)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from weir_operator.compile.callers import Labelled
from weir_operator.compile.catalogue import Catalogue
from weir_operator.compile.report import Report
from weir_operator.compile.room import MAX_SPECS
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import Manifest, Observed
from weir_operator.observe.tenancy import Consents
from weir_operator.problems.problem import Problem
from weir_operator.schemas.rules import Model
from weir_router.contract import CompiledConfig, Secrets

S = TypeVar("S", bound=Model)
T = TypeVar("T")

Lookup = Callable[..., Any]
"""Answers questions of one sort, e.g. for the compiled tier called `namespace/name`. Its arguments can be compared."""


@dataclass(frozen=True)
class Compiled:
    """The result of a compile, or of its first steps."""

    config: CompiledConfig
    secrets: Secrets
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Around:
    """Everything that the compile of one object may look at."""

    observed: Observed
    namespaces: Labelled | None  # those of `observed`, indexed by label; None: unknown
    consents: Consents
    shared_keys: Mapping[str, tuple[str, ...]]  # by namespace: Secrets whose key another namespace holds, too
    catalogue: Catalogue
    now: float  # seconds since the epoch
    look: Lookup
    """`look(sort, ...)` asks the `Lookup` of that sort: a kind's name for its compiled objects, by `ObjectName`, or one
    of a step's `facts`. An object is compiled anew when an answer that it had is different."""


def _none(*_: Any) -> None:
    return None


def _no_facts(_: Observed) -> Mapping[str, Lookup]:
    return {}


def _unchanged(compiled: Compiled, *_: Any) -> Compiled:
    return compiled


def _never(_: Any) -> bool:
    return False


@dataclass(frozen=True)
class CompileStep(Generic[S, T]):
    """The part of a kind in a compile. Only `one` is needed."""

    one: Callable[[S, Report, Around], T | None]
    """Compiles one object, whose spec is valid; its problems go to the report. None: nothing of it can be used."""
    add: Callable[[Compiled, dict[ObjectName, T], Mapping[ObjectName, Manifest], Around], Compiled] = _unchanged
    """Adds all compiled objects of the kind to the result, and problems of several together.

    An object that has no room is removed from the given objects; it then counts as not compiled. The manifests are
    those of all objects of the kind.
    """
    unusable: Callable[[Report, Around], T | None] = _none
    """The substitute for an object of which `one` makes nothing, whose problems are in the report."""
    unread: Callable[[Manifest, Around], T | None] = _none
    """The substitute for an object for whose spec there is no room. It must cost little, for there may be many."""
    max_specs: int = MAX_SPECS
    """Bytes of specs of this kind that a namespace may have; beyond them its newest objects are not read."""
    facts: Callable[[Observed], Mapping[str, Lookup]] = _no_facts
    """Further sorts of questions for `Around.look`, by name. Called once for each compile."""
    passes: Callable[[Any], bool] = _never
    """Whether time alone may change the result for this spec, e.g. while an override has an end."""


class Compilable(Protocol):
    """A kind, as far as the compiler knows it."""

    @property
    def kind(self) -> str:
        """The kind, for example `ModelTier`."""

    @property
    def spec(self) -> type[Model]:
        """The schema of its spec."""

    @property
    def compile(self) -> CompileStep[Any, Any]:
        """Its step."""
