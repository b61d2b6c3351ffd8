"""A kind is a folder and a row: a kind of this test is read, compiled, judged and described like the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from weir_operator.compile import compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.compile.step import CompileStep
from weir_operator.kinds import KINDS, Row
from weir_operator.kinds.crdgen import crd, reference_text
from weir_operator.observe.manifests import load
from weir_operator.observe.observed import NamedSecret, SecretKey, by_kind
from weir_operator.problems.finding import Finding, Verdict
from weir_operator.schemas.common import DEFAULT_CLASS, ClassName, Conditions, Generation, Money
from weir_operator.schemas.rules import Model
from weir_operator.status.conditions import FALSE, TRUE, Condition, Judgement
from weir_operator.status.events import events
from weir_operator.status.figures import figure
from weir_operator.status.rollout import Rollout
from weir_operator.status.statuses import statuses
from weir_operator.status.step import Around, Judged, StatusStep, Subject

NOW = 1_800_000_000.0
FUNDED = Condition("Funded", Judgement(TRUE, "Funded", "there is money left"))


class PurseSpec(Model):
    """Purse of a team."""

    class_name: ClassName = DEFAULT_CLASS
    """Installation that serves this object; immutable."""
    dollars: Money
    """Dollars in it."""


class PurseStatus(Model):
    """Status of a purse."""

    observed_generation: Generation | None = None
    """The generation that this status is about."""
    conditions: Conditions | None = None
    """`Accepted`, `ResolvedRefs`, `Funded`, `Programmed`, `Ready`."""


def compile_one(spec: PurseSpec, report: Any, around: Any) -> PurseSpec:
    if float(spec.dollars) == 0:
        report.add("spec", [Finding("NoMoney", "it is empty", Verdict.FAULTY, FUNDED.type, "Raise it.", ".dollars")])
    return spec


def add(compiled: Any, made: dict[Any, PurseSpec], manifests: Any, around: Any) -> Any:
    """Adds nothing to the config; it sees the kinds before it."""
    assert all(around.look("ModelTier", name) is None for name in made)
    return compiled


def judge(it: Subject, around: Around) -> Judged:
    programmed = around.programmed(it, frozenset())
    return Judged(programmed, it.fault() or it.served(), {"left": figure(float(it.manifest.spec["dollars"]) / 3)})


PURSE_KIND = Row(
    kind="Purse",
    plural="purses",
    short_name="pur",
    description="Money.",
    spec=PurseSpec,
    status=PurseStatus,
    columns=(),
    compile=CompileStep(one=compile_one, add=add),
    judge=StatusStep(judge=judge, own=(FUNDED,)),
    secret_labels=("weir.dev/purse",),
    secrets=lambda it: [NamedSecret(SecretKey(it.namespace, "purse", "key"), "PURSE")],
)
THREE = (*KINDS, PURSE_KIND)
TEXT = """
apiVersion: weir.dev/v1alpha1
kind: Purse
metadata: {name: team, namespace: team-a}
spec: {dollars: "%s"}
"""


def loaded(folder: Path, dollars: str = "100", **environ: str) -> Any:
    (folder / "purse.yaml").write_text(TEXT % dollars)
    return load(folder, THREE, environ=environ)


def judged(folder: Path, dollars: str) -> dict[str, Any]:
    observed = loaded(folder, dollars).observed
    compiled = compile_config(observed, THREE, catalogue=Catalogue.load(), now=NOW)
    rollout = Rollout(revision=1, since=dict.fromkeys(compiled.config.generations, 1), settled=False)
    ((_, status),) = statuses(observed, THREE, compiled, rollout, {}, NOW)
    return dict(status)


def test_it_is_read_from_a_directory_with_its_secrets(tmp_path: Path):
    found = loaded(tmp_path, PURSE="sk-1")
    assert [it.id for it in found.observed.all()] == ["Purse/team-a/team"]
    assert found.observed.environment == {SecretKey("team-a", "purse", "key"): "sk-1"}
    known = ", ".join(sorted(it.kind for it in KINDS))
    assert load(tmp_path, KINDS).problems[0].action == f"Weir knows {known} of weir.dev/v1alpha1."


def test_it_is_compiled_and_counts_as_compiled(tmp_path: Path):
    compiled = compile_config(loaded(tmp_path).observed, THREE, catalogue=Catalogue.load(), now=NOW)
    assert (compiled.config.generations, compiled.problems) == ({"Purse/team-a/team": 0}, ())


def test_its_spec_is_validated_as_any(tmp_path: Path):
    (problem,) = compile_config(loaded(tmp_path, "much").observed, THREE, catalogue=Catalogue.load(), now=NOW).problems
    assert problem.message == 'is not an amount in US dollars such as "0.15"'


def test_its_status_has_its_own_condition_and_field(tmp_path: Path):
    status = judged(tmp_path, "100")
    assert [it["type"] for it in status["conditions"]] == ["Accepted", "ResolvedRefs", "Funded", "Programmed", "Ready"]
    assert status["left"] == "33"


def test_its_own_condition_makes_events(tmp_path: Path):
    good, bad = judged(tmp_path, "100"), judged(tmp_path, "0")
    condition = next(it for it in bad["conditions"] if it["type"] == "Funded")
    assert (condition["status"], condition["reason"]) == (FALSE, "NoMoney")
    assert [it.reason for it in events(good, bad, PURSE_KIND.judge.good)] == ["NoMoney"]
    assert [it.reason for it in events(bad, good, PURSE_KIND.judge.good)] == ["Funded"]


def test_the_other_kinds_are_compiled_as_without_it(tmp_path: Path):
    examples = Path(__file__).parents[3] / "examples" / "full"
    observed = load(examples, KINDS).observed
    catalogue = Catalogue.load()
    without = compile_config(observed, KINDS, catalogue=catalogue, now=NOW)
    manifests = by_kind((*observed.all(), *loaded(tmp_path).observed.all()))
    both = compile_config(replace(observed, manifests=manifests), THREE, catalogue=catalogue, now=NOW)
    generations = {name: it for name, it in both.config.generations.items() if not name.startswith("Purse/")}
    assert msgspec.structs.replace(both.config, generations=generations) == without.config


def test_it_has_a_crd_and_a_reference_page():
    assert crd(PURSE_KIND)["metadata"]["name"] == "purses.weir.dev"
    assert "`spec.dollars`" in reference_text(PURSE_KIND)
