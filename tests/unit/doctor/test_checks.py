"""Each mistake with its message and remedy; missing rights to look are no mistake."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from weir_cli.doctor.checks import CHECKS, CRDS, examine, saw_nothing
from weir_cli.doctor.finding import Finding, Unseen, Verdict
from weir_cli.doctor.seen import Credential, Seen, Unready, Workload
from weir_operator.sidecar.expected import Lacking

RESTART = "kubectl rollout restart deployment/web -n a"
NOT_SEEN = ("installation", "namespace", "unserved", "only")

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
    sidecars=True,
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
        "Kubernetes", "clock", "CRDs", "pods", "Services", "rights", "certificate", "webhook", "config", "credentials",
        "objects", "backends", "callers", "sidecars", "network", "TLS",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "check", "message", "action"),
    [
        ({"version": (1, 28)}, "Kubernetes", "1.28 is too old", "1.30 or newer"),
        ({"skew": 45.0}, "clock", "45 s ahead of the API server", "time synchronisation"),
        ({"skew": -45.0}, "clock", "45 s behind the API server", "time synchronisation"),
        ({"crds": frozenset(CRDS[:1])}, "CRDs", "not served: routingpolicies.weir.dev", "kubectl apply -f crds/"),
        (
            {"workloads": {}},
            "pods",
            "no Deployment weir-operator, weir-gateway in namespace weir-system",
            "--system-namespace",
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
        ({"webhook": frozenset({"PEM", "OLD"})}, "webhook", "not the operator's present authority", "no other tool"),
        ({"webhook": frozenset({"PEM", ""})}, "webhook", "no caBundle: no pod gets a sidecar", "the operator puts it"),
        ({"webhook": None}, "webhook", "no MutatingWebhookConfiguration weir.weir-system.sidecar", "helm upgrade"),
        ({"webhook_differs": ("pod.sidecar.weir.dev is gone",)}, "webhook", "pod.sidecar.weir.dev is gone", "helm"),
        (
            {"unserved": ("RoutingPolicy a/b (className blue)",)},
            "objects",
            "no operator of this cluster serves RoutingPolicy a/b (className blue)",
            "className",
        ),
        (
            {"ill": (Unready("backend llm/t/one", "Unhealthy", "2 of 2 routers: credential"),)},
            "backends",
            "not well: backend llm/t/one (Unhealthy: 2 of 2 routers: credential)",
            "kubectl describe",
        ),
        (
            {"without_sidecar": tuple(Lacking("a", f"web-{it}", "deployment/web", RESTART) for it in range(7))},
            "sidecars",
            "7 pods should have a sidecar and have none: a/web-0, a/web-1, a/web-2, a/web-3, a/web-4, and 2 more",
            RESTART,
        ),
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


@pytest.mark.parametrize("part", [it.name for it in fields(Seen) if it.name not in NOT_SEEN])
def test_what_we_may_not_look_at_is_no_mistake(part: str):
    ((_, verdict, said, todo),) = found(**{part: Unseen("403 Forbidden")})
    assert (verdict, said, todo) == (Verdict.UNKNOWN, "403 Forbidden", "")


def test_without_sidecars_there_is_no_webhook_to_trust_us():
    assert found(webhook=None, sidecars=False) == []


def test_two_mistakes_of_one_check_are_two_findings():
    """Nothing that is wrong hides something else that is."""
    silent = Credential("llm/t", "llm/silent", exists=True, consents=False)
    absent = Credential("llm/t", "llm/absent", exists=False, consents=False)
    unready = (Unready("ModelTier llm/t", "NoUsableBackends", ""),)
    told = found(
        credentials=(silent, absent),
        unready=unready,
        unserved=("ModelTier a/b (className x)",),
        unjudged=("ModelTier a/c",),
        services={"weir": 0, "weir-operator": None},
        workloads={"weir-operator": Workload(0, 2)},
        routers={"gw-0": (6, "version 2"), "gw-1": (6, None)},
        webhook_differs=("pod.sidecar.weir.dev is gone",),
        webhook=frozenset({""}),
        bundle=None,
    )
    counts = {check: [it[0] for it in told].count(check) for check in dict.fromkeys(it[0] for it in told)}
    pairs = dict.fromkeys(("pods", "Services", "webhook", "config", "credentials"), 2)
    assert counts == {**pairs, "certificate": 1, "objects": 3}


def test_objects_of_one_namespace_are_said_to_be_those_of_it():
    told = [it.message for it in examine(replace(WELL, only="team-a"))]
    assert sum("in namespace team-a" in it for it in told) == 4


@pytest.mark.parametrize(("sees", "nothing"), [((), True), (("pods",), False), (("sidecars",), False)])
def test_whoever_sees_only_the_api_server_sees_nothing(sees: tuple[str, ...], nothing: bool):
    names = list(dict.fromkeys(it.check for it in examine(WELL)))
    good = ("Kubernetes", "clock", "CRDs", *sees)
    findings = [Finding(it, Verdict.GOOD if it in good else Verdict.UNKNOWN, "") for it in names]
    assert saw_nothing(findings) is nothing


def test_every_check_says_what_it_asks():
    assert all((it.__doc__ or "").rstrip().endswith("?") for it in CHECKS)
