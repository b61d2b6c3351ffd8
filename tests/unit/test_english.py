"""hack/english finds passages that are not plain English, and lets plain ones pass."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "hack" / "english"


def load() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("english", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("english", loader))
    loader.exec_module(module)
    return module


@pytest.fixture
def found(tmp_path, monkeypatch):
    """A function: the lines and rules found in a file of this name and text."""
    english = load()
    monkeypatch.setattr(english, "ROOT", tmp_path)

    def look(name: str, text: str) -> list[tuple[int, str]]:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return sorted((it.line, it.rule) for it in english.findings(file))

    return look


@pytest.mark.parametrize(
    "docstring",
    [
        "Between two looks.",
        "Of each class, together 1.",
        "What serves a request.",
        "Where it went.",
        "That a key outlives its last listing.",
    ],
)
def test_a_docstring_that_begins_in_mid_sentence_is_found(found, docstring):
    assert found("router/a.py", f'def f():\n    """{docstring}"""\n') == [(2, "mid-sentence")]


@pytest.mark.parametrize(
    "docstring",
    [
        "Seconds between two checks of the Lease.",
        "Whether the token has the form of a JWT.",
        "While a stream runs, nothing is counted.",
        "By-pass of the queue.",
    ],
)
def test_a_plain_docstring_passes(found, docstring):
    assert found("router/a.py", f'def f():\n    """{docstring}"""\n') == []


def test_a_constant_s_docstring_names_the_constant_first(found):
    text = 'A = 1\n"""While a stream runs, this many."""\nB = [\n    """While this is a value, it is none.""",\n]\n'
    assert found("router/a.py", text) == [(2, "mid-sentence")]


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("x = 1  # nobody reads this", "word"),
        ('raise ValueError("whoever asks gets this")', "word"),
        ("# What goes out has no keys.", "clause"),
        ("# the list of what is missing", "clause"),
    ],
)
def test_comments_and_messages_are_looked_at(found, code, rule):
    assert found("router/a.py", f"y = 2\n{code}\n") == [(2, rule)]


@pytest.mark.parametrize(
    "code",
    [
        'x = {"told": nobody}',
        '# the answer is `nobody`, and the text says "whatever you like"',
        "# What is a weir?",
        "# a message that says what is missing",
        'f"{told(1)} of the routers run it"',
    ],
)
def test_names_quotations_and_questions_pass(found, code):
    assert found("router/a.py", f"{code}\n") == []


def test_only_the_docstrings_of_tests_are_looked_at(found):
    assert found("tests/a.py", '"""Nobody."""\nx = 1  # nobody\n') == [(1, "word")]


def test_sentences_of_pages_are_looked_at_and_code_headings_and_first_rows_are_not(found):
    page = "# What is said\n\nWhat is said counts.\n\n```\nnobody\n```\n\n| a | told |\n|---|---|\n| b | told |\n"
    assert found("docs/a.md", page) == [(3, "clause"), (11, "word")]


def test_a_count_that_rises_fails_and_one_that_falls_is_written_down(tmp_path, monkeypatch, capsys):
    english = load()
    monkeypatch.setattr(english, "ROOT", tmp_path)
    monkeypatch.setattr(english, "BASELINE", tmp_path / "english.json")
    monkeypatch.setattr(english, "changed", lambda: {"router/a.py"})
    monkeypatch.setattr("sys.argv", ["english", "--update"])
    (tmp_path / "router").mkdir()
    page, baseline = tmp_path / "router" / "a.py", tmp_path / "english.json"
    baseline.write_text('{"router": 1}')
    page.write_text("# nobody\n# somebody\n")
    assert english.main() == 1
    assert "router/a.py:2: word" in capsys.readouterr().out
    page.write_text("# all is said plainly\n")
    assert english.main() == 0
    assert baseline.read_text() == '{\n  "router": 0\n}\n'
