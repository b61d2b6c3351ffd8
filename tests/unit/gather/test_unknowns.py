"""Meaning and remedy of an error of the API client, and the time to the next try."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kubernetes.client import ApiException
from urllib3.exceptions import ProtocolError

from weir_operator.kube import informers
from weir_operator.kube.informers import RETRY_FIRST, RETRY_MAX, backoff
from weir_operator.kube.unknowns import TEXT_CHARS, Resource, UnknownReason, explain
from weir_operator.observe.gather import NAMESPACES

TIERS = Resource("ModelTier", "weir.dev", "v1alpha1", "modeltiers")
SECRETS = Resource("Secret", "", "v1", "secrets")
DOCS = Path(__file__).parents[3] / "docs"
REASONS = (DOCS / "operator.md").read_text().split("### Reading the cluster")[1].split("\n##")[0]
GATHERING = (DOCS / "internals" / "control-plane.md").read_text().split("\n## Gathering")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("resource", "error", "reason"),
    [
        (TIERS, ApiException(status=403), UnknownReason.FORBIDDEN),
        (NAMESPACES, ApiException(status=403), UnknownReason.NAMESPACES_NOT_READABLE),
        (TIERS, ApiException(status=404), UnknownReason.CRD_ABSENT),
        (SECRETS, ApiException(status=404), UnknownReason.UNAVAILABLE),
        (TIERS, ApiException(status=401), UnknownReason.UNAUTHENTICATED),
        (TIERS, ApiException(status=503), UnknownReason.UNAVAILABLE),
        (TIERS, ProtocolError("cut"), UnknownReason.UNAVAILABLE),
        (TIERS, ValueError("?"), UnknownReason.UNAVAILABLE),
    ],
)
def test_the_reason_of_an_error(resource, error, reason):
    assert explain(resource, None, error).reason is reason


def test_a_missing_right_is_told_in_the_api_servers_words_with_the_rule_to_add():
    error = ApiException(status=403)
    error.body = '{"kind": "Status", "message": "secrets is forbidden: User \\"x\\" cannot list resource"}'
    unknown = explain(SECRETS, "llm", error)
    assert str(unknown) == (
        'Secret in llm unknown (Forbidden): secrets is forbidden: User "x" cannot list resource. '
        "Add to the operator's Role in namespace llm: "
        '{apiGroups: [""], resources: ["secrets"], verbs: ["list", "watch"]}.'
    )


def test_in_the_whole_cluster_the_rule_belongs_into_a_cluster_role():
    assert "ClusterRole: {" in explain(TIERS, None, ApiException(status=403)).action


@pytest.mark.parametrize("body", [None, "", "404 page not found", "[]", "{}", '{"message": 5}'])
def test_an_error_without_the_api_servers_words_has_its_status(body):
    error = ApiException(status=500, reason="Internal Server Error")
    error.body = body
    assert "500 Internal Server Error" in explain(SECRETS, None, error).message


def test_an_error_that_may_quote_what_was_read_is_told_by_its_type_alone():
    assert explain(SECRETS, None, ValueError("sk-123")).message == "secrets cannot be listed or watched: ValueError"


def test_a_long_message_is_cut():
    assert len(explain(SECRETS, None, OSError("x" * 10_000)).message) < TEXT_CHARS + 50


def test_tries_are_ever_further_apart_up_to_a_limit():
    assert [backoff(failures, 0.0) for failures in (1, 2, 3, 4, 5, 1000)] == [0.5, 1, 2, 4, 5, 5]


@pytest.mark.parametrize("failures", [1, 2, 30])
def test_tries_of_several_kinds_spread(failures):
    assert backoff(failures, 0.999) > 1.99 * backoff(failures, 0.0)
    assert RETRY_FIRST / 2 <= backoff(failures, 0.5) <= RETRY_MAX


def test_every_reason_is_documented_and_none_that_does_not_exist():
    assert re.findall(r"^\| `(\w+)` \|", REASONS, re.MULTILINE) == list(UnknownReason)


def test_knobs_are_documented_with_their_values():
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([\d.]+) s?", GATHERING, re.MULTILINE)
    assert {name: float(value) for name, value in rows} == {
        name: value for name, value in vars(informers).items() if name.isupper() and isinstance(value, int | float)
    }
