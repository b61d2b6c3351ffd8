"""docs/status.md and the pages about the operator's inside: every reason, state and figure is the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from weir_operator.distribute import connections, leader, refusals, relay, reviews, server
from weir_operator.kinds import KINDS
from weir_operator.kinds.modeltier.states import CoarseState
from weir_operator.kube import token_reviews
from weir_operator.problems.problem import ConditionType
from weir_operator.publish import authority, certificate
from weir_operator.status import changes, reporter, rollout, teller, writer
from weir_operator.status.conditions import StatusReason

DOCS = Path(__file__).parents[2] / "docs"
STATUS, *INTERNALS = (
    (DOCS / f"{name}.md").read_text() for name in ("status", "internals/control-plane", "internals/delivery")
)
PAGES = "".join([STATUS, *INTERNALS])

KNOBS = {
    "`SETTLE_SECONDS`": f"{reporter.SETTLE_SECONDS:g} s",
    "`CALM_SECONDS`": f"{reporter.CALM_SECONDS:g} s",
    "`STATUS_CHECK_SECONDS`": f"{reporter.STATUS_CHECK_SECONDS:g} s",
    "`LATE_SECONDS`": f"{rollout.LATE_SECONDS:g} s",
    "`SETTLED_SECONDS`": f"{rollout.SETTLED_SECONDS:g} s",
    "`QUIET_SECONDS`": f"{changes.QUIET_SECONDS:g} s",
    "`WRITERS`": f"{writer.WRITERS}",
    "`WRITES_PER_SECOND`": f"{writer.WRITES_PER_SECOND:g}",
    "`RETRY_SECONDS`": f"{writer.RETRY_SECONDS:g} s",
    "`STALE_SECONDS`": f"{writer.STALE_SECONDS:g} s",
    "`EVENT_SECONDS`": f"{teller.EVENT_SECONDS:g} s",
    "`AUTHORITY_VALID`": f"{authority.AUTHORITY_VALID.days} days",
    "`CERTIFICATE_VALID`": f"{authority.CERTIFICATE_VALID.days} days",
    "`RENEW_AT`": "two thirds" if authority.RENEW_AT == 2 / 3 else "?",
    "`SPREAD`": f"{authority.SPREAD.seconds // 3600} h",
    "`URGENT`": f"{authority.URGENT.days} days",
    "`SKEW`": f"{authority.SKEW.seconds // 60} min",
    "`CHECK_SECONDS`": f"{certificate.CHECK_SECONDS:g} s",
    "`RELAY_SECONDS`": f"{relay.RELAY_SECONDS:g} s",
    "`HEARTBEAT_SECONDS`": f"{relay.HEARTBEAT_SECONDS:g} s",
    "`ANSWER_SECONDS`": f"{leader.ANSWER_SECONDS:g} s",
    "`MAX_RELAY_BYTES`": f"{server.MAX_RELAY_BYTES >> 20} MiB",
    "`TLS_BUFFER`": f"{connections.TLS_BUFFER >> 10} KiB",
    "`ACCEPTED_SECONDS`, `RENEW_SECONDS`": f"{reviews.ACCEPTED_SECONDS:g} s, {reviews.RENEW_SECONDS:g} s",
    "`OTHERS_AT_ONCE`, `OWN_AT_ONCE`, `REVIEW_SECONDS`": (
        f"{reviews.OTHERS_AT_ONCE}, {reviews.OWN_AT_ONCE}, {token_reviews.REVIEW_SECONDS:g} s"
    ),
    "`WAITING_MAX`": f"{reviews.WAITING_MAX}",
    "`STRANGERS_MAX`, `STRANGER_SECONDS`": f"{connections.STRANGERS_MAX:,}, {connections.STRANGER_SECONDS} s",
    "`NAMESPACE_MAX`": f"{connections.NAMESPACE_MAX:,}",
    "`BODY_SECONDS`": f"{refusals.BODY_SECONDS:g} s",
}


@pytest.mark.parametrize(("knob", "value"), KNOBS.items())
def test_a_knob_has_the_value_that_the_page_says(knob: str, value: str):
    assert f"| {knob} | {value} |" in PAGES


def section(heading: str) -> str:
    return STATUS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def first_cells(heading: str) -> set[str]:
    lines = [line for line in section(heading).splitlines() if line.startswith("| `")]
    return {name for line in lines for name in re.findall(r"`([^`]+)`", line.split("|")[1])}


def test_every_reason_is_told_and_no_other():
    good = {it.reason for kind in KINDS for it in kind.judge.good.values()}
    assert first_cells("Reasons") == good | {str(it) for it in StatusReason}


def test_every_condition_is_told():
    of_kinds = {name for kind in KINDS for name in kind.judge.good}
    assert first_cells("Conditions") == of_kinds | {str(it) for it in ConditionType}


def test_every_state_and_field_is_told():
    assert all(f"`{state}`" in section("Fields") for state in CoarseState)
    names = {name for kind in KINDS for name in kind.status.model_json_schema(by_alias=True)["properties"]}
    told = {name.partition("[")[0] for name in first_cells("Fields")}
    assert names - {"observedGeneration", "conditions"} == told
