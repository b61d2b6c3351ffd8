"""The gatherer on a real API server: its events, and its behaviour without rights or without the server."""

from __future__ import annotations

import base64
import logging
import threading
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from apiserver import ApiServer

from support.kube import Requests, apply, client_of, run, watching
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.gather import Gatherer, UnknownReason
from weir_operator.observe.observed import ServiceData, SliceData

VALUE = "sk-never-to-be-shown"

RULES = """
- {apiGroups: [weir.dev], resources: [modeltiers, routingpolicies], verbs: [list, watch]}
- {apiGroups: [""], resources: [secrets], verbs: [list, watch]}
"""

ALL_RULES = f"""{RULES.rstrip()}
- {{apiGroups: [""], resources: [services], verbs: [list, watch]}}
- {{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}}
"""


def tier(namespace: str, name: str, model: str = "gpt-4o-mini") -> str:
    return f"""
apiVersion: weir.dev/v1alpha1
kind: ModelTier
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  backends:
  - {{name: one, provider: OpenAI, model: {model}}}
"""


def policy(namespace: str, name: str) -> str:
    return f"""
apiVersion: weir.dev/v1alpha1
kind: RoutingPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  models: [{{name: auto}}]
  routes:
  - {{name: all, tiers: [{{name: budget}}]}}
"""


def secret(namespace: str, name: str, labels: str, value: str = VALUE) -> str:
    return f"""
apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: {namespace}, labels: {labels}}}
stringData: {{api-key: {value}}}
"""


def granted(server: ApiServer, namespace: str, rules: str) -> str:
    """The token of a ServiceAccount with only these rights, in its namespace."""
    apply(
        server,
        f"""
apiVersion: v1
kind: ServiceAccount
metadata: {{name: operator, namespace: {namespace}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: operator, namespace: {namespace}}}
rules: {rules or "[]"}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: operator, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: operator}}
subjects: [{{kind: ServiceAccount, name: operator, namespace: {namespace}}}]
""",
    )
    return run(server, "create", "token", "operator", "-n", namespace).strip()


def reasons(it: Gatherer) -> dict[str, UnknownReason]:
    return {unknown.kind: unknown.reason for unknown in it.unknown()}


def test_lists_objects_as_the_compiler_takes_them(cluster: ApiServer, namespace: str) -> None:
    apply(cluster, tier(namespace, "budget") + "---" + policy(namespace, "assistants"))
    apply(cluster, secret(namespace, "openai", '{weir.dev/credential: "true"}'))
    with watching(client_of(cluster), [namespace]) as it:
        observed = it.observed()
    (found,) = observed.of("ModelTier")
    assert (found.id, found.generation) == (f"ModelTier/{namespace}/budget", 1)
    assert found.spec["backends"][0]["model"] == "gpt-4o-mini"
    assert abs(time.time() - found.created) < 3600
    assert [it.id for it in observed.of("RoutingPolicy")] == [f"RoutingPolicy/{namespace}/assistants"]
    assert observed.secrets[ObjectName(namespace, "openai")].data == {"api-key": VALUE.encode()}


def test_tells_additions_changes_and_deletions(cluster: ApiServer, namespace: str) -> None:
    with watching(client_of(cluster), [namespace]) as it:
        it.until_names()
        apply(cluster, tier(namespace, "budget"))
        it.until_names("budget")
        apply(cluster, tier(namespace, "budget", "gpt-4o"))
        it.until(lambda it: [tier.generation for tier in it.observed().of("ModelTier")] == [2])
        run(cluster, "delete", "modeltier", "budget", "-n", namespace)
        it.until_names()


def test_a_written_status_is_no_change(cluster: ApiServer, namespace: str) -> None:
    apply(cluster, tier(namespace, "budget"))
    with watching(client_of(cluster), [namespace]) as it:
        it.observed()
        before = it.changes
        status = '{"status": {"backendsReady": "1/1"}}'
        target = ("modeltier", "budget", "-n", namespace)
        run(cluster, "patch", *target, "--subresource=status", "--type=merge", "-p", status)
        run(cluster, "annotate", *target, "example.com/note=x")
        apply(cluster, tier(namespace, "later"))  # the same watch tells it after those two
        it.until_names("budget", "later")
    assert it.changes == before + 1


def test_without_namespaces_the_whole_cluster_is_seen_with_its_labels(cluster: ApiServer, namespace: str) -> None:
    run(cluster, "label", "namespace", namespace, "team=a")
    apply(cluster, tier(namespace, "budget"))
    with watching(client_of(cluster)) as it:
        observed = it.observed()
        assert f"ModelTier/{namespace}/budget" in {tier.id for tier in observed.of("ModelTier")}
        assert observed.namespaces is not None
        assert observed.namespaces[namespace]["team"] == "a"
        run(cluster, "label", "namespace", namespace, "team=b", "--overwrite")
        it.until(lambda it: it.observed().namespaces[namespace]["team"] == "b")


def test_with_namespaces_no_other_is_asked_about(cluster: ApiServer, namespace: str) -> None:
    run(cluster, "create", "namespace", f"{namespace}-too")
    run(cluster, "create", "namespace", f"{namespace}-not")
    for name in (namespace, f"{namespace}-too", f"{namespace}-not"):
        apply(cluster, tier(name, "budget"))
    client = client_of(cluster)
    requests = Requests(client)
    with watching(client, [namespace, f"{namespace}-too"]) as it:
        assert {tier.namespace for tier in it.observed().of("ModelTier")} == {namespace, f"{namespace}-too"}
    asked = {urlsplit(url).path for url in requests.urls} - {"/api/v1/namespaces"}
    assert {path.split("/namespaces/")[1].split("/")[0] for path in asked} == {namespace, f"{namespace}-too"}


def test_only_secrets_with_our_labels_are_ever_asked_for(cluster: ApiServer, namespace: str) -> None:
    apply(cluster, secret(namespace, "foreign", "{app: shop}"))
    apply(cluster, secret(namespace, "refused", '{weir.dev/credential: "false"}'))
    apply(cluster, secret(namespace, "openai", '{weir.dev/credential: "true"}'))
    apply(cluster, secret(namespace, "caller", '{weir.dev/api-key: "true"}'))
    client = client_of(cluster)
    requests = Requests(client)
    with watching(client, [namespace]) as it:
        assert {key.name for key in it.observed().secrets} == {"openai", "caller"}
    selectors = [parse_qs(urlsplit(url).query).get("labelSelector") for url in requests.urls if "/secrets" in url]
    assert len(selectors) >= 2
    assert all(it in (["weir.dev/credential=true"], ["weir.dev/api-key=true"]) for it in selectors)


def test_a_secret_that_loses_its_label_is_gone(cluster: ApiServer, namespace: str) -> None:
    apply(cluster, secret(namespace, "openai", '{weir.dev/credential: "true"}'))
    with watching(client_of(cluster), [namespace]) as it:
        assert it.observed().secrets
        run(cluster, "label", "secret", "openai", "-n", namespace, "weir.dev/credential-")
        it.until(lambda it: not it.observed().secrets)


def test_a_secrets_value_reaches_neither_a_repr_nor_a_log(
    cluster: ApiServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The Secret's value is in an annotation, too, where `kubectl apply` leaves a copy."""
    caplog.set_level(logging.DEBUG)
    apply(cluster, secret(namespace, "openai", '{weir.dev/credential: "true"}'))
    with watching(client_of(cluster), [namespace]) as it:
        shown = repr(it.observed()) + caplog.text
    assert "openai" in shown
    assert VALUE not in shown
    assert base64.b64encode(VALUE.encode()).decode() not in shown


def test_without_the_right_to_list_namespaces_they_are_unknown_and_the_rest_goes_on(
    cluster: ApiServer, namespace: str
) -> None:
    apply(cluster, tier(namespace, "budget"))
    client = client_of(cluster, token=granted(cluster, namespace, ALL_RULES))
    with watching(client, [namespace]) as it:
        observed = it.observed()
        assert observed.namespaces is None
        assert [tier.name for tier in observed.of("ModelTier")] == ["budget"]
        (unknown,) = it.gatherer.unknown()
    assert (unknown.kind, unknown.reason) == ("Namespace", UnknownReason.NAMESPACES_NOT_READABLE)
    assert 'resources: ["namespaces"], verbs: ["list", "watch"]' in unknown.action


SERVED = """
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}, labels: {labels}}}
spec: {{clusterIP: None, ports: [{{name: http, port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: {namespace}, labels: {labels}}}
addressType: IPv4
endpoints: [{{addresses: [10.0.0.1], conditions: {{ready: true}}}}]
ports: [{{name: http, port: 8000}}]
"""


def test_services_that_consent_are_seen_with_their_endpoints_and_no_other(cluster: ApiServer, namespace: str) -> None:
    consent = '{kubernetes.io/service-name: own, weir.dev/backend: "true"}'
    apply(cluster, SERVED.format(name="own", namespace=namespace, labels=consent))
    apply(cluster, SERVED.format(name="other", namespace=namespace, labels="{kubernetes.io/service-name: other}"))
    with watching(client_of(cluster), [namespace]) as it:
        observed = it.observed()
        assert observed.services == {
            ObjectName(namespace, "own"): ServiceData({"weir.dev/backend": "true"}, ports={80: "http"})
        }
        assert observed.slices == {ObjectName(namespace, "own-1"): SliceData("own", {"http": 8000}, ("10.0.0.1",))}
        changed = '[{"op": "replace", "path": "/endpoints/0/conditions/ready", "value": false}]'
        run(cluster, "-n", namespace, "patch", "endpointslice", "own-1", "--type=json", "-p", changed)
        it.until(lambda it: not it.observed().slices[ObjectName(namespace, "own-1")].ready)
        changes = it.changes
        run(cluster, "-n", namespace, "annotate", "endpointslice", "own-1", "a=b")
        run(cluster, "-n", namespace, "delete", "endpointslice", "own-1")
        it.until(lambda it: not it.observed().slices)
        assert it.changes == changes + 1


def test_without_the_right_to_list_services_they_are_unknown_and_the_rest_goes_on(
    cluster: ApiServer, namespace: str
) -> None:
    apply(cluster, tier(namespace, "budget"))
    client = client_of(cluster, token=granted(cluster, namespace, RULES))
    with watching(client, [namespace]) as it:
        observed = it.observed()
        assert (observed.services, observed.slices, len(observed.of("ModelTier"))) == (None, None, 1)
        assert reasons(it.gatherer)["EndpointSlice"] is UnknownReason.SERVICES_NOT_READABLE
        granted(cluster, namespace, ALL_RULES)
        it.until(lambda it: (found := it.observed()) is not None and found.services == found.slices == {})


def test_nothing_is_told_while_a_kind_was_never_listed(cluster: ApiServer, namespace: str) -> None:
    apply(cluster, tier(namespace, "budget"))
    rules = '\n- {apiGroups: [weir.dev], resources: ["*"], verbs: [list, watch]}'
    client = client_of(cluster, token=granted(cluster, namespace, rules))
    with watching(client, [namespace]) as it:
        it.until(lambda it: reasons(it).get("Secret") is UnknownReason.FORBIDDEN)
        assert it.gatherer.observed() is None
        granted(cluster, namespace, ALL_RULES)
        assert [tier.name for tier in it.observed().of("ModelTier")] == ["budget"]


def test_a_revoked_rule_withdraws_nothing_and_is_named(cluster: ApiServer, namespace: str) -> None:
    apply(cluster, tier(namespace, "budget") + "---" + tier(namespace, "premium"))
    client = client_of(cluster, token=granted(cluster, namespace, ALL_RULES))
    with watching(client, [namespace], watch_seconds=1) as it:
        it.until_names("budget", "premium")
        granted(cluster, namespace, '\n- {apiGroups: [""], resources: [secrets], verbs: [list, watch]}')
        it.until(lambda it: reasons(it).get("ModelTier") is UnknownReason.FORBIDDEN)
        (unknown,) = (unknown for unknown in it.gatherer.unknown() if unknown.kind == "ModelTier")
        run(cluster, "delete", "modeltier", "budget", "-n", namespace)
        assert it.names() == {"budget", "premium"}
        granted(cluster, namespace, ALL_RULES)
        it.until_names("premium")
        it.until(lambda it: "ModelTier" not in reasons(it))
    assert unknown.namespace == namespace
    assert f"system:serviceaccount:{namespace}:operator" in unknown.message
    assert unknown.action == (
        f"Add to the operator's Role in namespace {namespace}: "
        '{apiGroups: ["weir.dev"], resources: ["modeltiers"], verbs: ["list", "watch"]}'
    )


def test_what_is_forbidden_is_asked_for_every_few_seconds_and_told_once(
    cluster: ApiServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(cluster, token=granted(cluster, namespace, ALL_RULES))
    requests = Requests(client)
    with watching(client, [namespace], watch_seconds=1) as it:
        it.observed()
        granted(cluster, namespace, "")
        it.until(lambda it: len(reasons(it)) == 6)
        before = len(requests.urls)
        threading.Event().wait(5)
        asked = len(requests.urls) - before
    assert 1 <= asked <= 35  # seven watches; without a pause it would be thousands
    told = [it.getMessage() for it in caplog.records if it.levelno >= logging.WARNING]
    assert len(told) == 7
    reasons_told = ("unknown (Forbidden)", "unknown (NamespacesNotReadable)", "unknown (ServicesNotReadable)")
    assert all(any(reason in it for reason in reasons_told) for it in told)


def test_an_idle_cluster_is_listed_once(cluster: ApiServer, namespace: str) -> None:
    """Watches end and resume where they were."""
    client = client_of(cluster)
    requests = Requests(client)
    with watching(client, [namespace], watch_seconds=1) as it:
        it.observed()
        threading.Event().wait(5)
        changes = it.changes
    watches = [url for url in requests.urls if "watch=" in url]
    assert len(requests.urls) - len(watches) == 7
    assert 14 <= len(watches) <= 42
    assert changes == 7


def test_a_watch_begins_where_the_last_one_ended(cluster: ApiServer, namespace: str) -> None:
    """A watch that began at the list again would report all later changes again, older states first."""
    client = client_of(cluster)
    requests = Requests(client)
    with watching(client, [namespace], watch_seconds=1) as it:
        it.observed()
        apply(cluster, tier(namespace, "budget"))
        apply(cluster, tier(namespace, "budget", "gpt-4o"))
        it.until(lambda it: [tier.generation for tier in it.observed().of("ModelTier")] == [2])
        before, changes = len(requests.urls), it.changes
        threading.Event().wait(4)
        renewed = [url for url in requests.urls[before:] if "modeltiers" in url]
        assert renewed
        assert it.changes == changes


def test_a_stopped_gatherer_leaves_no_thread_and_tells_no_more(cluster: ApiServer, namespace: str) -> None:
    before = set(threading.enumerate())
    with watching(client_of(cluster), [namespace]) as it:
        it.observed()
        started = time.monotonic()
        it.gatherer.stop()
        took = time.monotonic() - started
        changes = it.changes
        apply(cluster, tier(namespace, "budget"))
    assert took < 1
    assert set(threading.enumerate()) <= before
    assert it.changes == changes


def test_wrong_credentials_are_told_as_such(cluster: ApiServer) -> None:
    with watching(client_of(cluster, token="nobody")) as it:
        it.until(lambda it: set(reasons(it).values()) == {UnknownReason.UNAUTHENTICATED})
        assert it.gatherer.observed() is None
