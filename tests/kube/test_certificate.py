"""The config server's certificate on a real API server: made once, shared, renewed, and never a foreign one."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from apiserver import ApiServer
from kubernetes.client import ApiClient

from support.kube import apply, client_of, run
from support.servers import listening
from support.tls import trusting
from weir_operator.publish import certificate as module
from weir_operator.publish.authority import certificates, make_authority, make_certificate
from weir_operator.publish.certificate import Certificate, server_names

SECRET, BUNDLE = "secret/weir-operator-tls", "configmap/weir-ca"


class Clock:
    """Real time, plus an offset."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def api(cluster: ApiServer) -> ApiClient:
    return client_of(cluster)


def replica(api: ApiClient, namespace: str, clock: Clock | None = None, *extra: str) -> Certificate:
    return Certificate(api, namespace, "weir", server_names("op", namespace, extra), now=clock or Clock())


def data(cluster: ApiServer, namespace: str, resource: str) -> dict[str, bytes]:
    found = json.loads(run(cluster, "get", resource, "-n", namespace, "-o", "json"))["data"]
    if resource.startswith("secret"):
        return {key: base64.b64decode(value) for key, value in found.items()}
    return {key: value.encode() for key, value in found.items()}


def version(cluster: ApiServer, namespace: str, resource: str = SECRET) -> str:
    return run(cluster, "get", resource, "-n", namespace, "-o", "jsonpath={.metadata.resourceVersion}")


async def hangs_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Closes the connection after the handshake."""


async def served(port: int, trusted: bytes, name: str = "localhost") -> bytes:
    """The certificate that a client which trusts `trusted` gets. Raises `ssl.SSLError` if the client refuses it."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(trusted), server_hostname=name)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return bytes(found)


def days(number: int, minutes: int = 0) -> timedelta:
    return timedelta(days=number, minutes=minutes)


async def test_it_is_made_once_handed_out_and_good_for_every_name(cluster: ApiServer, api: ApiClient, namespace: str):
    one = replica(api, namespace, None, "weir.example")
    assert await one.look()
    assert one.ready.is_set()
    trusted = data(cluster, namespace, BUNDLE)["ca.crt"]
    async with listening(hangs_up, one.context) as port:
        for name in (
            "op",
            f"op.{namespace}",
            f"op.{namespace}.svc",
            f"op.{namespace}.svc.cluster.local",
            "weir.example",
        ):
            await served(port, trusted, name)
    before = version(cluster, namespace), version(cluster, namespace, BUNDLE)
    assert await one.look()
    assert await replica(api, namespace).look()
    assert (version(cluster, namespace), version(cluster, namespace, BUNDLE)) == before


async def test_replicas_that_start_together_share_one(cluster: ApiServer, api: ApiClient, namespace: str):
    replicas = [replica(api, namespace) for _ in range(4)]
    assert all(await asyncio.gather(*(it.look() for it in replicas)))
    trusted = data(cluster, namespace, BUNDLE)["ca.crt"]
    assert len(certificates(trusted)) == 1
    seen = set()
    for it in replicas:
        async with listening(hangs_up, it.context) as port:
            seen.add(await served(port, trusted))
    assert len(seen) == 1


async def test_routers_that_mount_nothing_can_be_told_what_to_trust(cluster: ApiServer, api: ApiClient, namespace: str):
    told: list[str] = []
    assert await Certificate(api, namespace, "weir", ["localhost"], on_authorities=told.append).look()
    assert [it.encode() for it in told] == [data(cluster, namespace, BUNDLE)["ca.crt"]]


async def test_a_replica_trusts_the_others_and_nobody_else(cluster: ApiServer, api: ApiClient, namespace: str):
    one, two = replica(api, namespace), Certificate(api, namespace, "other", ["localhost"])
    assert await one.look()
    assert await two.look()
    async with listening(hangs_up, one.context) as ours, listening(hangs_up, two.context) as theirs:
        assert one.trust() is one.trust()
        _, writer = await asyncio.open_connection("127.0.0.1", ours, ssl=one.trust(), server_hostname="localhost")
        writer.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", theirs, ssl=one.trust(), server_hostname="localhost")


async def test_a_renewed_one_is_served_to_new_handshakes_of_every_replica(
    cluster: ApiServer, api: ApiClient, namespace: str
):
    clock = Clock()
    one, two = replica(api, namespace, clock), replica(api, namespace, clock)
    await one.look()
    await two.look()
    trusted = data(cluster, namespace, BUNDLE)["ca.crt"]
    async with listening(hangs_up, one.context) as first, listening(hangs_up, two.context) as second:
        before = await served(first, trusted)
        assert await served(second, trusted) == before
        clock.ahead = days(61)
        assert await one.look()
        assert await two.look()
        after = await served(first, trusted)
        assert after != before
        assert await served(second, trusted) == after


async def test_routers_that_have_the_old_or_the_new_authority_never_fail_while_it_changes(
    cluster: ApiServer, api: ApiClient, namespace: str
):
    clock = Clock()
    one = replica(api, namespace, clock)
    await one.look()
    old = data(cluster, namespace, BUNDLE)["ca.crt"]
    async with listening(hangs_up, one.context) as port:
        for ahead in (days(240), days(245), days(245, minutes=1), days(245, minutes=60)):
            clock.ahead = ahead
            await one.look()
            both = data(cluster, namespace, BUNDLE)["ca.crt"]
            assert await served(port, old) == await served(port, both)
        assert len(certificates(both)) == 2
        clock.ahead = days(245, minutes=61)
        await one.look()
        assert data(cluster, namespace, BUNDLE)["ca.crt"] == both
        await served(port, both)
        with pytest.raises(ssl.SSLCertVerificationError):
            await served(port, old)


@pytest.mark.parametrize("kind", ["kubernetes.io/tls", "Opaque"])
async def test_somebody_elses_certificate_is_used_followed_and_never_written(
    cluster: ApiServer, api: ApiClient, namespace: str, kind: str
):
    authority = make_authority("theirs", datetime.now(UTC))

    def put() -> None:
        pair = make_certificate(authority, ["localhost"], datetime.now(UTC))
        values = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.certificate}
        text = {key: value.decode() for key, value in values.items()}
        body = {"apiVersion": "v1", "kind": "Secret", "type": kind, "stringData": text}
        apply(cluster, json.dumps(body | {"metadata": {"name": "weir-operator-tls", "namespace": namespace}}))

    put()
    one = replica(api, namespace)
    assert await one.look()
    there = version(cluster, namespace)
    assert data(cluster, namespace, BUNDLE)["ca.crt"] == authority.certificate
    async with listening(hangs_up, one.context) as port:
        first = await served(port, authority.certificate)
        assert await one.look()
        assert version(cluster, namespace) == there
        put()
        assert await one.look()
        assert await served(port, authority.certificate) != first


async def test_a_pair_that_does_not_fit_is_refused_and_what_was_served_goes_on(
    cluster: ApiServer, api: ApiClient, namespace: str, caplog: pytest.LogCaptureFixture
):
    one = replica(api, namespace)
    await one.look()
    trusted = data(cluster, namespace, BUNDLE)["ca.crt"]
    other = make_certificate(make_authority("other", datetime.now(UTC)), ["localhost"], datetime.now(UTC))
    theirs = {"stringData": {"tls.key": other.key.decode()}, "data": {"ca.key": None}, "metadata": {"labels": None}}
    patch = json.dumps(theirs)
    run(cluster, "patch", SECRET, "-n", namespace, "--type=merge", "-p", patch)
    async with listening(hangs_up, one.context) as port:
        before = await served(port, trusted)
        assert not await one.look()
        assert not await one.look()
        assert await served(port, trusted) == before
    warnings = [it.getMessage() for it in caplog.records if it.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "KEY_VALUES_MISMATCH" in warnings[0]
    assert "PRIVATE KEY" not in caplog.text


@pytest.mark.parametrize("file", ["ca.crt", "ca.key", "tls.crt", "tls.key"])
async def test_our_own_secret_that_was_spoilt_is_written_back(
    cluster: ApiServer, api: ApiClient, namespace: str, file: str
):
    """Its authority stays, because routers know no other; a replica that remembers none makes a new one."""
    one = replica(api, namespace)
    await one.look()
    before = data(cluster, namespace, SECRET)
    patch = ("patch", SECRET, "-n", namespace, "--type=merge", "-p", json.dumps({"data": {file: "eA=="}}))
    run(cluster, *patch)
    assert await one.look()
    assert data(cluster, namespace, SECRET) == before
    run(cluster, *patch)
    two = replica(api, namespace)
    assert await two.look()
    async with listening(hangs_up, two.context) as port:
        await served(port, data(cluster, namespace, BUNDLE)["ca.crt"])


@pytest.mark.parametrize("how", ["deleted", "replaced", "expired"])
async def test_a_certificate_that_another_client_puts_in_our_place_does_not_stay(
    cluster: ApiServer, api: ApiClient, namespace: str, how: str
):
    one = replica(api, namespace)
    await one.look()
    before, trusted = data(cluster, namespace, SECRET), data(cluster, namespace, BUNDLE)
    made = datetime.now(UTC) - (days(400) if how == "expired" else days(0))
    authority = make_authority("other", made)
    pair = make_certificate(authority, ["localhost"], made)
    if how == "deleted":
        run(cluster, "delete", SECRET, "-n", namespace)
    else:
        theirs = {"ca.crt": authority.certificate, "ca.key": authority.key}
        theirs |= {"tls.crt": pair.certificate, "tls.key": pair.key}
        patch = json.dumps({"stringData": {name: value.decode() for name, value in theirs.items()}})
        run(cluster, "patch", SECRET, "-n", namespace, "--type=merge", "-p", patch)
    assert await one.look()
    assert (data(cluster, namespace, SECRET), data(cluster, namespace, BUNDLE)) == (before, trusted)


async def test_another_tool_s_certificate_that_has_ended_is_named(cluster: ApiServer, api: ApiClient, namespace: str):
    made = datetime.now(UTC) - days(91)
    authority = make_authority("theirs", made)
    pair = make_certificate(authority, ["localhost"], made)
    text = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.certificate}
    metadata = {"name": "weir-operator-tls", "namespace": namespace}
    body = {"apiVersion": "v1", "kind": "Secret", "stringData": {name: value.decode() for name, value in text.items()}}
    apply(cluster, json.dumps(body | {"metadata": metadata}))
    one = replica(api, namespace)
    assert not await one.look()
    assert one.trouble.startswith("the certificate of Secret/weir-operator-tls ended on ")


async def test_a_replica_that_lags_behind_takes_over_a_renewal_and_does_not_undo_it(
    cluster: ApiServer, api: ApiClient, namespace: str
):
    clock = Clock()
    one, two = replica(api, namespace, clock), replica(api, namespace, clock)
    await one.look()
    await two.look()
    clock.ahead = days(245)
    for _ in ("the authority", "the certificate"):
        assert await one.look()
    renewed = data(cluster, namespace, SECRET)
    assert await two.look()
    assert data(cluster, namespace, SECRET) == renewed
    run(cluster, "delete", SECRET, "-n", namespace)
    assert all(await asyncio.gather(one.look(), two.look()))
    assert data(cluster, namespace, SECRET) == renewed


async def test_a_public_certificate_needs_no_bundle_and_a_bundle_of_somebody_else_stays(
    cluster: ApiServer, api: ApiClient, namespace: str
):
    run(cluster, "create", "configmap", "weir-ca", "-n", namespace, "--from-literal=ca.crt=theirs")
    one = replica(api, namespace)
    assert await one.look()
    assert data(cluster, namespace, BUNDLE) == {"ca.crt": b"theirs"}
    assert "lacks the authority of the certificate" in one.trouble
    pair = make_certificate(make_authority("public", datetime.now(UTC)), ["weir.example"], datetime.now(UTC))
    text = {"tls.crt": pair.certificate.decode(), "tls.key": pair.key.decode()}
    metadata = {"name": "other-operator-tls", "namespace": namespace}
    apply(cluster, json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": text}))
    other = Certificate(api, namespace, "other", ["weir.example"])
    assert await other.look()
    assert "other-ca" not in run(cluster, "get", "configmaps", "-n", namespace)
    assert len(other.trust().get_ca_certs()) > 1


async def test_it_looks_again_soon_after_a_failure_and_later_once_all_is_well(
    cluster: ApiServer, api: ApiClient, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "weir-operator-tls", "namespace": namespace}}
    apply(cluster, json.dumps(body))
    one = replica(api, namespace)
    assert not await one.look()
    running = asyncio.create_task(one.run())
    await asyncio.to_thread(run, cluster, "delete", SECRET, "-n", namespace)
    async with asyncio.timeout(20):
        await one.ready.wait()
    running.cancel()


async def test_a_missing_right_is_named_and_nothing_is_served_before_there_is_something(
    cluster: ApiServer, namespace: str, caplog: pytest.LogCaptureFixture
):
    run(cluster, "create", "serviceaccount", "op", "-n", namespace)
    token = run(cluster, "create", "token", "op", "-n", namespace).strip()
    with client_of(cluster, token=token) as powerless:
        one = replica(powerless, namespace)
        assert not await one.look()
    assert not one.ready.is_set()
    assert f"needs list on secrets in namespace {namespace}" in caplog.text
