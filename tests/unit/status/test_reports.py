"""Reports of routers, received here and by other replicas."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from weir_operator.distribute.reports import (
    LEFT_SECONDS,
    MAX_REPORT_BYTES_TOGETHER,
    REPORT_SECONDS,
    Relay,
    Relayed,
    Reports,
    RouterId,
)
from weir_operator.kube.accounts import ServiceAccount
from weir_router.contract import BackendReport, RouterReport

ACCOUNT = ServiceAccount("weir-system", "weir-router")


def said(router: str = "r", state: str = "closed", requests: int = 0, **fields: Any) -> RouterReport:
    return RouterReport(router=router, backends={"b": BackendReport(state=state, requests=requests)}, **fields)


def relayed(router: str = "r", age: float = 0.0, state: str = "closed") -> Relayed:
    return Relayed(
        namespace=ACCOUNT.namespace, account=ACCOUNT.name, router=router, seen="e", report=said(router, state), age=age
    )


@dataclass
class At:
    now: float = 1000.0
    reports: Reports = field(init=False)

    def __post_init__(self) -> None:
        self.reports = Reports(lambda: self.now)

    def states(self) -> dict[str, str]:
        return {key.name: entry.report.backends["b"].state for key, entry in self.reports}


def test_a_report_says_something_new_when_more_than_its_figures_changed():
    reports = At().reports
    assert reports.note(ACCOUNT, "e", said())
    assert not reports.note(ACCOUNT, "e", said(requests=99))
    assert reports.note(ACCOUNT, "f", said())
    assert reports.note(ACCOUNT, "f", said(state="open"))
    assert reports.note(ACCOUNT, "f", said(state="open", revision=2))
    assert reports.note(ACCOUNT, "f", said(state="open", revision=2, rejected="x"))


def test_a_router_whose_poll_was_broken_off_is_forgotten_soon_unless_it_polls_again():
    at = At()
    for router in ("ends", "polls again"):
        at.reports.note(ACCOUNT, "e", said(router))
    at.now += 5
    for router in ("polls again", "ends", "never seen"):
        at.reports.left(ACCOUNT, router)
    at.now += 10
    at.reports.note(ACCOUNT, "e", said("polls again"))
    assert set(at.states()) == {"ends", "polls again"}
    at.now += LEFT_SECONDS - 10
    assert set(at.states()) == {"polls again"}


def test_a_follower_adds_changes_and_takes_back():
    at = At()
    assert at.reports.take(Relay(replica="f", whole=True, reports=(relayed("one"), relayed("two"))))
    assert at.reports.take(Relay(replica="f", whole=False, reports=(relayed("one", state="open"),)))
    assert at.states() == {"one": "open", "two": "closed"}
    assert at.reports.take(Relay(replica="f", whole=False, gone=(RouterId(ACCOUNT, "two"), RouterId(ACCOUNT, "none"))))
    assert at.states() == {"one": "open"}
    assert at.reports.take(Relay(replica="f", whole=True))
    assert at.states() == {}


def test_a_follower_of_whom_nothing_is_known_must_tell_all():
    at = At()
    assert not at.reports.take(Relay(replica="f", whole=False, reports=(relayed(),)))
    assert at.states() == {}


def test_what_a_follower_told_holds_as_long_as_it_is_heard_of():
    at = At()
    at.reports.take(Relay(replica="f", whole=True, reports=(relayed(),)))
    at.now += REPORT_SECONDS - 1
    assert at.reports.take(Relay(replica="f", whole=False))
    at.now += REPORT_SECONDS - 1
    assert at.states() == {"r": "closed"}
    at.now += 1
    assert at.states() == {}
    assert not at.reports.take(Relay(replica="f", whole=False))


def test_a_router_that_goes_to_another_replica_is_known_by_its_latest_poll():
    at = At()
    at.reports.take(Relay(replica="f", whole=True, reports=(relayed(age=5.0, state="open"),)))
    at.reports.note(ACCOUNT, "e", said())
    assert at.states() == {"r": "closed"}
    at.now += 10
    at.reports.take(Relay(replica="g", whole=True, reports=(relayed(age=1.0, state="ejected"),)))
    assert at.states() == {"r": "ejected"}


def test_the_reports_of_one_namespace_have_room_together_and_no_other_s_suffer():
    at = At()
    evil, half = ServiceAccount("evil", "x"), MAX_REPORT_BYTES_TOGETHER // 2
    assert [at.reports.note(evil, "e", said(it), half) for it in "abc"] == [True, True, False]
    assert at.reports.note(ServiceAccount("team-a", "x"), "e", said("ours"), 100)
    assert set(at.states()) == {"a", "b", "ours"}
    # One that grows is not kept, which is news; then there is room for another.
    assert at.reports.note(evil, "e", said("a"), half + 1)
    assert set(at.states()) == {"b", "ours"}
    assert at.reports.note(evil, "e", said("c"), half)
    at.now += REPORT_SECONDS
    assert at.reports.note(evil, "e", said("d"), MAX_REPORT_BYTES_TOGETHER)


def test_a_router_of_which_no_report_is_kept_leaves_nothing_behind():
    at = At()
    at.reports.left(ACCOUNT, "never seen")
    at.reports.note(ACCOUNT, "e", said("never seen"))
    at.now += LEFT_SECONDS
    assert set(at.states()) == {"never seen"}
