"""Output of `weir override`, and combinations of its arguments."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from weir_cli.app import app
from weir_cli.breakglass.override import BY, REASON, record, told

UNTIL = "2026-11-25T12:00:00Z"
NOW = 1_795_608_000.0 - 5_400  # an hour and a half before


def body(**annotations: str) -> dict[str, Any]:
    override = {"tier": {"name": "premium"}, "until": UNTIL}
    return {"metadata": {"namespace": "team-a", "annotations": annotations}, "spec": {"override": override}}


def test_an_override_that_holds_says_where_until_when_by_whom_and_why():
    found = record("team-a/auto", body(**{BY: "alice", REASON: "outage"}), NOW)
    assert found["override"]["tier"] == "team-a/premium"
    assert told(found, NOW) == (
        f"team-a/auto: everything goes to team-a/premium until {UNTIL} (1 h 30 min left), by alice: outage"
    )


def test_one_that_has_ended_does_nothing_and_says_so():
    found = record("team-a/auto", body(), NOW + 6_000)
    assert found["override"]["holds"] is False
    assert told(found, NOW + 6_000) == (
        f"team-a/auto: its routes decide; an override to team-a/premium ended at {UNTIL}"
    )


def test_without_one_its_routes_decide():
    found = record("team-a/auto", {"metadata": {"namespace": "team-a"}, "spec": {}}, NOW)
    assert (found["override"], told(found, NOW)) == (None, "team-a/auto: no override, its routes decide")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--tier", "llm/premium"], "begins with --tier and --for, both"),
        (["--for", "2h"], "begins with --tier and --for, both"),
        (["--tier", "llm/premium", "--for", "2h", "--end"], "ends with --end"),
        (["--tier", "llm/premium", "--for", "tomorrow"], "is not a duration such as 30m or 2h"),
        (["--tier", "llm/premium", "--for", "0s"], "is not a duration"),
        (["--tier", "llm/premium", "--for", "169h"], "at most 168h"),
        (["--tier", "llm/premium/one", "--for", "2h"], "is neither NAME nor NAMESPACE/NAME of a ModelTier"),
    ],
)
def test_arguments_that_make_no_sense_are_exit_2_before_a_cluster_is_asked(options: list[str], says: str):
    done = CliRunner(env={"COLUMNS": "250"}).invoke(app, ["override", "team-a/auto", *options])
    assert (done.exit_code, says in done.stderr) == (2, True)
