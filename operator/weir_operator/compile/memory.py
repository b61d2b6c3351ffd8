"""The result of each object in the last compile, for the next one. Pure; used by `compile_config` only.

An operator compiles a thousand objects again because one has changed. An object is compiled anew if anything that its
compile can look at is different: the object itself; the answers that it had from `Around.look`, such as tiers and
Services; and everything else that was observed, such as Secrets and the labels of namespaces, which is compared as a
whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from weir_operator.compile.callers import Labelled
from weir_operator.compile.catalogue import Catalogue
from weir_operator.compile.keys import Keys, caller_keys
from weir_operator.compile.report import Specs
from weir_operator.compile.step import Lookup
from weir_operator.observe.observed import Manifest, Observed
from weir_operator.observe.tenancy import Consents, Tenancy
from weir_operator.problems.problem import Problem

T = TypeVar("T")

Result = tuple[T | None, list[Problem]]
Sorts = Mapping[str, Lookup]
"""Lookups by the sort of question that they answer."""


class Asked:
    """`Around.look` of one object, which notes every question and its answer."""

    def __init__(self, sorts: Sorts) -> None:
        self._sorts = sorts
        self.answers: list[tuple[str, tuple[Any, ...], Any]] = []

    def __call__(self, sort: str, *question: Any) -> Any:
        """The answer."""
        answer = self._sorts[sort](*question)
        self.answers.append((sort, question, answer))
        return answer


@dataclass(frozen=True)
class _Made:
    manifest: Manifest
    result: Result[Any]
    answers: Sequence[tuple[str, tuple[Any, ...], Any]]


class Memory:
    """It changes no result, only how long a compile takes. For one compile at a time."""

    def __init__(self) -> None:
        self.specs = Specs()
        """Specs that were read, which need not be read again when something around them has changed."""
        self.namespaces: Labelled | None = None
        """The namespaces of the compile that has begun; None: unknown."""
        self.consents = Consents(Tenancy(), {})
        """The consents of the compile that has begun."""
        self.keys = Keys({}, (), {})
        """The callers' keys of the compile that has begun."""
        self._around: tuple[Observed, Catalogue] | None = None
        self._before: dict[str, _Made] = {}
        self._now: dict[str, _Made] = {}

    def begin(self, observed: Observed, catalogue: Catalogue) -> None:
        """A compile begins: objects that the last one did not have are forgotten."""
        around = replace(observed, manifests={}, services=None, slices=None), catalogue
        same = around == self._around
        self._before, self._now = (self._now if same else {}), {}
        if not same:
            self.namespaces = None if observed.namespaces is None else Labelled(observed.namespaces)
            self.consents = Consents(observed.tenancy, observed.accepts)
            self.keys = caller_keys(observed)
        self._around = around
        self.specs.begin()

    def recall(self, manifest: Manifest, sorts: Sorts, work: Callable[[Lookup], Result[T]], *, keep: bool) -> Result[T]:
        """The result of `work` for the object, or of an earlier compile. `work` is given its `Around.look`.

        The result is kept for the next compile, if `keep` says so.
        """
        made = self._before.get(manifest.id)
        if made is None or made.manifest != manifest or not _same(made, sorts):
            asked = Asked(sorts)
            made = _Made(manifest, work(asked), asked.answers)
        if keep:
            self._now[manifest.id] = made
        return cast("Result[T]", made.result)


def _same(made: _Made, sorts: Sorts) -> bool:
    answers = ((sorts[sort](*question), before) for sort, question, before in made.answers)
    return all(now is before or now == before for now, before in answers)
