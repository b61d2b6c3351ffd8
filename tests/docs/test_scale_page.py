"""docs/scale.md: its knobs are the code's, its table follows from its formulas, its figures are those of a file."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

import pytest

from weir_cli.operator import command as operator_command
from weir_operator.compile import room
from weir_operator.distribute import connections, offers, reviews
from weir_operator.lead import routers
from weir_operator.run import reconciler
from weir_operator.status import writer
from weir_router.config import longpoll
from weir_router.run import process

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "internals" / "scale.md").read_text()
RESULTS = json.loads(
    (ROOT / re.search(r"\((?:\.\./)+(bench/results/control-plane-[\d-]+\.json)\)", PAGE)[1]).read_text()
)


def ms(seconds: float) -> str:
    return f"{seconds * 1000:g} ms"


KNOBS = {
    "`CALM_SECONDS`, `CALM_MOST` (`reconciler.py`)": f"{ms(reconciler.CALM_SECONDS)}, {ms(reconciler.CALM_MOST)}",
    "`SHARDS` (`room.py`)": f"{room.SHARDS}",
    "`EARLIER` (`offers.py`)": f"{offers.EARLIER}",
    "`COUNT_SECONDS` (`lead/routers.py`)": f"{routers.COUNT_SECONDS:g} s",
    "`SWITCH_SECONDS` (`operator/command.py`)": ms(operator_command.SWITCH_SECONDS),
    "`COLLECTOR_THRESHOLDS` (`process.py`)": ", ".join(f"{it:,}" for it in process.COLLECTOR_THRESHOLDS),
    "`WAIT` (`longpoll.py`)": f"{longpoll.WAIT} s",
    "`ACCEPTED_SECONDS`, `ACCEPTED_MAX` (`reviews.py`)": f"{reviews.ACCEPTED_SECONDS:g} s, {reviews.ACCEPTED_MAX:,}",
    "`OTHERS_AT_ONCE` (`reviews.py`)": f"{reviews.OTHERS_AT_ONCE}",
    "`TLS_BUFFER` (`connections.py`)": f"{connections.TLS_BUFFER >> 10} KiB",
    "`WRITES_PER_SECOND`, `WRITERS` (`writer.py`)": f"{writer.WRITES_PER_SECOND:g}, {writer.WRITERS}",
    "`RETRY_FIRST`, `RETRY_MAX` (`longpoll.py`)": f"{longpoll.RETRY_FIRST:g} s, {longpoll.RETRY_MAX:g} s",
}


@pytest.mark.parametrize(("knob", "value"), KNOBS.items())
def test_a_knob_has_the_value_that_the_page_says(knob: str, value: str):
    assert f"| {knob} | {value} |" in PAGE


def test_no_knob_is_told_that_is_not_looked_at_here():
    assert set(re.findall(r"^\| (`[A-Z_]+`[^|]*\([^|]*\)) \|", PAGE, re.MULTILINE)) == KNOBS.keys()


def test_the_figures_are_those_of_the_file_that_the_page_names():
    cuts = statistics.quantiles(RESULTS["seconds"], n=100, method="inclusive")
    for figure in (
        f"{cuts[49] * 1000:.0f} ms",
        f"{cuts[98] * 1000:.0f} ms",
        f"{RESULTS['first_compile_ms']:.0f} ms",
        f"{RESULTS['bytes_per_change']:,.0f} bytes",
        f"{RESULTS['largest_object']:,} bytes",
        f"{RESULTS['operator_mib']:.0f} MiB",
        f"{RESULTS['idle_requests']:.1f} / min",
    ):
        assert figure in PAGE, figure


POLL, CONNECT, REVIEW, ROUTER, VIEW, WAKE = 0.23, 1.5, 1.1, 1.4, 0.15, 0.0043
"""Milliseconds of CPU per operation, as on the page."""


@pytest.mark.parametrize(
    ("column", "routers", "gateway", "namespaces"), [(1, 100, 100, 0), (2, 1_000, 10, 100), (3, 10_000, 20, 1_000)]
)
def test_the_table_of_the_model_follows_from_its_formulas(column: int, routers: int, gateway: int, namespaces: int):
    rows = [line.strip("| ").split(" | ") for line in PAGE.partition("On processors that other")[2].splitlines()]
    told = {cells[0]: cells[column] for cells in rows if len(cells) == 4}

    def about(row: str, expected: float, share: float = 0.15) -> None:
        value = float(re.match(r"[\d.,]+", told[row])[0].replace(",", ""))
        assert value == pytest.approx(expected, rel=share), row

    about("CPU while nothing changes", (15 + routers / 50 * POLL + routers * 1.2 / 60 * REVIEW) / 10, 0.25)
    about("CPU per change", 150 + gateway * ROUTER + namespaces * VIEW + routers * WAKE)
    about("memory of a replica, of 2", 130 + 1_200 * 0.2 + routers / 2 * 45.9 / 1024)
    about("TokenReviews", routers * 1.2)
    about("after one of two replicas has gone", routers / 2 * (CONNECT + REVIEW) / 1000, 0.25)
