"""The chart's alerts on series of samples, by a real promtool: each fires when it should and after how long, and none
fires on a healthy installation or during its rollout.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from binaries import ensure_tool

from support.helm import CHART, Helm, Object, only
from support.metrics import registered, registered_by_the_operator

FOLDER = Path(__file__).parent / "alerts"
# All as text: the samples `0x40` would be a number otherwise.
CASES = {path.stem: yaml.load(path.read_text(), yaml.BaseLoader) for path in sorted(FOLDER.glob("*.yaml"))}
"""The cases of each alert: `fires` with series, the time at which it does not fire `not_yet`, the time `after` which it
does, its `labels`, and the text that it `says`; `silent` series on which it never fires. Samples are 30 s apart.
"""

HEALTHY = "healthy"
PLACES = {
    "GATEWAY": 'namespace="llm", pod="weir-gateway-1"',
    "SIDECAR": 'namespace="team", pod="app-1", container="weir-sidecar"',
    "OPERATOR": 'namespace="llm", pod="weir-operator-1"',
}
"""Labels that Prometheus adds to the series of a pod, by their short forms in the cases."""

SCRAPED = {"namespace", "pod", "container", "exported_namespace", "le"}
MINUTES = 40
"""Minutes for which silence is tested."""


@pytest.fixture(scope="module")
def rules() -> list[Object]:
    """All alerts, as a real Helm renders them."""
    set_ = ("--set", "monitoring.prometheusRule.enabled=true")
    (group,) = only(Helm(ensure_tool("helm")).render(*set_), "PrometheusRule")["spec"]["groups"]
    found: list[Object] = group["rules"]
    return found


def promtool(*args: str) -> tuple[int, str]:
    command = [str(ensure_tool("promtool")), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def placed(series: dict[str, str]) -> list[dict[str, str]]:
    """The series as promtool takes them."""

    def name(text: str) -> str:
        return re.sub("|".join(PLACES), lambda it: PLACES[it[0]], text)

    return [{"series": name(key), "values": values} for key, values in series.items()]


def verdict(folder: Path, rules: list[Object], series: dict[str, str], expected: list[Object]) -> tuple[int, str]:
    """Exit code and output of `promtool test rules`: 0 if alerts are as expected at each of its times."""
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "weir", "rules": rules}]}))
    test = {"interval": "30s", "input_series": placed(series), "alert_rule_test": expected}
    whole = {"rule_files": ["rules.yaml"], "evaluation_interval": "30s", "tests": [test]}
    (folder / "test.yaml").write_text(yaml.safe_dump(whole))
    return promtool("test", "rules", str(folder / "test.yaml"))


def silence(names: list[str]) -> list[Object]:
    times = [f"{minute}m" for minute in range(1, MINUTES + 1)]
    return [{"eval_time": time, "alertname": name, "exp_alerts": []} for name in names for time in times]


def saying(rules: list[Object], kinds: set[str]) -> list[Object]:
    """The alerts with these kinds of annotations only: promtool compares all that an alert has."""
    return [it | {"annotations": {key: it["annotations"][key] for key in kinds}} for it in rules]


def test_promtool_takes_every_rule(rules: list[Object], tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "weir", "rules": rules}]}))
    code, said = promtool("check", "rules", "--lint=all", "--lint-fatal", str(path))
    assert code == 0, said
    assert f"{len(rules)} rules found" in said


def test_promtool_takes_every_question_of_the_dashboard(tmp_path: Path) -> None:
    panels = json.loads((CHART / "files" / "dashboards" / "weir.json").read_text())["panels"]
    asked = [it["expr"] for panel in panels for it in panel["targets"]]
    exprs = [it.replace("$__rate_interval", "5m").replace("$namespace", "a|b") for it in asked]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(exprs)]
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "weir", "rules": rules}]}))
    code, said = promtool("check", "rules", str(path))
    assert code == 0, said


def test_every_alert_has_cases_and_all_cases_have_an_alert(rules: list[Object]) -> None:
    assert sorted(it["alert"] for it in rules) == sorted(CASES.keys() - {HEALTHY})


@pytest.mark.parametrize("name", sorted(CASES.keys() - {HEALTHY}))
def test_it_fires_when_it_should_and_not_before(rules: list[Object], tmp_path: Path, name: str) -> None:
    case = CASES[name]["fires"]
    fired = {"exp_labels": case["labels"], "exp_annotations": case["says"]}
    expected = [
        {"eval_time": case["not_yet"], "alertname": name, "exp_alerts": []},
        {"eval_time": case["after"], "alertname": name, "exp_alerts": [fired]},
    ]
    code, said = verdict(tmp_path, saying(rules, case["says"].keys()), case["series"], expected)
    assert code == 0, said


SILENT = [(name, why) for name, case in CASES.items() if name != HEALTHY for why in case["silent"]]


@pytest.mark.parametrize(("name", "why"), SILENT)
def test_it_is_silent_on(rules: list[Object], tmp_path: Path, name: str, why: str) -> None:
    code, said = verdict(tmp_path, rules, CASES[name]["silent"][why], silence([name]))
    assert code == 0, said


@pytest.mark.parametrize("when", CASES[HEALTHY])
def test_no_alert_fires_on_a_healthy_installation(rules: list[Object], tmp_path: Path, when: str) -> None:
    code, said = verdict(tmp_path, rules, CASES[HEALTHY][when], silence([it["alert"] for it in rules]))
    assert code == 0, said


def asked(text: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric that a text names, with the labels that it names in braces or after `by`."""
    for name, matchers in re.findall(r"(weir_[a-z_]+)(?:\{([^}]*)\})?", text):
        yield name, set(re.findall(r'(\w+)(?:=~|!~|!=|=)\\?"', matchers))


def test_every_metric_of_an_alert_and_of_its_cases_is_there_with_its_labels(rules: list[Object]) -> None:
    known = registered() | registered_by_the_operator()
    series = [it["series"] for case in CASES.values() for it in placed(dict(all_series(case)))]
    texts = [*(str(it["expr"]) + str(it["annotations"]) for it in rules), *series]
    found = [it for text in texts for it in asked(text)]
    assert len({name for name, _ in found}) > 10
    for name, labels in found:
        metric = name.removesuffix("_bucket").removesuffix("_count")
        assert metric in known, name
        assert labels <= known[metric] | SCRAPED, name


def all_series(case: Any) -> Iterator[tuple[str, str]]:
    """Every series of a case, wherever it stands."""
    for key, value in case.items():
        if isinstance(value, dict):
            yield from all_series(value)
        elif key.startswith("weir_"):
            yield key, value
