"""Reports of routers, received here and by other replicas."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from weir_operator.distribute.reports import (
    LEFT_SECONDS,
    MAX_REPORT_BYTES_TOGETHER,
    MAX_REQUESTS,
    REPORT_SECONDS,
    Relay,
    Relayed,
    Reports,
    RouterId,
    believable,
)
from weir_operator.kinds.routingpolicy.health import elsewhere
from weir_operator.kube.accounts import ServiceAccount
from weir_operator.status.figures import figure
from weir_router.contract import BackendReport, PolicyReport, RouteReport, RouterReport

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


def test_a_report_is_news_when_a_backend_begins_to_fail_or_a_policy_to_fall() -> None:
    reports = At().reports
    reports.note(ACCOUNT, "e", said())
    for news, failing in ((False, 1), (False, 2), (True, 3), (False, 4), (True, 0)):
        backends = {"b": BackendReport(state="closed", failing=failing, words="server" if failing else "")}
        assert reports.note(ACCOUNT, "e", RouterReport(router="r", backends=backends)) == news, failing
    for news, cheaper in ((False, 0), (True, 1), (False, 2), (True, 0)):
        policies = {"a/p": PolicyReport(routes={"all": RouteReport(requests=9, cheaper=cheaper)})}
        assert reports.note(ACCOUNT, "e", replace(said(), policies=policies)) == news, cheaper


def test_a_router_speaks_of_the_policies_of_its_own_namespace_in_counts_that_can_be() -> None:
    lie = {"all": RouteReport(requests=5, cheaper=-1, dearer=9, unserved=3)}
    policies = {key: PolicyReport(routes=lie) for key in ("a/p", "ab/p", "b/p")}
    words = "key\x1b[2J\n\n" + "x" * 9_000
    backends = {"a/t/b": BackendReport(state="closed", failing=10**12, words=words)}
    report = RouterReport(router="r", backends=backends, policies=policies)
    found = believable(report, "a")
    assert found.policies == {"a/p": PolicyReport(routes={"all": RouteReport(requests=5, dearer=5)})}
    it = found.backends["a/t/b"]
    assert (it.failing, it.words.startswith("key [2J xxx"), len(it.words)) == (1_000, True, 100)
    assert believable(report, None).policies.keys() == policies.keys()
    reason = RouterReport(router="r", backends={"a/t/b": BackendReport(state="open", reason=words)})
    assert believable(reason, "a").backends["a/t/b"].reason == it.words
    honest = RouterReport(router="r", backends={"a/t/b": BackendReport(state="open")})
    assert believable(honest, "a") is honest


@pytest.mark.parametrize("digits", [18, 25, 400, 4_000])
def test_a_number_that_is_too_large_for_a_share_stops_no_status(digits: int) -> None:
    count = 10**digits
    lie = RouteReport(requests=count, cheaper=count // 2, dearer=-count, unserved=count)
    report = RouterReport(router="r", policies={"a/p": PolicyReport(routes={"all": lie})})
    for namespace in ("a", None):
        (it,) = believable(report, namespace).policies["a/p"].routes.values()
        assert elsewhere([it], None) == "100 % cheaper"
        assert figure(it.requests) == str(MAX_REQUESTS)


def test_reports_of_routers_of_another_version_are_read() -> None:
    older = b'{"router":"r","backends":{"a/t/b":{"state":"closed","requests":3}}}'
    it = msgspec.json.decode(older, type=RouterReport)
    assert (it.policies, it.backends["a/t/b"].tried, it.backends["a/t/b"].failing) == ({}, True, 0)
    newer = b'{"router":"r","backends":{"a/t/b":{"state":"closed","mood":"bad"}},"weather":{}}'
    assert msgspec.json.decode(newer, type=RouterReport).backends.keys() == {"a/t/b"}
