"""docs/autoscaling.md and the code name the same things and the same numbers."""

import re
from pathlib import Path

import yaml

from weir_operator.distribute import autoscaling, relay
from weir_operator.distribute.load import TierFigures
from weir_operator.identity.trust import autoscaling_audience
from weir_router.report import rates, report

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "autoscaling.md").read_text()
VALUES = yaml.safe_load((ROOT / "helm" / "weir" / "values.yaml").read_text())


def rows(heading: str) -> dict[str, list[str]]:
    text = re.split(r"\n##+ ", PAGE.partition(f" {heading}\n")[2])[0]
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {name: cells for names, *cells in lines for name in re.findall(r"`([^`]+)`", names)}


def test_every_constant_has_its_value():
    told = {name: cells[0] for name, cells in rows("Knobs").items()}
    least = report.LEAST
    assert told == {
        "LOAD_CHECK_SECONDS": f"{report.LOAD_CHECK_SECONDS:g} s",
        "SHARE": f"{report.SHARE:.0%}".replace("%", " %"),
        "LEAST": f"{least['requests']:g} requests, {least['seconds']:g} s, {least['tokens']:g} tokens/s",
        "MEMORY_SECONDS": f"{rates.MEMORY_SECONDS:g} s",
        "RELAY_SECONDS": f"{relay.RELAY_SECONDS:g} s",
        "SETTLED_SECONDS": f"{autoscaling.SETTLED_SECONDS:g} s",
    }


def test_the_table_of_figures_has_every_field():
    told = set(rows("The endpoint"))
    fields = set(TierFigures.__struct_encode_fields__) - {"backends"}
    assert fields <= told


def test_the_charts_defaults_are_those_of_the_page():
    scaling = VALUES["gateway"]["autoscaling"]
    told = {name.rpartition(".")[2]: cells[0] for name, cells in rows("The gateway").items()}
    assert told["minReplicas"] == str(scaling["minReplicas"])
    assert told["maxReplicas"] == str(scaling["maxReplicas"])
    assert told["targetCPUUtilization"] == f"{scaling['targetCPUUtilization']} % of the request"
    assert told["targetDemand"] == f"{scaling['keda']['targetDemand']:,} per router"
    assert told["pollingInterval"] == f"{scaling['keda']['pollingInterval']} s"


def test_the_examples_ask_where_the_endpoint_is_with_its_audience():
    text = "".join(path.read_text() for path in sorted((ROOT / "examples" / "autoscaling" / "keda").glob("*.yaml")))
    urls = re.findall(r"url: https://[^/]+(/\S+)", text)
    assert sorted(urls) == [f"{autoscaling.PREFIX}/gateway", f"{autoscaling.PREFIX}/tiers/llm/self-hosted"]
    assert text.count(f'"{autoscaling_audience("weir")}"') == 2
