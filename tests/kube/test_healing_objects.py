"""Objects that the operator writes, broken by hand: each is right again within ten seconds.

An operator as a process, with exactly the rights of the chart. `docs/internals/three-am.md` has the seconds that these
tests print.
"""

from __future__ import annotations

import base64
import functools
import json
import time
from typing import Any

import pytest
from apiserver import ApiServer

from support.hand import HEALED, Hand, installed, operated
from support.installation import Installation

NAMESPACE = "weir-healing-objects"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def installation(cluster: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return installed(cluster, NAMESPACE, tmp_path_factory.mktemp("weir"))


def spoilt(hand: Hand, resource: str) -> dict[str, Any]:
    """Patches that break a ConfigMap or Secret, by name."""
    there = hand.object(resource) or {}
    part = "data" if there.get("data") else "binaryData"
    text = "spoilt" if there["kind"] == "ConfigMap" and part == "data" else base64.b64encode(b"spoilt").decode()
    nothing = {"data": None, "binaryData": None}
    return {
        "emptied": nothing,
        "garbage": {part: dict.fromkeys(there[part], text)},
        "without labels": {"metadata": {"labels": None}},
        "immutable and emptied": {**nothing, "immutable": True},
    }


PUBLISHED = {
    "index": f"configmap/{NAMESPACE}-index",
    "shard": "configmap/SHARD",
    "credentials": "secret/CREDENTIALS",
    "callers' keys": f"secret/{NAMESPACE}-caller-keys",
    "keys of state": f"secret/{NAMESPACE}-state-keys",
    "authority": f"configmap/{NAMESPACE}-ca",
    "certificate": f"secret/{NAMESPACE}-operator-tls",
}


def place(hand: Hand, resource: str) -> str:
    """`resource` with the real name of the first shard, or of the first Secret of credentials."""
    if not resource.endswith(("SHARD", "CREDENTIALS")):
        return resource
    kind, _, name = resource.partition("/")
    found = hand.kubectl("get", kind, "-l", f"weir.dev/installation={NAMESPACE}", "-o", "name").split()
    return next(it for it in found if f"{NAMESPACE}-{name.lower()}" in it)


def same(hand: Hand, resource: str, before: Any) -> bool:
    """Whether files and labels are what they were; the index may have a later revision."""
    now = hand.files(resource)
    if now is None or now[1:] != before[1:]:
        return False
    if resource != PUBLISHED["index"]:
        return bool(now[0] == before[0])
    try:
        old, new = (json.loads(it[0]["index.json"]) for it in (before, now))
    except (KeyError, ValueError):
        return False
    return bool({**old, "revision": 0} == {**new, "revision": 0} and new["revision"] >= old["revision"])


@pytest.mark.parametrize("how", ["deleted", "emptied", "garbage", "without labels", "immutable and emptied"])
def test_an_object_of_the_operator_is_written_back(installation: Installation, how: str):
    with operated(installation) as operator:
        hand = Hand(installation, operator)
        for what, named in PUBLISHED.items():
            resource = place(hand, named)
            before = hand.files(resource)
            if how == "deleted":
                hand.breaks("delete", resource)
            else:
                hand.patches(resource, spoilt(hand, resource)[how])
            hand.sees(f"{what} {how}, written back", functools.partial(same, hand, resource, before))
            hand.is_well()


def accepted(hand: Hand, resource: str) -> bool:
    """Whether the object's status says that it is accepted, and more."""
    found = (hand.object(resource) or {}).get("status", {}).get("conditions", ())
    return len(found) > 1 and {"Accepted": "True"}.items() <= {it["type"]: it["status"] for it in found}.items()


def test_a_status_that_another_client_changes_is_written_back(installation: Installation):
    with operated(installation) as operator:
        hand = Hand(installation, operator)
        edited = {
            "type": "Accepted",
            "status": "False",
            "reason": "Edited",
            "message": "by hand",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for resource in ("routingpolicy/kept", "modeltier/small"):
            for how, new in (("deleted", None), ("edited", {"conditions": [edited]})):
                patch = json.dumps({"status": new})
                hand.breaks("patch", resource, "--subresource=status", "--type=merge", "-p", patch)
                judged = functools.partial(accepted, hand, resource)
                hand.sees(f"status of {resource} {how}, written back", judged)
        assert "it is written again" not in operator.command.said  # the published config was never touched


def test_a_lease_that_is_deleted_is_made_anew(installation: Installation):
    with operated(installation) as operator:
        hand = Hand(installation, operator)
        lease = f"lease/{NAMESPACE}-operator"
        hand.breaks("delete", lease)
        hand.sees("Lease deleted, made anew", lambda: hand.object(lease) is not None)
        hand.sees("leads again", lambda: operator.state()["leads"])


def test_a_lease_in_the_name_of_a_holder_that_is_not_there_is_named_and_taken_over(installation: Installation):
    with operated(installation) as operator:
        hand = Hand(installation, operator)
        spec = {"holderIdentity": "stranger", "leaseDurationSeconds": 100_000}
        hand.patches(f"lease/{NAMESPACE}-operator", {"spec": spec})
        hand.named("the Lease is held by stranger, which does not renew it")
        hand.sees("leads again", lambda: operator.state()["leads"], 2 * HEALED)
        hand.is_well()


@pytest.mark.parametrize("kind", ["Role", "ClusterRole"])
def test_rights_that_are_taken_away_are_named_and_used_once_they_are_back(installation: Installation, kind: str):
    with operated(installation) as operator:
        hand = Hand(installation, operator)
        (name,) = installation.rights(kind)
        role = f"{kind.lower()}/{name}"
        rules = (hand.object(role) or {})["rules"]
        hand.patches(role, {"rules": None})
        if kind == "Role":
            hand.named("add to the operator's Role")
        hand.patches(role, {"rules": rules})
        hand.sees(f"{kind} put back, leads", lambda: operator.state()["leads"], 2 * HEALED)
        hand.is_well()


def versions_of(hand: Hand) -> list[str]:
    return [(hand.object(place(hand, it)) or {})["metadata"]["resourceVersion"] for it in PUBLISHED.values()]


def test_two_replicas_write_an_object_back_once_and_do_not_contest_each_other(installation: Installation):
    options = ("--class", NAMESPACE)
    with operated(installation) as first, installation.operator(*options, port=0) as second:
        second.until(ready=True, leads=False)
        hand = Hand(installation, first)
        for what in ("certificate", "authority"):
            before = hand.files(PUBLISHED[what])
            hand.breaks("delete", PUBLISHED[what])
            hand.sees(f"{what} deleted, written back", functools.partial(same, hand, PUBLISHED[what], before))
        versions = versions_of(hand)
        time.sleep(3)  # longer than a replica takes to write anything back
        assert versions_of(hand) == versions
        for operator in (first, second):
            assert operator.metric('weir_operator_contested{object="certificate"}') == 0
