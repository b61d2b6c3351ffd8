"""The settings that lead each known client to a router. Used by `command`; pure.

Example: Claude Code reads `ANTHROPIC_BASE_URL`, which ends without `/v1`; an OpenAI SDK's base URL ends in it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple


class Client(StrEnum):
    """A client by the name that `weir connect` takes."""

    CLAUDE_CODE = "claude-code"
    CODEX = "codex"
    OPENAI = "openai"
    CURSOR = "cursor"
    OPEN_WEBUI = "open-webui"


class Target(NamedTuple):
    """The router as a client names it."""

    url: str  # without a slash at its end
    model: str
    key: str
    ca_file: str | None = None  # a private authority of the router's certificate


def _claude_code(to: Target) -> str:
    return f"""\
# Claude Code: in the shell that starts `claude`, or under "env" in ~/.claude/settings.json
export ANTHROPIC_BASE_URL={to.url}
export ANTHROPIC_AUTH_TOKEN={to.key}
export ANTHROPIC_MODEL={to.model}
export ANTHROPIC_SMALL_FAST_MODEL={to.model}{_node(to)}"""


def _codex(to: Target) -> str:
    return f"""\
# Codex: in ~/.codex/config.toml
model = "{to.model}"
model_provider = "weir"

[model_providers.weir]
name = "Weir"
base_url = "{to.url}/v1"
wire_api = "responses"
env_key = "WEIR_API_KEY"

# in the shell that starts `codex`
# export WEIR_API_KEY={to.key}{_python(to, export="# export ")}"""


def _openai(to: Target) -> str:
    return f"""\
# OpenAI's SDKs, and clients built on them; in the code: client.chat.completions.create(model="{to.model}", ...)
export OPENAI_BASE_URL={to.url}/v1
export OPENAI_API_KEY={to.key}{_node(to)}{_python(to)}"""


def _cursor(to: Target) -> str:
    return f"""\
# Cursor: Settings, Models. Cursor's own servers call this address, so it must be public, with TLS and a key.
OpenAI API Key              {to.key}
Override OpenAI Base URL    {to.url}/v1
Add Custom Model            {to.model}"""


def _open_webui(to: Target) -> str:
    return f"""\
# Open WebUI: in its environment. From a container, this machine's loopback is host.docker.internal.
OPENAI_API_BASE_URL={to.url}/v1
OPENAI_API_KEY={to.key}
DEFAULT_MODELS={to.model}{_python(to, export="")}"""


def _node(to: Target) -> str:
    """The line by which clients in JavaScript trust a private authority, besides the public ones."""
    return f"\nexport NODE_EXTRA_CA_CERTS={to.ca_file}" if to.ca_file else ""


def _python(to: Target, export: str = "export ") -> str:
    """The line by which clients in Python trust a private authority, instead of the public ones."""
    return f"\n{export}SSL_CERT_FILE={to.ca_file}" if to.ca_file else ""


LINES: dict[Client, Callable[[Target], str]] = {
    Client.CLAUDE_CODE: _claude_code,
    Client.CODEX: _codex,
    Client.OPENAI: _openai,
    Client.CURSOR: _cursor,
    Client.OPEN_WEBUI: _open_webui,
}
"""The settings of each client."""
