"""Each alert has a runbook of one screen, which names only metrics and commands that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_group

from support.metrics import registered, registered_by_the_operator
from weir_cli.app import app

ROOT = Path(__file__).parents[2]
RULES = ROOT / "helm" / "weir" / "templates" / "monitoring" / "prometheusrule.yaml"
PAGES = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
PARTS = ["Callers notice", "Look first", "Usual causes", "Mend", "Silence"]
SCREEN = 55
"""Lines of a page that fit on one screen beside a terminal."""


def test_each_alert_has_its_page_and_each_page_its_alert() -> None:
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    assert len(alerts) > 15
    assert sorted(alerts) == [it.stem for it in PAGES]


def test_each_alert_leads_to_its_own_page() -> None:
    rules = re.findall(r"- alert: (\w+)\n.*?runbook_url: (\S+ \S+ \S+)\n", RULES.read_text(), re.DOTALL)
    assert [url for _, url in rules] == [f"{{{{ $runbooks }}}}/{name}.md" for name, _ in rules]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_has_all_its_parts_on_one_screen(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(f"# {path.stem}\n\nFires when ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == PARTS
    assert len(text.splitlines()) <= SCREEN
    first = text.partition("## Look first")[2].partition("## ")[0]
    assert re.search(r"^kubectl ", first, re.MULTILINE), "no command to look at first"
    assert f"amtool silence add alertname={path.stem}" in text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_command_shows_what_a_secret_holds(path: Path) -> None:
    """A private key or a provider's key would be in the terminal, and soon in a chat."""
    for line in path.read_text().splitlines():
        shows = re.match(r"kubectl get \S*secrets? .*--output (yaml|json)\b(?!path)", line)
        assert not shows or "| grep" in line, line


PROSE = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.stem)
def test_no_command_keeps_values_in_the_way_that_a_newer_chart_refuses(path: Path) -> None:
    """`--reuse-values` keeps old defaults and has no new ones, which fails at the worst time (docs/install.md)."""
    for line in path.read_text().splitlines():
        assert not re.search(r"helm .* --reuse-values", line), line


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_names_only_metrics_labels_and_commands_that_are_there(path: Path) -> None:
    text = path.read_text()
    known = registered() | registered_by_the_operator()
    for name, matchers in re.findall(r"\b(weir_[a-z_]+)(?:\{([^}]*)\})?", text):
        metric = name.removesuffix("_bucket")
        assert metric in known, name
        assert set(re.findall(r'(\w+)(?:=~|!=|=)"', matchers)) <= known[metric], name
    for command in re.findall(r"kubectl weir (\w[\w-]*)", text):
        assert command in get_group(app).commands  # type: ignore[attr-defined]
