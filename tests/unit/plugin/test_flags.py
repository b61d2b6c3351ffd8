"""kubectl's connection flags: one definition, given to kubectl as they came."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path

import pytest

from weir_cli.app import IN_CLUSTERS
from weir_cli.cluster.flags import Connection
from weir_cli.explain.command import explain


def test_flags_are_given_to_kubectl_as_they_came():
    connection = Connection(
        kubeconfig=Path("/k"),
        context="prod",
        as_user="eve",
        as_group=["a", "b"],
        insecure_skip_tls_verify=True,
        request_timeout="5s",
    )
    assert connection.as_flags() == [
        "--kubeconfig=/k",
        "--context=prod",
        "--as=eve",
        "--as-group=a",
        "--as-group=b",
        "--insecure-skip-tls-verify=true",
        "--request-timeout=5s",
    ]
    assert (Connection().as_flags(), Connection().given, connection.given) == ([], False, True)


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5), ("1m", 60), ("250ms", 0.25), ("10", 10), ("0", 0), (None, None)]
)
def test_a_request_s_time_is_read_as_by_kubectl(text: str | None, seconds: float | None):
    assert Connection(request_timeout=text).timeout_seconds == seconds


@pytest.mark.parametrize("command", [*IN_CLUSTERS, explain], ids=lambda it: it.__name__)
def test_every_command_that_asks_a_cluster_has_every_flag(command):
    assert {it.name for it in fields(Connection)} <= inspect.signature(command).parameters.keys()
