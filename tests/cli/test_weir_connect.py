"""Settings of clients, taken as a shell takes them."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import anthropic
import openai
import pytest
import yaml

from cli.shell import up
from cli.test_weir_commands import run
from weir_cli.connect.clients import Client


def taken(text: str) -> dict[str, str]:
    """The environment of a shell that has read these lines."""
    shown = subprocess.run(["sh", "-c", f"{text}\nenv"], capture_output=True, text=True, check=True, env={}).stdout
    return dict(line.split("=", 1) for line in shown.splitlines())


def test_the_sdks_with_these_settings_are_served(manifests: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with up(manifests) as gateway:
        for client in (Client.OPENAI, Client.ANTHROPIC):
            for name, value in taken(run("connect", client, "--url", gateway.url).stdout).items():
                if name.startswith(("OPENAI_", "ANTHROPIC_")):
                    monkeypatch.setenv(name, value)
        with openai.OpenAI() as sdk:
            ask = [{"role": "user", "content": "Hi"}]
            assert sdk.chat.completions.create(model="auto", messages=ask).choices[0].message.content
        with anthropic.Anthropic() as sdk:
            assert sdk.messages.create(model="auto", max_tokens=9, messages=ask).content


@pytest.mark.parametrize("client", Client)
@pytest.mark.parametrize("url", ["https://m.example.com", "https://m.example.com/", "https://m.example.com/v1/"])
def test_each_way_to_write_the_url_is_the_same(client: Client, url: str) -> None:
    said = run("connect", client, "--url", url, "--model", "claude-opus-5", "--key", "$WEIR_KEY").stdout
    assert (
        said
        == run(
            "connect", client, "--url", "https://m.example.com", "--model", "claude-opus-5", "--key", "$WEIR_KEY"
        ).stdout
    )
    assert all(it in said for it in ("https://m.example.com", "claude-opus-5", "WEIR_KEY"))
    assert "/v1/v1" not in said
    assert "com//" not in said


def test_a_private_authority_is_named_in_the_words_of_each_client() -> None:
    given = ("--url", "https://weir.weir-system.svc", "--ca-file", "/etc/ca.crt")
    named = {it: run("connect", it, *given).stdout.split() for it in (Client.CLAUDE_CODE, Client.OPENAI)}
    assert "NODE_EXTRA_CA_CERTS=/etc/ca.crt" in named[Client.CLAUDE_CODE]
    assert {"NODE_EXTRA_CA_CERTS=/etc/ca.crt", "SSL_CERT_FILE=/etc/ca.crt"} <= set(named[Client.OPENAI])
    assert "\nSSL_CERT_FILE=/etc/ca.crt" in run("connect", "open-webui", *given).stdout
    refused = run("connect", "cursor", *given)
    assert (refused.exit_code, "trust only public authorities" in refused.stderr) == (1, True)
    assert run("connect", "openai", "--ca-file", "a;b").exit_code == 2


@pytest.mark.parametrize("client", [Client.CONTINUE, Client.LIBRECHAT])
def test_settings_in_yaml_refer_to_the_key(client: Client) -> None:
    form = {Client.CONTINUE: "${{ secrets.WEIR_KEY }}", Client.LIBRECHAT: "${WEIR_KEY}"}[client]
    given = ("--url", "https://m.example.com", "--ca-file", "/ca.crt")
    for key, written in (("$WEIR_KEY", form), ("weir_abc", "weir_abc")):
        said = run("connect", client, *given, "--key", key).stdout
        settings = yaml.safe_load(said)
        model = settings["models"][0] if client is Client.CONTINUE else settings["endpoints"]["custom"][0]
        assert model["apiKey"] == written
        assert "https://m.example.com/v1" in (model.get("apiBase"), model.get("baseURL"))
        assert "/ca.crt" in said


def test_codex_reads_its_settings_from_a_file() -> None:
    said = run(
        "connect", "codex", "--url", "https://m.example.com", "--key", "$WEIR_KEY", "--ca-file", "/ca.crt"
    ).stdout
    settings = tomllib.loads(said)
    provider = settings["model_providers"][settings["model_provider"]]
    assert (settings["model"], provider["base_url"]) == ("auto", "https://m.example.com/v1")
    assert provider["wire_api"] == "responses"
    assert f"# export {provider['env_key']}=$WEIR_KEY" in said
    assert "# export SSL_CERT_FILE=/ca.crt" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("--url", "ftp://a"),
        ("--url", "http://a;reboot"),
        ("--url", "http://a$(b)"),
        ("--model", "a b"),
        ("--key", "`b`"),
    ],
)
def test_what_a_shell_would_run_is_refused(arguments: tuple[str, str]) -> None:
    result = run("connect", "openai", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
