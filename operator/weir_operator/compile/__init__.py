"""The compiler: observed objects in, the routers' config out, with every problem. PURE.

Called by the operator, `weir up`, `weir validate`, `weir explain` and `weir diff`. It reads no file, no clock, no
environment. It knows no kind: the rows of `weir_operator.kinds` bring their steps (`compile.step`). The order:

1. for each kind, in the order of the rows: each object of our class by itself;
2. all objects of that kind together: which have no room (`compile.room`), which conflict, and what the config gets;
3. callers' keys.

An object that cannot be read, or that a bug of ours trips over, is one problem; the others go on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from weir_operator.compile.catalogue import Catalogue
from weir_operator.compile.classes import ours
from weir_operator.compile.hosts import hosts_of
from weir_operator.compile.memory import Memory, Result, Sorts
from weir_operator.compile.report import Report
from weir_operator.compile.room import MAX_SPEC, crowded, too_large, unread
from weir_operator.compile.step import Around, Compilable, Compiled, Lookup
from weir_operator.kube.crowding import Part
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import Manifest, Observed
from weir_operator.problems.problem import ConditionType, Problem, Reason, Severity
from weir_operator.schemas.rules import Model
from weir_router.contract import CompiledConfig, Secrets, TokenTrust

__all__ = ["Compiled", "Memory", "compile_config", "ours"]

T = TypeVar("T")


def compile_config(
    observed: Observed,
    kinds: Sequence[Compilable],
    *,
    catalogue: Catalogue,
    revision: int = 0,
    now: float,
    tokens: TokenTrust | None = None,
    memory: Memory | None = None,
) -> Compiled:
    """Compiles everything of `observed.class_name`; `now` is in seconds since the epoch. Never raises.

    `tokens` says which ServiceAccount tokens routers accept; None, as on a laptop: none. `memory` makes a compile
    faster, if each compile is given that of the one before.
    """
    memory = memory or Memory()
    observed = replace(observed, hosts=hosts_of(observed))
    memory.begin(observed, catalogue)
    config = CompiledConfig(
        revision=revision,
        class_name=observed.class_name,
        catalogue_date=catalogue.date,
        tokens=tokens,
        hosts=observed.hosts,
    )
    compiled = Compiled(config, Secrets(), ())
    sorts: dict[str, Lookup] = {}
    around = Around(
        observed,
        memory.namespaces,
        memory.consents,
        memory.keys.shared,
        catalogue,
        now,
        lambda sort, *question: sorts[sort](*question),
    )
    generations: dict[str, int] = {}
    for kind in kinds:
        sorts |= kind.compile.facts(observed)
        manifests = {it.key: it for it in ours(observed.of(kind.kind), observed.class_name)}
        made, problems = _each(kind, manifests, memory, around, sorts)
        compiled = replace(compiled, problems=(*compiled.problems, *problems))
        compiled = kind.compile.add(compiled, made, manifests, around)
        sorts[kind.kind] = made.get
        generations |= {manifests[key].id: manifests[key].generation for key in made}
    return Compiled(
        msgspec.structs.replace(compiled.config, generations=dict(sorted(generations.items()))),
        msgspec.structs.replace(compiled.secrets, caller_keys=dict(memory.keys.keys)),
        (*compiled.problems, *memory.keys.problems),
    )


def _each(
    kind: Compilable, manifests: Mapping[ObjectName, Manifest], memory: Memory, around: Around, sorts: Sorts
) -> tuple[dict[ObjectName, Any], list[Problem]]:
    """Compiles each object of one kind by itself."""
    made: dict[ObjectName, Any] = {}
    problems: list[Problem] = []
    out = unread(
        (Part(key, it.created, memory.specs.size(it)) for key, it in manifests.items()), kind.compile.max_specs
    )
    for key, manifest in manifests.items():
        if key in out:
            problems.append(crowded(manifest, out[key], "objects"))
            result = kind.compile.unread(manifest, around)
        else:
            work = functools.partial(_one, kind, manifest, memory, around)
            result, found = memory.recall(manifest, sorts, work, keep=not kind.compile.passes(manifest.spec))
            problems += found
        if result is not None:
            made[key] = result
    return made, problems


def _one(kind: Compilable, manifest: Manifest, memory: Memory, around: Around, look: Lookup) -> Result[Any]:
    seen, report = replace(around, look=look), Report(manifest)

    def work() -> Any:
        spec = _read(kind, report, memory)
        return None if spec is None else kind.compile.one(spec, report, seen)

    made = _guarded(work, report)
    if made is None:
        made = _guarded(lambda: kind.compile.unusable(report, seen), report)
    return made, report.problems


def _read(kind: Compilable, report: Report, memory: Memory) -> Model | None:
    """The spec. One that is so large that nothing usable can come of it is not even read."""
    found = memory.specs.size(report.manifest)
    if found <= MAX_SPEC:
        return memory.specs.read(report, kind.spec)
    too_large(report, found, MAX_SPEC, "Make several objects of it.")
    return None


def _guarded(work: Callable[[], T | None], report: Report) -> T | None:
    try:
        return work()
    except Exception as error:  # any error is about this object, and the others must go on
        # Only the type: the message may quote the object.
        message = f"the compiler failed with {type(error).__name__}; this is a bug of Weir"
        action = "Report it with this object, without its secrets."
        report.note("", ConditionType.ACCEPTED, Reason.COMPILER_BUG, message, action, Severity.ERROR)
        return None
