"""Conversion of the API server's objects to the compiler's input."""

from __future__ import annotations

import base64

import pytest

from weir_operator.kube.objects import ObjectName
from weir_operator.observe import convert
from weir_operator.observe.observed import Manifest, ServiceData, SliceData

METADATA = {"name": "budget", "namespace": "llm", "generation": 3, "creationTimestamp": "2026-11-05T09:30:00Z"}


def test_a_manifest_has_its_spec_generation_and_age():
    body = {"metadata": METADATA, "spec": {"backends": []}, "status": {"backendsReady": "1/1"}}
    expected = Manifest("ModelTier", "llm", "budget", {"backends": []}, generation=3, created=1_793_871_000.0)
    assert convert.manifest("ModelTier", body) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"status": {"backendsReady": "0/1"}},
        {"metadata": METADATA | {"resourceVersion": "77", "annotations": {"a": "b"}, "labels": {"a": "b"}}},
    ],
)
def test_what_the_compiler_does_not_read_makes_no_difference(change):
    body = {"metadata": METADATA, "spec": {}}
    assert convert.manifest("ModelTier", body | change) == convert.manifest("ModelTier", body)


def test_a_manifest_knows_its_version_and_status_but_they_do_not_show():
    found = convert.manifest("ModelTier", {"metadata": METADATA | {"uid": "u", "resourceVersion": "7"}, "status": 1})
    assert (found.uid, found.version, found.status) == ("u", "7", 1)
    assert "status" not in repr(found)


def test_a_manifest_without_spec_is_left_to_the_compiler():
    assert convert.manifest("ModelTier", {"metadata": {"name": "a", "namespace": "b"}}).spec == {}


def test_a_secrets_values_are_decoded_and_do_not_show():
    secret = convert.secret({"metadata": {"name": "a"}, "data": {"api-key": "c2stMTIz", "bytes": "/w=="}})
    assert secret.data == {"api-key": b"sk-123", "bytes": b"\xff"}
    assert "sk-123" not in repr(secret)


@pytest.mark.parametrize("body", [{}, {"data": None}])
def test_a_secret_may_be_empty(body):
    assert convert.secret(body | {"metadata": {"name": "a"}}).data == {}


def test_of_a_secrets_labels_and_annotations_only_our_own_are_kept():
    """The annotation `last-applied-configuration` repeats the values."""
    foreign = {"kubectl.kubernetes.io/last-applied-configuration": '{"data": {"api-key": "c2stMTIz"}}'}
    metadata = {"name": "a", "labels": {"weir.dev/credential": "true", "app": "shop"}}
    body = {"metadata": metadata | {"annotations": foreign | {"weir.dev/user-tier": "gold"}}}
    secret = convert.secret(body)
    assert secret.labels == {"weir.dev/credential": "true"}
    assert secret.annotations == {"weir.dev/user-tier": "gold"}


@pytest.mark.parametrize(
    ("metadata", "labels"), [({"labels": {"a": "b"}}, {"a": "b"}), ({}, {}), ({"labels": None}, {})]
)
def test_labels_of_a_namespace(metadata, labels):
    assert convert.labels({"metadata": metadata}) == labels


def test_an_object_outside_of_namespaces_has_an_empty_one():
    assert convert.key({"metadata": {"name": "llm"}}) == ObjectName("", "llm")


def test_of_a_service_ports_type_and_our_own_labels_are_kept():
    ports = [{"name": "http", "port": 80, "targetPort": 8000}, {"port": 53, "protocol": "UDP"}, {"port": 90}]
    metadata = {"name": "s", "labels": {"weir.dev/backend": "true", "app": "x"}, "annotations": {"other": "y"}}
    found = convert.service({"metadata": metadata, "spec": {"type": "ClusterIP", "ports": ports}})
    assert found == ServiceData({"weir.dev/backend": "true"}, {}, external=False, ports={80: "http", 90: ""})
    assert convert.service({"metadata": {"name": "s"}, "spec": {"type": "ExternalName"}}).external


@pytest.mark.parametrize(
    ("conditions", "ready", "serving"),
    [
        ({}, True, False),
        ({"ready": None}, True, False),
        ({"ready": True, "serving": True, "terminating": False}, True, False),
        ({"ready": False, "serving": False}, False, False),
        ({"ready": False, "serving": True, "terminating": True}, False, True),
        ({"ready": False, "serving": False, "terminating": True}, False, False),
        ({"ready": False, "serving": True, "terminating": False}, False, False),
    ],
)
def test_which_endpoints_take_requests(conditions, ready, serving):
    body = {
        "metadata": {"name": "s-1", "labels": {"kubernetes.io/service-name": "s"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": conditions}],
        "ports": [{"name": "http", "port": 8000}, {"name": "none", "port": None}],
    }
    one = ("10.0.0.1",)
    assert convert.endpoint_slice(body) == SliceData("s", {"http": 8000}, one * ready, one * serving)
    assert convert.endpoint_slice(body | {"addressType": "FQDN"}).ready == ()


def test_a_slice_without_endpoints_ports_or_a_service_is_one():
    assert convert.endpoint_slice({"metadata": {"name": "s"}, "endpoints": None, "ports": None}) == SliceData("")


def a_secret(label: str, **values: bytes):
    data = {name: base64.b64encode(value).decode() for name, value in values.items()}
    return convert.secret({"metadata": {"labels": {label: "true"}}, "data": data})


def test_of_a_secret_only_values_are_kept_that_can_be_credentials():
    many = {f"k{it}": b"x" * 7_000 for it in range(100)}
    found = a_secret(
        "weir.dev/credential", key=b"sk-1\n", longest=b"s" * 8192 + b"\r\n", blob=b"x" * 900_000, **many
    ).data
    assert (found["key"], len(found["blob"])) == (b"sk-1", 8193)
    assert sum({id(it): len(it) for it in found.values()}.values()) < 80_000
    assert found.keys() == {"key", "longest", "blob", *many}  # a missing one would be reported as missing
    assert a_secret("weir.dev/credential", longest=b"s" * 8192 + b"\r\n").data == {"longest": b"s" * 8192}


def test_of_an_api_key_only_the_hash_is_kept():
    assert a_secret("weir.dev/api-key", sha256=b"ab" * 32, more=b"x" * 900_000).data == {"sha256": b"ab" * 32}
