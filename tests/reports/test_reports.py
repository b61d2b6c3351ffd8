"""Each situation of `situations/` ends as it should, for callers who ask for a plain answer and for a stream."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
import pytest
import yaml

from reports.report import Play, Report, unlike
from support.scripted import router, upstream

FILES = sorted((Path(__file__).parent / "situations").glob("*.yaml"))
REPORTS = {file.stem: msgspec.convert(yaml.safe_load(file.read_text()), Report) for file in FILES}


@pytest.mark.parametrize(("name", "way"), [(name, way) for name, report in REPORTS.items() for way in report.ways])
async def test_a_reported_situation_ends_well(name: str, way: str, tmp_path: Path) -> None:
    report = REPORTS[name]
    play = Play(report)
    async with contextlib.AsyncExitStack() as stack:
        places = range(len(report.upstreams))
        urls = [await stack.enter_async_context(upstream(play.upstream(place))) for place in places]
        url = await stack.enter_async_context(router(tmp_path, play.manifests(urls)))
        for number, step in enumerate(report.steps):
            wrong = await play.step(step, url, way)
            assert wrong == [], f"step {number} of {report.source}: {report.saw}"


@pytest.mark.parametrize(
    ("wanted", "seen", "wrong"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, []),
        ({"a": {"matches": "^x"}}, {"a": "xy"}, []),
        ({"a": {"matches": "^y"}}, {"a": "xy"}, ["it.a: 'xy' does not match ^y"]),
        ({"a": 1}, {"b": 1}, ["it.a: None instead of 1"]),
        ([1, {"a": 2}], [1, {"a": 3}], ["it.1.a: 3 instead of 2"]),
        ([1], [1, 2], ["it: [1, 2] instead of [1]"]),
    ],
)
def test_what_is_not_as_wanted_is_named(wanted: object, seen: object, wrong: list[str]) -> None:
    assert unlike("it", wanted, seen) == wrong


async def test_a_report_that_does_not_hold_names_each_difference(tmp_path: Path) -> None:
    report = REPORTS["refused-by-the-first-model-only"]
    wanted = msgspec.structs.replace(report.steps[0].wanted, tried=[0], unsent=["tools"])
    play = Play(report)
    async with (
        upstream(play.upstream(0)) as first,
        upstream(play.upstream(1)) as second,
        router(tmp_path, play.manifests([first, second])) as url,
    ):
        wrong = await play.step(msgspec.structs.replace(report.steps[0], wanted=wanted), url, "plain")
    assert wrong == ["sent: tools is there", "tried: [0, 1] instead of [0]"]
