"""Objects that the operator makes have an owner, so that an uninstallation removes all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from apiserver import ApiServer
from kubernetes import client

from support.kube import client_of, run
from weir_operator.kube.accounts import ServiceAccount
from weir_operator.kube.owner import Owner, OwnerUnknown
from weir_operator.kube.store import Kind, ObjectId, ObjectStore, PublishFailed

NAME = ObjectId(Kind.CONFIG_MAP, "weir-test")


@pytest.fixture
def api(apiserver: ApiServer) -> Iterator[client.ApiClient]:
    """The administrator's client."""
    it = client_of(apiserver)
    yield it
    it.close()


def owners(api: client.ApiClient, namespace: str) -> list[tuple[str, str, str]]:
    written = client.CoreV1Api(api).read_namespaced_config_map(NAME.name, namespace)
    return [(it.kind, it.name, it.uid) for it in written.metadata.owner_references or []]


def test_what_is_made_belongs_to_the_service_account(
    apiserver: ApiServer, api: client.ApiClient, namespace: str
) -> None:
    run(apiserver, "create", "serviceaccount", "weir-operator", "--namespace", namespace)
    uid = client.CoreV1Api(api).read_namespaced_service_account("weir-operator", namespace).metadata.uid
    store = ObjectStore(api, namespace, {}, Owner(api, ServiceAccount(namespace, "weir-operator")))
    stored = store.write(NAME, {"a.json": b"1"}, None)
    assert owners(api, namespace) == [("ServiceAccount", "weir-operator", uid)]
    store.write(NAME, {"a.json": b"2"}, stored)
    assert owners(api, namespace) == [("ServiceAccount", "weir-operator", uid)]


def test_without_such_an_account_it_is_made_all_the_same(
    api: client.ApiClient, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """There is no such account when the operator runs on a laptop, with a KUBECONFIG."""
    ObjectStore(api, namespace, {}, Owner(api, ServiceAccount(namespace, "nobody"))).write(NAME, {"a.json": b"1"}, None)
    assert owners(api, namespace) == []
    assert "will stay when it is uninstalled" in caplog.text


def test_an_api_server_that_does_not_say_is_asked_again(api: client.ApiClient, namespace: str) -> None:
    """It is asked again, since one failed request would leave objects behind for ever."""
    nowhere = client.ApiClient(client.Configuration(host="http://127.0.0.1:1"))
    nowhere.rest_client.pool_manager.connection_pool_kw["retries"] = False
    owner = Owner(nowhere, ServiceAccount(namespace, "weir-operator"))
    for _ in range(2):
        with pytest.raises(OwnerUnknown, match="cannot get ServiceAccount"):
            owner.references()
    with pytest.raises(PublishFailed, match="cannot get ServiceAccount"):
        ObjectStore(api, namespace, {}, owner).write(NAME, {"a.json": b"1"}, None)
    nowhere.close()
