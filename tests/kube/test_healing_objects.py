"""Objects that the operator writes, broken by hand: each is right again within ten seconds.

An operator as a process, with exactly the rights of the chart. `docs/internals/three-am.md` has the seconds that these
tests print.
"""

from __future__ import annotations

import base64
import functools
import json
from typing import Any

import pytest
from apiserver import ApiServer

from support.hand import Hand, installed, operated
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
