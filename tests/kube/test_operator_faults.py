"""Operators and routers as processes, while the API server, rights, CRDs and the operators themselves go away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from apiserver import ApiServer
from kubernetes.client import CustomObjectsApi

from cli.shell import http, policy, tier, until
from support.installation import Audit, Installation, Tenant, serving
from support.kube import Wire, client_of, run

CRDS = str(Path(__file__).parents[2] / "crds")
UPSTREAM = "http://127.0.0.1:9"
IDLE_SECONDS = 20.0

pytestmark = pytest.mark.timeout(300)  # several processes each, one after the other


class Server(ApiServer):
    """An API server that a test may break, with the CRDs; it records every request."""

    audit: Audit

    def with_crds(self) -> None:
        run(self, "apply", "--server-side", "-f", CRDS)
        run(self, "wait", "--for=condition=Established", "--timeout=20s", "-f", CRDS)


@pytest.fixture(scope="module")
def server(apiserver: ApiServer) -> Iterator[Server]:
    server = Server(apiserver.assets)
    server.audit = Audit(server)
    with server:
        server.with_crds()
        yield server


@pytest.fixture
def installation(server: Server, namespace: str, tmp_path: Path) -> Installation:
    """A new installation, named after its namespace; it serves a class of its own."""
    run(server, "create", "namespace", namespace)
    return Installation(server, namespace, tmp_path, release=namespace)


@pytest.fixture
def tenant(installation: Installation) -> Tenant:
    """A tenant in the installation's own namespace, with policies of its class."""
    return Tenant(installation.server, installation.namespace)


def ours(installation: Installation, *names: str) -> list[dict[str, object]]:
    """A tier, and policies that use it."""
    small = tier(UPSTREAM)
    small["spec"]["className"] = installation.release
    return [small, *(policy(name, model=name, className=installation.release) for name in names)]


def keys(installation: Installation, *names: str) -> list[str]:
    return [f"{installation.namespace}/{name}" for name in names]


def of_class(installation: Installation) -> tuple[str, str]:
    return "--class", installation.release


def test_what_is_deleted_while_no_operator_runs_is_gone_afterwards(installation: Installation, tenant: Tenant):
    tenant.apply(*ours(installation, "deleted", "kept"))
    with installation.operator(*of_class(installation)) as first, installation.router() as router:
        router.until_policies(*keys(installation, "deleted", "kept"))
        first.command.process.kill()
        first.command.ended()
        tenant.delete("routingpolicy", "deleted")
        assert router.policies() == set(keys(installation, "deleted", "kept"))
        with installation.operator(*of_class(installation)):
            router.until_policies(*keys(installation, "kept"))


def test_what_is_deleted_while_the_watch_is_broken_is_gone_afterwards(server: Server, namespace: str, tmp_path: Path):
    """The API server restarts meanwhile, and etcd has compacted its history: the watch answers 410."""
    wire = Wire(server.url)
    run(server, "create", "namespace", namespace)
    installation = Installation(server, namespace, tmp_path, release=namespace, url=wire.url)
    tenant = Tenant(server, namespace)
    tenant.apply(*ours(installation, "deleted", "kept"))
    with serving(installation, *of_class(installation)) as (_, router):
        router.until_policies(*keys(installation, "deleted", "kept"))
        wire.cut()
        tenant.delete("routingpolicy", "deleted")
        server.compact()
        server.restart()
        wire.mend()
        router.until_policies(*keys(installation, "kept"))
    wire.close()


def test_a_revoked_right_withdraws_nothing_and_is_named(installation: Installation, tenant: Tenant):
    """A revoked right withdraws nothing, not even for an operator that starts without it."""
    tenant.apply(*ours(installation, "kept"))
    with installation.operator(*of_class(installation)) as first, installation.router() as router:
        router.until_policies(*keys(installation, "kept"))
        assert first.command.stop() == 0
        (role,) = installation.rights("ClusterRole")
        nothing = '[{"op": "replace", "path": "/rules", "value": []}]'
        run(tenant.server, "patch", "clusterrole", role, "--type=json", "-p", nothing)
        with installation.operator(*of_class(installation)) as second:
            second.until(ready=True, leads=True)
            until(lambda: len(second.state()["unknown"]) >= 4, lambda: str(second.state()))
            state = second.state()
            assert any('resources: ["modeltiers"], verbs: ["list", "watch"]' in it for it in state["unknown"])
            assert any('resources: ["secrets"], verbs: ["list", "watch"]' in it for it in state["unknown"])
            assert second.metric('weir_operator_unknown_kinds{kind="ModelTier",reason="Forbidden"}') == 1
            assert set(keys(installation, "kept")) == {it.key for it in installation.config().policies}
            assert router.policies() == set(keys(installation, "kept"))


def test_an_operator_and_an_api_server_that_are_gone_stop_nobody(
    server: Server, installation: Installation, tenant: Tenant
):
    """A running router goes on; a new router has the mounted config."""
    tenant.apply(*ours(installation, "kept"))
    with serving(installation, *of_class(installation)) as (operator, router):
        router.until_policies(*keys(installation, "kept"))
        caller = tenant.caller(router)
        installation.mount()
        operator.command.process.kill()
        operator.command.ended()
        server.kill()
        try:
            assert caller.models() == {"kept"}
            assert router.command.stop() == 0
            with installation.router(fresh=False) as restarted:
                until(lambda: restarted.ready()["ready"])
                caller.url = restarted.url
                assert (caller.models(), restarted.policies()) == ({"kept"}, set(keys(installation, "kept")))
        finally:
            server.restart()


def test_of_two_operators_one_leads_and_the_other_follows_within_20_s_of_a_kill(
    installation: Installation, tenant: Tenant
):
    """The other follows at once after a clean end. Both serve the same revision; the leader sees all routers."""
    tenant.apply(*ours(installation, "one"))
    with (
        installation.operator(*of_class(installation)) as first,
        installation.router() as router,
        installation.operator(*of_class(installation), port=0) as second,
    ):
        first.until(leads=True, ready=True)
        second.until(leads=False, ready=True)
        assert first.state()["revision"] == second.state()["revision"]
        killed = time.monotonic()
        first.command.process.kill()
        first.command.ended()
        until(lambda: second.state()["leads"], patience=30)
        took = time.monotonic() - killed
        assert took <= 20
        with installation.operator(*of_class(installation)) as third:
            tenant.apply(*ours(installation, "one", "two"))
            router.until_policies(*keys(installation, "one", "two"))
            until(lambda: second.metric('weir_operator_routers{current="true",gateway="true"}') == 1)
            third.until(leads=False, revision=second.state()["revision"])
            ended = time.monotonic()
            assert second.command.stop() == 0
            third.until(leads=True)
            print(f"\ntakeover after a kill {took:.1f} s, after an end {time.monotonic() - ended:.1f} s")


def test_an_idle_operator_asks_the_api_server_ten_times_a_minute_at_most(
    server: Server, installation: Installation, tenant: Tenant
):
    """Requests beside watches and the Lease count. A router polls the operator meanwhile."""
    tenant.apply(*ours(installation, "one"))
    with serving(installation, *of_class(installation)):
        tenant.condition("routingpolicy/one", "Programmed", "True")
        time.sleep(3)  # what comes of it ends
        since = datetime.now(UTC)
        time.sleep(IDLE_SECONDS)
        account = f"system:serviceaccount:{installation.namespace}:{installation.release}-operator"
        asked = server.audit.requests(account, moment(since), moment(datetime.now(UTC)))
    counted = [it for it in asked if "/leases/" not in it and "watch=true" not in it.lower()]
    print(f"\n{len(counted)} requests in {IDLE_SECONDS:.0f} s: {counted}")
    assert len(counted) <= 10 * IDLE_SECONDS / 60
    assert any("/leases/" in it for it in asked)


def moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_of_a_thousand_policies_the_good_half_is_served_and_the_bad_half_explained(
    server: Server, installation: Installation, tenant: Tenant
):
    tenant.apply(*ours(installation))
    with client_of(server) as client, ThreadPoolExecutor(8) as threads:
        api = CustomObjectsApi(client)

        def create(number: int) -> None:
            body = policy(f"p-{number}", model=f"m-{number}", to="missing" if number % 2 else "small")
            body["spec"]["className"] = installation.release
            api.create_namespaced_custom_object("weir.dev", "v1alpha1", installation.namespace, "routingpolicies", body)

        list(threads.map(create, range(1000)))
    with serving(installation, *of_class(installation)) as (operator, router):
        until(lambda: len(router.policies()) == 1000)
        ready = {it.key for it in installation.config().policies if it.not_ready is None}
        assert ready == set(keys(installation, *(f"p-{number}" for number in range(0, 1000, 2))))
        tenant.condition("routingpolicy/p-1", "ResolvedRefs", "False")
        rounds = operator.metric("weir_operator_compile_seconds_count")
        mean = operator.metric("weir_operator_compile_seconds_sum") / rounds
        print(f"\ncompile of 1,000 policies: {mean * 1000:.0f} ms, mean of {rounds:.0f}")


def test_a_deleted_crd_withdraws_nothing_and_is_named(server: Server, installation: Installation, tenant: Tenant):
    tenant.apply(*ours(installation, "kept"))
    with serving(installation, *of_class(installation)) as (operator, router):
        router.until_policies(*keys(installation, "kept"))
        run(server, "delete", "crd", "routingpolicies.weir.dev", "--wait=false")
        begun = time.monotonic()
        until(lambda: any("CRDAbsent" in it for it in operator.state()["unknown"]), operator.command.said.__str__)
        print(f"\na deleted CRD is named after {time.monotonic() - begun:.1f} s")
        assert router.policies() == set(keys(installation, "kept"))
        assert http(f"{operator.admin}/healthz").status == 200
        run(server, "wait", "--for=delete", "crd/routingpolicies.weir.dev", "--timeout=30s")
        server.with_crds()
        begun = time.monotonic()
        router.until_policies()
        tenant.apply(*ours(installation, "again"))
        router.until_policies(*keys(installation, "again"))
        print(f"a CRD that was put back is served after {time.monotonic() - begun:.1f} s")
