"""Manifests that a command writes: names, YAML, files, and how keys get from the environment into Secrets.

Used by `weir import litellm` and by `weir up` without a directory. A manifest names Secrets and never holds a key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from weir_cli.shared.output import fail
from weir_operator.observe.environment import variable
from weir_operator.observe.observed import SecretKey

SECRET_KEY = "api-key"
"""Key of a Secret's data, where nothing names another."""

PRIVATE = 0o600
"""Mode of a file with keys."""

_MAX_NAME = 63  # a DNS label, as names of list items must be


@dataclass(frozen=True)
class SecretSource:
    """Source of a backend's key: an environment variable, or the text of a config."""

    name: str
    key: str
    variable: str | None
    literal: str | None = field(default=None, repr=False)

    def named(self, name: str) -> SecretSource:
        """The same key in a Secret of another name."""
        return replace(self, name=name)

    @property
    def reference(self) -> dict[str, Any]:
        """`credentials` of a backend."""
        return {"type": "APIKey", "secretRef": {"name": self.name, "key": self.key}}


def slug(wanted: str) -> str:
    """A DNS label out of any text; may be empty."""
    return re.sub(r"[^a-z0-9]+", "-", wanted.lower()).strip("-")[:_MAX_NAME].strip("-")


def unique(wanted: str, taken: set[str]) -> str:
    """`wanted`, or with a number behind it; adds the name to `taken`."""
    base, name, count = wanted or "unnamed", wanted or "unnamed", 1
    while name in taken:
        count += 1
        name = f"{base[: _MAX_NAME - 4].strip('-')}-{count}"
    taken.add(name)
    return name


def render(manifests: Sequence[Mapping[str, Any]], heading: str = "", *, compact: bool = False) -> str:
    """Manifests as YAML documents under a comment. `compact`: the innermost lists and mappings on one line each."""
    flow = None if compact else False
    return heading + "---\n".join(
        yaml.safe_dump(it, sort_keys=False, allow_unicode=True, width=120, default_flow_style=flow) for it in manifests
    )


def instructions(secrets: Sequence[SecretSource], namespace: str | None) -> str:
    """A comment that tells how the keys get out of the environment into Weir; empty where none is there."""
    needed = [(it, SecretKey(namespace or "default", it.name, it.key)) for it in secrets if it.variable]
    if not needed:
        return ""
    where = f" -n {namespace}" if namespace else ""
    lines = ["The keys stay in the environment. weir up takes them from there:", ""]
    lines += [f'    export {variable(key)}="${it.variable}"' for it, key in needed]
    lines += ["", "In a cluster they are Secrets that consent to be sent to a backend:", ""]
    for it, _ in needed:
        lines.append(f'    kubectl create secret generic{where} {it.name} --from-literal={it.key}="${it.variable}"')
        lines.append(f"    kubectl label secret{where} {it.name} weir.dev/credential=true")
    return "".join(f"# {line}".rstrip() + "\n" for line in lines) + "---\n"


def write_files(
    directory: Path, texts: Mapping[str, str], *, force: bool | None, private: frozenset[str] = frozenset()
) -> None:
    """Writes each text to its file; `private` ones only their owner can read. `force` replaces files that are there;
    None: the command has no such option. Raises `typer.Exit`.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        in_the_way = [name for name in texts if (directory / name).exists()]
        if in_the_way and not force:
            option = "" if force is None else ", or --force"
            raise fail(f"{directory} has {', '.join(in_the_way)} already; give another directory{option}.")
        for name, text in texts.items():
            _write_file(directory / name, text, private=name in private)
    except OSError as error:
        raise fail(f"{directory} cannot be written: {error.strerror}") from None


def _write_file(path: Path, text: str, *, private: bool) -> None:
    mode = PRIVATE if private else 0o666  # the latter as everybody's umask has it
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        if private:
            os.fchmod(descriptor, PRIVATE)  # before the first byte, also where the file was there
        file.write(text)
