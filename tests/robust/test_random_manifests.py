"""Thousands of broken manifests: each causes a clear problem, and good ones beside them still compile."""

from __future__ import annotations

import random
import resource
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from robust.fuzz import BATCHES, EXPLORE
from robust.mutations import broken, broken_text
from weir_cli.shared.workspace import Workspace, open_workspace
from weir_operator.problems.problem import Problem, Reason

PER_BATCH = 100

GOOD = """
apiVersion: weir.dev/v1alpha1
kind: ModelTier
metadata: {name: good, namespace: good}
spec:
  backends: [{name: one, provider: OpenAI, model: m, price: {input: "1", output: "2"}}]
---
apiVersion: weir.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: good, namespace: good}
spec:
  models: [{name: good-model}]
  routes: [{name: all, tiers: [{name: good}]}]
"""

EXAMPLES = sorted(Path(__file__).parents[2].glob("examples/*/*.yaml"))
VALID: list[dict[str, Any]] = [
    document for path in EXAMPLES for document in yaml.safe_load_all(path.read_text()) if document
]


def _named(manifest: dict[str, Any], number: int) -> dict[str, Any]:
    """The manifest with a name of its own, so that each can be found again."""
    return {**manifest, "metadata": {**manifest["metadata"], "name": f"broken-{number}", "namespace": "broken"}}


def _write(folder: Path, number: int, rng: random.Random) -> None:
    manifest = _named(rng.choice(VALID), number)
    if rng.random() < 0.6:
        data = yaml.safe_dump(broken(manifest, rng), allow_unicode=True, sort_keys=False).encode(
            "utf-8", "surrogatepass"
        )
    else:
        data = broken_text(yaml.safe_dump(manifest, sort_keys=False), rng)
    (folder / f"broken-{number}.yaml").write_bytes(data)


def _check_problem(problem: Problem) -> None:
    assert problem.reason is not Reason.COMPILER_BUG, problem
    assert problem.object, problem
    assert problem.message, problem
    assert problem.action, problem
    assert "Traceback" not in problem.message, problem


def _check_good(workspace: Workspace) -> None:
    policy = next(policy for policy in workspace.config.policies if policy.key == "good/good")
    assert policy.not_ready is None
    assert [ref.tier for route in policy.routes for ref in route.tiers] == ["good/good"]
    assert len(workspace.config.tiers["good/good"].backends) == 1


def _check_accounted_for(workspace: Workspace, folder: Path) -> None:
    """Fails unless every file became an object of the config, or a problem or notice names it."""
    said = " ".join([*(str(problem) for problem in workspace.problems), *workspace.notices])
    served = {*workspace.config.tiers, *(policy.key for policy in workspace.config.policies)}
    for file in folder.glob("broken-*.yaml"):
        silent = file.name not in said and not any(file.stem in key for key in served)
        if silent and not _empty_or_elsewhere(file):
            pytest.fail(f"nothing is said about {file.name}:\n{file.read_bytes().decode(errors='replace')}")


def _empty_or_elsewhere(file: Path) -> bool:
    """Whether a file holds only comments, a valid Secret or Namespace, or an object of another class or name."""
    try:
        documents = [it for it in yaml.load_all(file.read_bytes(), yaml.BaseLoader) if it]
    except (yaml.YAMLError, ValueError):
        return False
    return all(
        it.get("kind") in ("Secret", "Namespace")
        or (isinstance(it.get("spec"), dict) and it["spec"].get("className", "weir") != "weir")
        or it["metadata"]["name"] != file.stem
        or it["metadata"].get("namespace") != "broken"
        for it in documents
        if isinstance(it, dict)
    )


# Without shrinking: a smaller seed is no simpler manifest.
@settings(max_examples=BATCHES, deadline=None, database=None, derandomize=not EXPLORE, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_random_broken_manifests_are_problems_and_the_good_ones_serve(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    rng = random.Random(seed)
    folder = tmp_path_factory.mktemp("manifests")
    (folder / "good.yaml").write_text(GOOD)
    for number in range(PER_BATCH):
        _write(folder, number, rng)

    workspace = open_workspace(folder, environ={})

    for problem in workspace.problems:
        _check_problem(problem)
    _check_good(workspace)
    _check_accounted_for(workspace, folder)


SECONDS_FOR_A_BOMB = 20
MEMORY_FOR_A_BOMB = 500_000  # KiB, as Linux counts it

BOMBS = {
    "billion laughs": "a0: &a0 [lol, lol]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]\n" for n in range(1, 40)),
    "merge bomb": "a0: &a0 {k0: v}\n" + "".join(f"a{n}: &a{n} {{<<: [{f'*a{n - 1}, ' * 9}]}}\n" for n in range(1, 40)),
    "itself": "spec: &a [*a]\n",
    "deep flow": "spec: " + "[" * 100_000,
    "deep block": "".join(f"{' ' * n}a:\n" for n in range(2_000)),
    "deep dashes": "- " * 50_000,
    "a megabyte of one string": "spec: " + "x" * 1_000_000,
    "a million digits": "spec: " + "9" * 1_000_000,
    "a hundred thousand keys": "spec:\n" + "".join(f"  k{n}: 1\n" for n in range(20_000)),
    "a long exponent": "spec: 1e" + "9" * 5_000,
    "base 60": "spec: " + ":".join(["59"] * 20_000),
    "many documents": "---\n" * 100_000,
    "null bytes": "\x00" * 100_000,
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_a_bomb_costs_neither_memory_nor_time_nor_the_good_manifests(tmp_path: Path, text: str) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    envelope = "apiVersion: weir.dev/v1alpha1\nkind: ModelTier\nmetadata: {name: bomb}\n"
    (tmp_path / "bomb.yaml").write_text((envelope if text[0].isalpha() else "") + text)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    workspace = open_workspace(tmp_path, environ={})
    for problem in workspace.problems:
        _check_problem(problem)
    _check_good(workspace)
    assert time.process_time() - started < SECONDS_FOR_A_BOMB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY_FOR_A_BOMB
