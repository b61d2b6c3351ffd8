"""Namespaces of tools, which other formats do not have: `multi_agent_v1` of Codex is one.

The tool `spawn_agent` of the namespace `multi_agent_v1` is the tool `multi_agent_v1__spawn_agent` for an upstream. The
model's call of it names tool and namespace again for the caller.
"""

from __future__ import annotations

from typing import NamedTuple

from weir_router.dialects.ask import Ask
from weir_router.dialects.neutral.checked import Checked
from weir_router.dialects.neutral.conversation import Conversation, Tool

BETWEEN = "__"
"""Text between a namespace and the name of a tool."""


class Named(NamedTuple):
    """The namespace of a tool (empty: none), and its name there."""

    namespace: str
    name: str


def joined(named: Checked, namespace: str = "") -> str:
    """The one name of a tool or call: with its namespace, or with that of the tools around it."""
    space = namespace or named.maybe_text("namespace") or ""
    name = named.text("name")
    return f"{space}{BETWEEN}{name}" if space else name


def names_in(ask: Ask) -> dict[str, Named]:
    """The tools of a request that are in namespaces, by their one name."""
    asked: Conversation | None = ask.conversation
    if asked is None:
        return {}
    found: dict[str, Named] = {}
    for tool in asked.tools:
        if isinstance(tool, Tool) and tool.namespace:
            whole = asked.full_names.get(tool.name, tool.name)
            found[whole] = Named(tool.namespace, whole.removeprefix(f"{tool.namespace}{BETWEEN}"))
    return found
