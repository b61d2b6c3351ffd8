"""The settings that lead each known client to a router. Used by `command`; pure.

Example: Claude Code reads `ANTHROPIC_BASE_URL`, which ends without `/v1`; an OpenAI SDK's base URL ends in it. The
pages of docs/clients begin with these settings, and tests/clients runs the clients with them.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple


class Client(StrEnum):
    """A client by the name that `weir connect` takes, which is also that of its page in docs/clients."""

    CLAUDE_CODE = "claude-code"
    CODEX = "codex"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    AGENTS_SDK = "agents-sdk"
    AI_SDK = "ai-sdk"
    PYDANTIC_AI = "pydantic-ai"
    LANGCHAIN = "langchain"
    LLAMAINDEX = "llamaindex"
    CURSOR = "cursor"
    CONTINUE = "continue"
    AIDER = "aider"
    OPEN_WEBUI = "open-webui"
    LIBRECHAT = "librechat"


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
export ANTHROPIC_DEFAULT_OPUS_MODEL={to.model}
export ANTHROPIC_DEFAULT_SONNET_MODEL={to.model}
export ANTHROPIC_DEFAULT_HAIKU_MODEL={to.model}{_node(to)}"""


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
# OpenAI's SDKs, and clients built on them; in the code: client.responses.create(model="{to.model}", ...)
{_openai_variables(to)}{_node(to)}{_python(to)}"""


def _anthropic(to: Target) -> str:
    return f"""\
# Anthropic's SDKs; in the code: client.messages.create(model="{to.model}", ...)
export ANTHROPIC_BASE_URL={to.url}
export ANTHROPIC_API_KEY={to.key}{_node(to)}{_python(to)}"""


def _agents_sdk(to: Target) -> str:
    return f"""\
# OpenAI's Agents SDK; in the code: Agent(name="...")
{_openai_variables(to)}
export OPENAI_DEFAULT_MODEL={to.model}
# otherwise it sends the key and every conversation to OpenAI's own servers as traces:
export OPENAI_AGENTS_DISABLE_TRACING=true{_node(to)}{_python(to)}"""


def _ai_sdk(to: Target) -> str:
    return f"""\
# Vercel's AI SDK; in the code: openai("{to.model}") with providerOptions: {{ openai: {{ store: false }} }}
{_openai_variables(to)}{_node(to)}"""


def _pydantic_ai(to: Target) -> str:
    return f"""\
# Pydantic AI; in the code: Agent("openai:{to.model}")
{_openai_variables(to)}{_python(to)}"""


def _langchain(to: Target) -> str:
    return f"""\
# LangChain; in the code: ChatOpenAI(model="{to.model}", stream_usage=True)
{_openai_variables(to)}{_node(to)}{_python(to)}"""


def _llamaindex(to: Target) -> str:
    return f"""\
# LlamaIndex; in the code: OpenAILike(model="{to.model}", is_chat_model=True, is_function_calling_model=True)
export OPENAI_API_BASE={to.url}/v1
export OPENAI_API_KEY={to.key}{_python(to)}"""


def _cursor(to: Target) -> str:
    return f"""\
# Cursor: Settings, Models. Cursor's own servers call this address, so it must be public, with TLS and a key.
OpenAI API Key              {to.key}
Override OpenAI Base URL    {to.url}/v1
Add Custom Model            {to.model}"""


def _continue(to: Target) -> str:
    return f"""\
# Continue: in ~/.continue/config.yaml{_secret(to, "~/.continue/.env")}
name: Weir
version: 1.0.0
schema: v1
models:
- name: Weir
  provider: openai
  model: {to.model}
  apiBase: {to.url}/v1
  apiKey: {_reference(to.key, "${{{{ secrets.{} }}}}")}
  capabilities: [tool_use]
  roles: [chat, edit, apply]{_ca_bundle(to)}"""


def _aider(to: Target) -> str:
    return f"""\
# aider: in the shell that starts it
export OPENAI_API_BASE={to.url}/v1
export OPENAI_API_KEY={to.key}
export AIDER_MODEL=openai/{to.model}{_python(to)}"""


def _librechat(to: Target) -> str:
    return f"""\
# LibreChat: in librechat.yaml{_secret(to, ".env")}. From a container, this machine's loopback is host.docker.internal.
version: 1.2.1
endpoints:
  custom:
  - name: Weir
    apiKey: {_reference(to.key, "${{{}}}")}
    baseURL: {to.url}/v1
    models: {{default: [{to.model}], fetch: true}}
    titleConvo: true
    titleModel: {to.model}{_node(to, export="# in .env: ")}"""


def _open_webui(to: Target) -> str:
    return f"""\
# Open WebUI: in its environment. From a container, this machine's loopback is host.docker.internal.
OPENAI_API_BASE_URL={to.url}/v1
OPENAI_API_KEY={to.key}
DEFAULT_MODELS={to.model}{_python(to, export="")}"""


def _openai_variables(to: Target) -> str:
    return f"export OPENAI_BASE_URL={to.url}/v1\nexport OPENAI_API_KEY={to.key}"


def _reference(key: str, form: str) -> str:
    """A key in a YAML file: a variable in the client's form, or the key itself."""
    return form.format(key[1:]) if key.startswith("$") else key


def _secret(to: Target, file: str) -> str:
    return f"; {to.key[1:]} in {file}" if to.key.startswith("$") else ""


def _ca_bundle(to: Target) -> str:
    return f"\n  requestOptions: {{caBundlePath: {to.ca_file}}}" if to.ca_file else ""


def _node(to: Target, export: str = "export ") -> str:
    """The line by which clients in JavaScript trust a private authority, besides the public ones."""
    return f"\n{export}NODE_EXTRA_CA_CERTS={to.ca_file}" if to.ca_file else ""


def _python(to: Target, export: str = "export ") -> str:
    """The line by which clients in Python trust a private authority, instead of the public ones."""
    return f"\n{export}SSL_CERT_FILE={to.ca_file}" if to.ca_file else ""


LINES: dict[Client, Callable[[Target], str]] = {
    Client.CLAUDE_CODE: _claude_code,
    Client.CODEX: _codex,
    Client.OPENAI: _openai,
    Client.ANTHROPIC: _anthropic,
    Client.AGENTS_SDK: _agents_sdk,
    Client.AI_SDK: _ai_sdk,
    Client.PYDANTIC_AI: _pydantic_ai,
    Client.LANGCHAIN: _langchain,
    Client.LLAMAINDEX: _llamaindex,
    Client.CURSOR: _cursor,
    Client.CONTINUE: _continue,
    Client.AIDER: _aider,
    Client.OPEN_WEBUI: _open_webui,
    Client.LIBRECHAT: _librechat,
}
"""The settings of each client."""
