"""What the last compile made of each object, for the next one. Pure; used by `compile_config` only.

An operator compiles a thousand objects again because one has changed. An object is compiled anew if anything is
different of what its compile can look at: the object itself; for a policy each tier that it asked for; for a tier each
Service; and everything else that was observed, such as Secrets and the labels of namespaces, which is compared as a
whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from weir_operator.compile.callers import Labelled
from weir_operator.compile.catalogue import Catalogue
from weir_operator.compile.report import Specs
from weir_operator.compile.service_checks import ServiceFacts
from weir_operator.compile.services import Lookup
from weir_operator.compile.tiers import CompiledTier
from weir_operator.observe.observed import Manifest, Observed
from weir_operator.problems.problem import Problem
from weir_operator.schemas.modeltier import BackendReference

T = TypeVar("T")

Tiers = Mapping[str, CompiledTier]
Result = tuple[T | None, list[Problem]]


class Asked(Tiers):
    """The compiled tiers, which notes what it was asked for."""

    def __init__(self, tiers: Tiers) -> None:
        self._tiers = tiers
        self.answers: dict[str, CompiledTier | None] = {}

    def __getitem__(self, key: str) -> CompiledTier:
        """Also of `get`, which asks here."""
        self.answers[key] = self._tiers.get(key)
        return self._tiers[key]

    def __iter__(self) -> Iterator[str]:
        """Whoever looks at all of them depends on all of them."""
        self.answers |= self._tiers
        return iter(self._tiers)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._tiers)


class AskedServices:
    """Where facts of Services are had, which notes what it was asked for and has answered."""

    def __init__(self, facts: Lookup) -> None:
        self._facts = facts
        self.answers: list[tuple[BackendReference, str, ServiceFacts]] = []

    def __call__(self, reference: BackendReference, namespace: str) -> ServiceFacts:
        """As `Services.facts`."""
        facts = self._facts(reference, namespace)
        self.answers.append((reference, namespace, facts))
        return facts


@dataclass(frozen=True)
class _Made:
    manifest: Manifest
    result: Result[Any]
    asked: Mapping[str, CompiledTier | None]
    services: Sequence[tuple[BackendReference, str, ServiceFacts]]


class Memory:
    """It changes no result, only how long it takes. For one compile at a time."""

    def __init__(self) -> None:
        self.specs = Specs()
        """Where something around has changed, specs at least need not be read again."""
        self.namespaces: Labelled | None = None
        """Those of the compile that has begun; None: unknown."""
        self._around: tuple[Observed, Catalogue] | None = None
        self._before: dict[str, _Made] = {}
        self._now: dict[str, _Made] = {}

    def begin(self, observed: Observed, catalogue: Catalogue) -> None:
        """A compile begins: what the last one did not ask for is forgotten."""
        around = replace(observed, tiers=(), policies=(), services=None, slices=None), catalogue
        same = around == self._around
        self._before, self._now = (self._now if same else {}), {}
        if not same:
            self.namespaces = None if observed.namespaces is None else Labelled(observed.namespaces)
        self._around = around
        self.specs.begin()

    def recall(
        self, manifest: Manifest, tiers: Tiers, facts: Lookup, work: Callable[[Tiers, Lookup], Result[T]]
    ) -> Result[T]:
        """What `work`, which is given the tiers to look at and where facts of Services are had, makes of the object."""
        made = self._before.get(manifest.id)
        if made is None or made.manifest != manifest or not _same(made, tiers, facts):
            asked, services = Asked(tiers), AskedServices(facts)
            made = _Made(manifest, work(asked, services), asked.answers, services.answers)
        if not _may_change_by_itself(manifest):
            self._now[manifest.id] = made
        return cast("Result[T]", made.result)


def _same(made: _Made, tiers: Tiers, facts: Lookup) -> bool:
    return all(tiers.get(key) is tier for key, tier in made.asked.items()) and all(
        facts(reference, namespace) == known for reference, namespace, known in made.services
    )


def _may_change_by_itself(manifest: Manifest) -> bool:
    """Overrides end, whether anything is changed or not."""
    return isinstance(manifest.spec, dict) and manifest.spec.get("override") is not None
