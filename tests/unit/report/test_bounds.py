"""Reports have a size that the operator reads, and one namespace cannot fill them."""

from __future__ import annotations

import msgspec
import pytest

from weir_router.contract import (
    MAX_GATEWAY_REPORT_BYTES,
    MAX_REPORT_BYTES,
    BackendReport,
    PolicyReport,
    RouteReport,
    RouterLoad,
    RouterReport,
    Waiting,
    line,
)
from weir_router.report.bounds import bounded


def size(report: RouterReport) -> int:
    return len(msgspec.json.encode(report))


def entries(namespace: str, count: int, **fields: object) -> dict[str, BackendReport]:
    values = {"state": "closed", **fields}
    return {f"{namespace}/tier/backend-{number:0100}": BackendReport(**values) for number in range(count)}  # type: ignore[arg-type]


def test_a_report_that_has_room_stays_as_it_is() -> None:
    for count in (1, 1_500):
        report = RouterReport(router="r", backends=entries("llm", count, reason="x" * 200), rejected="because")
        assert bounded(report, whole=True) == report


@pytest.mark.parametrize(("whole", "limit"), [(True, MAX_GATEWAY_REPORT_BYTES), (False, MAX_REPORT_BYTES)])
def test_the_namespace_with_most_backends_gives_up_most(whole: bool, limit: int) -> None:
    crowd, few = entries("evil", 20_000, state="open", reason="y" * 2_000), entries("llm", 10)
    report = RouterReport(
        router="r",
        backends=crowd | few,
        load=RouterLoad(
            tiers={f"evil/t{number:0200}": Waiting(depth=1) for number in range(9_000)} | {"llm/t": Waiting()}
        ),
        rejected="z" * 100_000,
    )
    found = bounded(report, whole=whole)
    assert limit * 0.9 < size(found) <= limit
    assert few.keys() <= found.backends.keys()
    assert found.load is not None
    assert "llm/t" in found.load.tiers
    assert found.rejected is not None
    assert len(found.rejected) == 1_024


def test_what_tells_most_is_kept() -> None:
    closed, busy, out = (
        entries("a", 200),
        entries("b", 1, in_flight=3) | entries("b", 0),
        {"a/tier/out": BackendReport(state="open"), "a/tier/busy": BackendReport(state="closed", in_flight=1)},
    )
    found = bounded(RouterReport(router="r", backends=closed | busy | out), whole=False)
    assert {*busy, *out} <= found.backends.keys()
    assert size(found) <= MAX_REPORT_BYTES


def test_a_policy_without_falls_gives_room_to_one_with_them() -> None:
    calm = {f"evil/{number:0200}": PolicyReport(routes={"all": RouteReport(requests=5)}) for number in range(2_000)}
    fell = {"evil/zzz": PolicyReport(routes={"all": RouteReport(requests=5, cheaper=1)})}
    ours = {"llm/calm": PolicyReport(routes={"all": RouteReport(requests=5)})}
    found = bounded(RouterReport(router="r", policies=calm | fell | ours), whole=False)
    assert {"evil/zzz", "llm/calm"} <= found.policies.keys()
    assert size(found) <= MAX_REPORT_BYTES // 3


def test_words_are_one_line() -> None:
    assert line("no\x1b[31m such\r\nmodel\u2028\u0007 `x`") == "no [31m such model `x`"
    assert line("ä" * 500) == "ä" * 99 + "…"
