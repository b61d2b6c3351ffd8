"""Keys that `weir up` finds again in the environment, after it has written the manifests."""

from __future__ import annotations

from pathlib import Path

import pytest

from weir_cli.shared.workspace import open_workspace
from weir_cli.up.keys import Found
from weir_cli.up.probe import Listed, Listing
from weir_cli.up.sources import presets, sources
from weir_cli.up.tiers import make


def found(environ: dict[str, str]) -> Found:
    """The manifests of the sources that `environ` names, each with one model."""
    pairs = [(it, Listing((Listed("some-model"),))) for it in sources(environ).found if not it.default]
    return Found(make(pairs), tuple(it.secret for it, _ in pairs if it.secret), {})


@pytest.mark.parametrize("variable", [it.keys[0] for it in presets() if it.keys and it.vendor and not it.regions])
def test_a_providers_own_variable_is_enough_for_the_written_manifests(variable: str, tmp_path: Path) -> None:
    written = found({variable: "sk-1"})
    assert written.exports(None) == []
    written.save(tmp_path / "weir", None)
    workspace = open_workspace(tmp_path / "weir", environ={variable: "sk-1"})
    assert workspace.errors == []
    assert set(workspace.secrets.credentials.values()) == {"sk-1"}


@pytest.mark.parametrize(
    ("environ", "export"),
    [
        ({"OPENROUTER_API_KEY": "k"}, 'export WEIR_SECRET_LLM_OPENROUTER_API_KEY="$OPENROUTER_API_KEY"'),
        ({"GOOGLE_API_KEY": "k"}, 'export WEIR_SECRET_LLM_GEMINI_API_KEY="$GOOGLE_API_KEY"'),
        (
            {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"},
            'export WEIR_SECRET_LLM_OPENAI_API_KEY="$OPENAI_API_KEY"',
        ),
    ],
)
def test_others_need_a_variable_of_their_own(environ: dict[str, str], export: str) -> None:
    assert found(environ).exports("llm") == [export]
