"""The gatherer on an API server of its own that loses its CRDs, is killed, and forgets history."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from apiserver import ApiServer

from support.kube import Requests, Wire, apply, client_of, run, watching
from weir_operator.kube.informers import STOP_SECONDS
from weir_operator.observe.gather import Gatherer, UnknownReason

CRDS = str(Path(__file__).parents[2] / "crds")


@pytest.fixture(scope="module")
def server(apiserver: ApiServer) -> Iterator[ApiServer]:
    """An API server that a test may break; at first without CRDs."""
    with ApiServer(apiserver.assets) as server:
        yield server


@pytest.fixture
def wire(server: ApiServer) -> Iterator[Wire]:
    """The gatherer's connection to the server."""
    wire = Wire(server.url)
    yield wire
    wire.close()


def with_crds(server: ApiServer) -> None:
    run(server, "apply", "--server-side", "-f", CRDS)
    run(server, "wait", "--for=condition=Established", "--timeout=20s", "-f", CRDS)


def make_tiers(server: ApiServer, *names: str) -> None:
    run(server, "delete", "modeltiers", "--all", "-n", "default")
    for name in names:
        apply(
            server,
            f"""
apiVersion: weir.dev/v1alpha1
kind: ModelTier
metadata: {{name: {name}, namespace: default}}
spec: {{backends: [{{name: one, provider: OpenAI, model: gpt-4o-mini}}]}}
""",
        )


def crds_are_absent(it: Gatherer) -> bool:
    absent = {unknown.kind for unknown in it.unknown() if unknown.reason is UnknownReason.CRD_ABSENT}
    return absent == {"ModelTier", "RoutingPolicy"}


def test_crds_that_come_later_are_found(server: ApiServer) -> None:
    """The objects of an absent CRD are unknown, and not an empty list."""
    run(server, "delete", "--ignore-not-found", "-f", CRDS)
    with watching(client_of(server)) as it:
        it.until(crds_are_absent)
        assert it.gatherer.observed() is None
        assert "kubectl apply -f crds/" in it.gatherer.unknown()[0].action
        with_crds(server)
        it.until(lambda it: not it.unknown())
        assert it.observed().of("ModelTier") == ()


def test_a_deleted_crd_withdraws_nothing(server: ApiServer) -> None:
    """Its objects go with it, but stay in use. Once the CRD is back, the listed objects count."""
    with_crds(server)
    make_tiers(server, "one", "two", "three")
    with watching(client_of(server)) as it:
        it.until_names("one", "two", "three")
        run(server, "delete", "crd", "modeltiers.weir.dev")
        it.until(lambda it: [unknown.reason for unknown in it.unknown()] == [UnknownReason.CRD_ABSENT])
        assert {len(seen.of("ModelTier")) for seen in it.seen} == {3}
        with_crds(server)
        make_tiers(server, "one")
        it.until(lambda it: not it.unknown())
        it.until_names("one")


def test_objects_deleted_while_the_wire_was_cut_are_gone_afterwards(server: ApiServer, wire: Wire) -> None:
    with_crds(server)
    make_tiers(server, "deleted", "kept")
    with watching(client_of(server, url=wire.url)) as it:
        it.until_names("deleted", "kept")
        wire.cut()
        run(server, "delete", "modeltier", "deleted", "-n", "default")
        it.until(lambda it: any(unknown.reason is UnknownReason.UNAVAILABLE for unknown in it.unknown()))
        assert it.names() == {"deleted", "kept"}
        wire.mend()
        it.until_names("kept")
        it.until(lambda it: not it.unknown())


def test_no_ghosts_after_a_restart_and_a_compaction(server: ApiServer, wire: Wire) -> None:
    """The watch cannot resume (410): a new list shows the deleted objects, and never withdraws an existing one."""
    with_crds(server)
    make_tiers(server, "deleted", "kept")
    client = client_of(server, url=wire.url)
    requests = Requests(client)
    with watching(client) as it:
        it.until_names("deleted", "kept")
        wire.cut()
        run(server, "delete", "modeltier", "deleted", "-n", "default")
        server.compact()
        server.restart()
        wire.mend()
        it.until_names("kept")
        assert all("kept" in {tier.name for tier in seen.of("ModelTier")} for seen in it.seen if seen.of("ModelTier"))
        assert () not in [seen.of("ModelTier") for seen in it.seen]
    lists = [url for url in requests.urls if "modeltiers" in url and "watch=" not in url]
    assert len(lists) == 2


def test_a_killed_api_server_withdraws_nothing_and_changes_after_it_are_seen(server: ApiServer) -> None:
    with_crds(server)
    make_tiers(server, "kept")
    with watching(client_of(server)) as it:
        it.until_names("kept")
        server.restart()
        make_tiers(server, "new")
        it.until_names("new")


def test_the_end_does_not_wait_for_a_server_that_says_nothing(server: ApiServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        with watching(client_of(server, url=url)) as it:
            started = time.monotonic()
            it.gatherer.stop()
            assert time.monotonic() - started < STOP_SECONDS + 1


def test_before_the_api_server_answers_nothing_is_told(server: ApiServer, wire: Wire) -> None:
    with_crds(server)
    wire.cut()
    with watching(client_of(server, url=wire.url)) as it:
        it.until(lambda it: len({unknown.kind for unknown in it.unknown()}) == 6)
        assert it.gatherer.observed() is None
        wire.mend()
        it.observed()
        it.until(lambda it: not it.unknown())
