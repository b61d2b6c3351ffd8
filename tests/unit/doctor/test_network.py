"""Ports that all pods can reach, by NetworkPolicies."""

from __future__ import annotations

from typing import Any

import pytest

from weir_cli.doctor.network import left_open

ALL = {"namespaceSelector": {}}
ONE = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
SOME = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": "b"}}}
CLOSED = {"policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": "http"}], "from": [ALL]}]}
METRICS = "metrics and state (9090) of the gateway"


def gateway(*ingress: dict[str, Any]) -> tuple[str, ...]:
    return left_open({"operator": CLOSED, "gateway": {"ingress": list(ingress)}})


def test_a_component_without_a_policy_is_open():
    assert left_open({}) == tuple(
        f"all ports of the {it}, which has no NetworkPolicy" for it in ("operator", "gateway")
    )


def test_the_port_of_callers_may_be_open():
    assert left_open({"operator": CLOSED, "gateway": CLOSED}) == ()
    assert left_open({"operator": {}, "gateway": {"ingress": None}}) == ()


@pytest.mark.parametrize(
    ("peers", "is_open"), [([ALL], True), ([ONE, ALL], True), ([], True), (None, True), ([ONE], False), ([SOME], False)]
)
def test_metrics_for_every_pod_are_open(peers: list[Any] | None, is_open: bool):
    rule = {"ports": [{"port": "metrics", "protocol": "TCP"}], **({} if peers is None else {"from": peers})}
    assert gateway(rule) == ((METRICS,) if is_open else ())


def test_a_rule_without_ports_is_for_all_of_them():
    assert gateway({"from": [ALL]}) == (METRICS, "the config server (8443) of the gateway")
