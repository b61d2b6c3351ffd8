"""Argo CD, and tools that wait by kstatus, such as Flux, read our statuses rightly at every moment."""

from __future__ import annotations

from typing import Any

import pytest

from support.health import argo, kstatus
from support.statuses import KEYED, TIER, case, changed, gateway
from weir_operator.kinds import KINDS
from weir_operator.kinds.crdgen import crd

SCHEMAS = [crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"] for kind in KINDS]

NO_SECRET = changed(KEYED, "name: two,", "name: two, credentials: {secretRef: {name: k, key: k}},")
CASES = {
    "good": (case(), "Current", "Healthy"),
    "partly ready": (case(KEYED), "Current", "Healthy"),
    "a router does not run it yet": (
        case(routers=(gateway(current=False, revision=0),)), "InProgress", "Progressing",
    ),
    "a new leader knows no router yet": (case(routers=(), settled=False), "InProgress", "Progressing"),
    "no router": (case(routers=()), "InProgress", "Degraded"),
    "a Secret is missing, and may still come": (case(NO_SECRET), "InProgress", "Degraded"),
    "only another spec would help": (case(changed(TIER, "provider: OpenAI", "provider: Nobody")), "Failed", "Degraded"),
}  # fmt: skip


def tier(status: Any = None, generation: int = 1, **metadata: Any) -> dict[str, Any]:
    found = {"metadata": {"name": "budget", "generation": generation, **metadata}}
    return found if status is None else {**found, "status": status}


@pytest.mark.parametrize("name", CASES)
def test_both_see_what_it_is(name: str):
    at, waits, shows = CASES[name]
    assert (kstatus(tier(at.of())), argo(tier(at.of()))[0]) == (waits, shows)


def test_argo_cd_says_what_kubectl_says():
    assert argo(tier(case(NO_SECRET).of()))[1] == case(NO_SECRET).condition("Ready")[2]


def test_what_was_said_of_an_older_generation_is_no_longer_believed():
    it = tier(case().of(), generation=2)
    assert (kstatus(it), argo(it)[0]) == ("InProgress", "Progressing")


@pytest.mark.parametrize("properties", SCHEMAS, ids=[kind.kind for kind in KINDS])
def test_what_nobody_has_looked_at_yet_is_under_way(properties: dict[str, Any]):
    """The CRD's default is the status of an object that the operator has not seen yet."""
    it = tier(properties["status"]["default"])
    assert (kstatus(it), argo(it)[0]) == ("InProgress", "Progressing")
    assert argo(tier())[0] == "Progressing"  # of an older CRD


def test_what_is_being_deleted_is_terminating():
    assert kstatus(tier(case().of(), deletionTimestamp="2026-11-25T00:00:00Z")) == "Terminating"


@pytest.mark.parametrize("name", CASES)
def test_every_condition_is_of_the_generation_that_was_observed(name: str):
    status = CASES[name][0].of()
    assert {it["observedGeneration"] for it in status["conditions"]} == {status["observedGeneration"]}


def test_a_condition_that_says_stalled_is_there_only_where_it_is_true():
    assert [
        name for name, (at, *_) in CASES.items() if any(it["type"] == "Stalled" for it in at.of()["conditions"])
    ] == ["only another spec would help"]
