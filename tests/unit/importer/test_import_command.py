"""`weir import litellm`: files, output, exit codes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from weir_cli.import_litellm import litellm
from weir_cli.shared.workspace import open_workspace

HERE = Path(__file__).parent
LITERAL = "sk-ant-literal-key-in-the-file"
APP = typer.Typer()
APP.command()(litellm)


def run(*arguments: object) -> Result:
    """Runs the command with a terminal wide enough for the table."""
    return CliRunner(env={"COLUMNS": "240"}).invoke(APP, [str(it) for it in arguments])


@pytest.fixture
def written(tmp_path):
    """The production sample, written to a directory."""
    directory = tmp_path / "manifests"
    result = run(HERE / "production.yaml", "-o", directory)
    assert result.exit_code == 0, result.output
    return directory


def test_manifests_go_to_stdout_and_findings_to_stderr():
    result = run(HERE / "production.yaml", "-n", "llm")
    kinds = [it["kind"] for it in yaml.safe_load_all(result.stdout) if it]
    assert result.exit_code == 0
    assert kinds == ["ModelTier"] * 5 + ["RoutingPolicy"] * 4 + ["Secret"]
    assert "general_settings.master_key" in result.stderr


def test_a_key_of_the_config_is_never_printed_and_that_is_told():
    result = run(HERE / "production.yaml")
    assert LITERAL not in result.output
    assert "Not printed: 1" in result.stderr
    assert "stringData" not in result.stdout


def test_in_a_directory_keys_of_the_config_are_in_a_file_for_its_owner_only(written):
    secrets = written / "secrets.yaml"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    (secret,) = [it for it in yaml.safe_load_all(secrets.read_text()) if it]
    assert secret["stringData"] == {"api-key": LITERAL}
    assert secret["metadata"]["labels"] == {"weir.dev/credential": "true"}
    assert all(LITERAL not in path.read_text() for path in written.iterdir() if path != secrets)


def test_it_says_how_the_keys_get_out_of_the_environment():
    stdout = run(HERE / "simple.yaml", "-n", "llm").stdout
    assert 'export WEIR_SECRET_LLM_OPENAI_API_KEY="$OPENAI_API_KEY"' in stdout
    assert 'kubectl create secret generic -n llm openai --from-literal=api-key="$OPENAI_API_KEY"' in stdout


def test_the_variables_it_names_are_those_that_weir_up_reads(written):
    exports = [
        line.split()[2].split("=")[0]
        for line in (written / "secrets.yaml").read_text().splitlines()
        if "export" in line
    ]
    workspace = open_workspace(written, environ=dict.fromkeys(exports, "sk-from-environment"))
    assert len(exports) == 4
    assert len(workspace.notices) == 4
    assert workspace.errors == []


def test_what_it_writes_compiles_and_serves(written):
    config = open_workspace(written, environ={}).config
    assert {it.name for it in config.policies} == {"gpt-4o", "claude-sonnet", "qwen-local", "long-context"}
    policy = next(it for it in config.policies if it.name == "claude-sonnet")
    assert policy.models == ("claude-sonnet", "internal-claude")
    assert policy.not_ready is None


def test_files_that_are_there_are_not_overwritten_unless_forced(written):
    (written / "modeltiers.yaml").write_text("mine")
    result = run(HERE / "production.yaml", "-o", written)
    assert result.exit_code == 2
    assert (written / "modeltiers.yaml").read_text() == "mine"
    assert run(HERE / "production.yaml", "-o", written, "--force").exit_code == 0
    assert (written / "modeltiers.yaml").read_text() != "mine"


def test_a_secrets_file_that_everybody_could_read_is_closed_before_a_key_goes_in(written):
    (written / "secrets.yaml").chmod(0o644)
    run(HERE / "production.yaml", "-o", written, "--force")
    assert stat.S_IMODE((written / "secrets.yaml").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"model_list: [", "line 1"),
        (b"general_settings: {}", "model_list"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"", "model_list"),
        (b"when: 2024-13-45", "cannot be read"),
    ],
)
def test_a_file_that_is_no_config_is_a_clear_error(tmp_path, content, complaint):
    (tmp_path / "config.yaml").write_bytes(content)
    result = run(tmp_path / "config.yaml")
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert "Traceback" not in result.output


def test_a_file_that_is_not_there_is_a_clear_error(tmp_path):
    result = run(tmp_path / "nowhere.yaml")
    assert result.exit_code == 2
    assert "No such file" in result.stderr


def test_a_directory_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    result = run(HERE / "simple.yaml", "-o", tmp_path / "file")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


def test_a_config_that_is_carried_over_whole_says_so():
    assert "Everything in the config has an equivalent" in run(HERE / "simple.yaml").stderr
