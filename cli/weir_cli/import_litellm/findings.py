"""Findings: settings that an import could not carry over. Also small readers for a config with values of any type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

ENVIRONMENT = "os.environ/"
"""How a LiteLLM config refers to an environment variable."""

TOKEN = re.compile(r"[!-~]{1,253}")
"""Pattern of the names of models and parameters, for example `gpt-4o-mini`."""

_MAX_NUMBER = 10**12  # more than any setting means; arithmetic with it stays exact


@dataclass(frozen=True)
class Finding:
    """Something in the config that means less, or something else, in the manifests. Never holds a secret."""

    where: str  # path in the file, e.g. model_list[2].litellm_params.rpm
    what: str
    why: str
    instead: str


class Findings(list[Finding]):
    """Findings in the order of discovery, one per place and matter."""

    def note(self, where: str, what: str, why: str, instead: str) -> None:
        """Adds a finding unless it is there already (a group that is a fallback of many is found many times)."""
        finding = Finding(where, what, why, instead)
        if finding not in self:
            self.append(finding)


@dataclass(frozen=True)
class Given:
    """One entry of `model_list`, with the place where it stands and where to note what is odd about it."""

    where: str
    params: dict[str, Any]  # litellm_params
    info: dict[str, Any]  # model_info
    findings: Findings

    def note(self, setting: str, what: str, why: str, instead: str) -> None:
        """A finding about a setting of this entry; an empty `setting` is the entry itself."""
        self.findings.note(f"{self.where}.{setting}".rstrip("."), what, why, instead)


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is a mapping, with its keys as strings, else an empty one."""
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def text(value: Any) -> str | None:
    """The value if it is a text with something in it."""
    return value if isinstance(value, str) and value else None


def number(value: Any) -> Decimal | None:
    """A number from a number or its text (YAML 1.1 reads `1e-6` as text); None for anything else and below zero."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        figure = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return figure if figure.is_finite() and 0 <= figure < _MAX_NUMBER else None


def whole(value: Any) -> int | None:
    """A whole number of at least one, or None."""
    figure = number(value)
    return int(figure) if figure is not None and figure >= 1 else None


def duration(value: Any) -> str | None:
    """Seconds as `600s` or `1500ms`; None where there is no time in it."""
    figure = number(value)
    if figure is None or not Decimal("0.001") <= figure < 100_000:
        return None
    milliseconds = int(figure * 1000)
    return (
        f"{milliseconds // 1000}s"
        if milliseconds % 1000 == 0
        else f"{milliseconds // 1000}s{milliseconds % 1000}ms".removeprefix("0s")
    )
