"""Each mistake with its message and remedy; missing rights to look are no mistake."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from weir_cli.doctor.checks import CHECKS, CRDS, Credential, Seen, Unready, Unseen, Verdict, Workload, examine

WELL = Seen(
    installation="weir",
    namespace="weir-system",
    version=(1, 36),
    skew=0.4,
    crds=frozenset(CRDS),
    workloads={"weir-operator": Workload(2, 2), "weir-gateway": Workload(2, 2)},
    rights={"create tokenreviews": True},
    bundle="PEM",
    webhook=frozenset({"PEM"}),
    published=7,
    routers={"gw-0": (7, None), "gw-1": (8, None)},
    credentials=(Credential("llm/t", "llm/openai", exists=True, consents=True),),
)


def found(**changes: Any) -> list[tuple[str, Verdict, str, str]]:
    """Findings that are not good."""
    findings = examine(replace(WELL, **changes))
    return [(it.check, it.verdict, it.message, it.action) for it in findings if it.verdict is not Verdict.GOOD]


def test_all_is_well():
    assert found() == []
    assert [it.check for it in examine(WELL)] == [
        "Kubernetes", "clock", "CRDs", "pods", "Services", "rights", "certificate", "config", "credentials",
        "objects", "callers", "network", "TLS",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "check", "message", "action"),
    [
        ({"version": (1, 28)}, "Kubernetes", "1.28 is too old", "1.30 or newer"),
        ({"skew": 45.0}, "clock", "45 s ahead of the API server", "time synchronisation"),
        ({"skew": -45.0}, "clock", "45 s behind the API server", "time synchronisation"),
        ({"crds": frozenset(CRDS[:1])}, "CRDs", "not established: routingpolicies.weir.dev", "kubectl apply -f crds/"),
        (
            {"workloads": {}},
            "pods",
            "no Deployment weir-operator, weir-gateway in namespace weir-system",
            "--namespace",
        ),
        (
            {"workloads": {"weir-operator": Workload(0, 2), "weir-gateway": Workload(2, 2)}},
            "pods",
            "not ready: weir-operator 0/2",
            "kubectl describe pods --namespace weir-system",
        ),
        ({"lacking": ("modeltiers.spec.breaker",)}, "CRDs", "they lack modeltiers.spec.breaker", "crds.install"),
        ({"services": {"weir": 2, "weir-operator": None}}, "Services", "not there: weir-operator", "chart"),
        ({"services": {"weir": 0, "cluster DNS": 2}}, "Services", "without a ready endpoint: weir", "endpointslices"),
        ({"expires": 7200.0}, "certificate", "the authority in ConfigMap weir-ca ends in 2 h", "log"),
        ({"expires": -1.0}, "certificate", "has ended", "log"),
        (
            {"unready": (Unready("ModelTier llm/t", "SecretKeyNotFound", "no key 'k'"),)},
            "objects",
            "not ready: ModelTier llm/t (SecretKeyNotFound: no key 'k')",
            "kubectl describe",
        ),
        ({"unjudged": ("ModelTier llm/t",)}, "objects", "no operator has looked at ModelTier llm/t", "className"),
        (
            {"unused": tuple(f"a/{number}" for number in range(7))},
            "callers",
            "no caller can use RoutingPolicy a/0, a/1, a/2, a/3, a/4, and 2 more",
            "spec.callers",
        ),
        (
            {"left_open": ("metrics and state (9090) of the gateway",)},
            "network",
            "every pod can reach metrics and state (9090) of the gateway",
            "networkPolicy.monitoring",
        ),
        ({"tls": False}, "TLS", "without TLS", "gateway.tls.secretName"),
        ({"rights": {"a b": True, "c d": False}}, "rights", "the operator may not: c d", "rbac.create"),
        ({"bundle": None}, "certificate", "there is no ConfigMap weir-ca", "the operator makes it"),
        ({"webhook": frozenset({"PEM", ""})}, "certificate", "no pod gets one", "no other tool writes caBundle"),
        ({"published": None}, "config", "nothing is published", "/readyz"),
        ({"routers": {"gw-0": (6, None), "gw-1": (7, None)}}, "config", "older than revision 7: gw-0", "they poll"),
        ({"routers": {"gw-0": (None, None)}}, "config", "older than revision 7: gw-0", "certificate and token"),
        ({"routers": {"gw-0": (6, "version 2")}}, "config", "refused by gw-0: version 2", "upgrade routers"),
        (
            {"credentials": (Credential("llm/t", "llm/openai", exists=False, consents=False),)},
            "credentials",
            "no Secret llm/openai (of llm/t)",
            "create it in the tier's namespace",
        ),
        (
            {"credentials": (Credential("llm/t", "llm/openai", exists=True, consents=False),)},
            "credentials",
            "without the label weir.dev/credential: llm/openai",
            "kubectl label secret --namespace llm openai weir.dev/credential=true",
        ),
    ],
)
def test_a_mistake_is_found_and_said_with_what_to_do(changes: dict[str, Any], check: str, message: str, action: str):
    ((name, verdict, said, todo),) = found(**changes)
    assert (name, verdict) == (check, Verdict.WARNING if check in ("network", "TLS") else Verdict.BAD)
    assert message in said
    assert action in todo


@pytest.mark.parametrize("part", [it.name for it in fields(Seen) if it.name not in ("installation", "namespace")])
def test_what_we_may_not_look_at_is_no_mistake(part: str):
    ((_, verdict, said, todo),) = found(**{part: Unseen("403 Forbidden")})
    assert (verdict, said, todo) == (Verdict.UNKNOWN, "403 Forbidden", "")


def test_without_sidecars_there_is_no_webhook_to_trust_us():
    assert found(webhook=None) == []


def test_every_check_says_what_it_asks():
    assert all((it.__doc__ or "").rstrip().endswith("?") for it in CHECKS)
