"""The benchmark of the control plane: its cluster has the stated size, and a missed goal shows."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from bench.control_plane import world
from bench.control_plane.figures import Figures, rows

from weir_operator.compile import compile_config
from weir_operator.kinds import KINDS
from weir_operator.kube.objects import key
from weir_operator.observe.convert import manifest, secret
from weir_operator.observe.observed import Observed, by_kind

ROOT = Path(__file__).parents[3]
GOOD = Figures(
    policies=1000, tiers=200, namespaces=107, connections=100, seconds=[0.2] * 99 + [0.5],
    first_compile_ms=200, next_compile_ms=20, operator_compile_ms=20, operator_publish_ms=40, bytes_per_change=2000,
    first_bytes=1_400_000, largest_object=10_000, largest_name="weir-index", operator_cpu_ms=200, clients_cpu_ms=2,
    operator_mib=300, idle_cpu_percent=1, idle_requests=1, idle_reviews=20, idle_by_kind={}, load=1, cores=2,
)  # fmt: skip


def stored(place: world.Place, number: int):
    """The objects of a place, as an API server returns them."""
    for body in world.objects(place):
        body["metadata"] |= {"generation": 1, "uid": f"{place.namespace}-{number}", "resourceVersion": "1"}
        yield body


@pytest.mark.parametrize(("policies", "tiers"), [(1000, 200), (20, 10)])
def test_there_are_as_many_objects_as_were_asked_for(policies: int, tiers: int):
    found = Counter(body["kind"] for place in world.places(policies, tiers) for body in world.objects(place))
    assert (found["RoutingPolicy"], found["ModelTier"]) == (policies, tiers)


def test_half_of_them_are_in_half_a_dozen_namespaces():
    places = world.places(1000, 200)
    assert [it.policies for it in places if it.namespace.startswith("big-")] == [84, 84, 83, 83, 83, 83]
    assert max(it.policies for it in places if it.namespace.startswith("small-")) == 5


def test_nothing_is_wrong_with_them(catalogue):
    bodies = [body for number, place in enumerate(world.places(60, 20)) for body in stored(place, number)]
    manifests = [manifest(it["kind"], it) for it in bodies if it["kind"] in ("ModelTier", "RoutingPolicy")]
    observed = Observed(
        manifests=by_kind(manifests),
        secrets={key(it): secret(it) for it in bodies if it["kind"] == "Secret"},
        namespaces={},
    )
    compiled = compile_config(observed, KINDS, catalogue=catalogue, now=0.0)
    assert compiled.problems == ()
    assert len(compiled.config.policies) == 60


def test_changes_are_of_both_kinds_and_each_is_another_spec():
    found = list(itertools.islice(world.changes(world.places(60, 20)), 50))
    assert Counter(it["kind"] for it in found) == {"RoutingPolicy": 40, "ModelTier": 10}
    assert len({json.dumps(it) for it in found}) == 50


def test_what_keeps_its_goals_says_so():
    assert all(it.kept for it in rows(GOOD))


@pytest.mark.parametrize(
    ("field", "value"),
    [("seconds", [0.2] * 90 + [1.5] * 10), ("first_compile_ms", 301), ("largest_object", 2**20), ("idle_requests", 11)],
)
def test_a_missed_goal_shows(field: str, value: object):
    figures = Figures(**{it: getattr(GOOD, it) for it in Figures.__struct_fields__} | {field: value})
    assert len([it for it in rows(figures) if not it.kept]) == 1


def test_its_options_are_explained():
    command = [sys.executable, "-m", "bench.control_plane", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert "--connections" in done.stdout
