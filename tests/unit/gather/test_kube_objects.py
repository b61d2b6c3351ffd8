"""Objects as the API server sends them become what the compiler takes."""

from __future__ import annotations

import pytest

from weir_operator import kube_objects
from weir_operator.observed import Manifest, ObjectName

METADATA = {"name": "budget", "namespace": "llm", "generation": 3, "creationTimestamp": "2026-11-05T09:30:00Z"}


def test_a_manifest_has_its_spec_generation_and_age():
    body = {"metadata": METADATA, "spec": {"backends": []}, "status": {"backendsReady": "1/1"}}
    expected = Manifest("ModelTier", "llm", "budget", {"backends": []}, generation=3, created=1_793_871_000.0)
    assert kube_objects.manifest("ModelTier", body) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"status": {"backendsReady": "0/1"}},
        {"metadata": METADATA | {"resourceVersion": "77", "annotations": {"a": "b"}, "labels": {"a": "b"}}},
    ],
)
def test_what_the_compiler_does_not_read_makes_no_difference(change):
    body = {"metadata": METADATA, "spec": {}}
    assert kube_objects.manifest("ModelTier", body | change) == kube_objects.manifest("ModelTier", body)


def test_a_manifest_knows_its_version_and_status_but_they_do_not_show():
    found = kube_objects.manifest(
        "ModelTier", {"metadata": METADATA | {"uid": "u", "resourceVersion": "7"}, "status": 1}
    )
    assert (found.uid, found.version, found.status) == ("u", "7", 1)
    assert "status" not in repr(found)


def test_a_manifest_without_spec_is_left_to_the_compiler():
    assert kube_objects.manifest("ModelTier", {"metadata": {"name": "a", "namespace": "b"}}).spec == {}


def test_a_secrets_values_are_decoded_and_do_not_show():
    secret = kube_objects.secret({"metadata": {"name": "a"}, "data": {"api-key": "c2stMTIz", "bytes": "/w=="}})
    assert secret.data == {"api-key": b"sk-123", "bytes": b"\xff"}
    assert "sk-123" not in repr(secret)


@pytest.mark.parametrize("body", [{}, {"data": None}])
def test_a_secret_may_be_empty(body):
    assert kube_objects.secret(body | {"metadata": {"name": "a"}}).data == {}


def test_of_a_secrets_labels_and_annotations_only_our_own_are_kept():
    """`last-applied-configuration` holds the values once more."""
    foreign = {"kubectl.kubernetes.io/last-applied-configuration": '{"data": {"api-key": "c2stMTIz"}}'}
    metadata = {"name": "a", "labels": {"weir.dev/credential": "true", "app": "shop"}}
    body = {"metadata": metadata | {"annotations": foreign | {"weir.dev/user-tier": "gold"}}}
    secret = kube_objects.secret(body)
    assert secret.labels == {"weir.dev/credential": "true"}
    assert secret.annotations == {"weir.dev/user-tier": "gold"}


@pytest.mark.parametrize(
    ("metadata", "labels"), [({"labels": {"a": "b"}}, {"a": "b"}), ({}, {}), ({"labels": None}, {})]
)
def test_labels_of_a_namespace(metadata, labels):
    assert kube_objects.labels({"metadata": metadata}) == labels


def test_an_object_outside_of_namespaces_has_an_empty_one():
    assert kube_objects.key({"metadata": {"name": "llm"}}) == ObjectName("", "llm")
