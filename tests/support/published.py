"""Compiled configs to publish, and a directory that is swapped as the kubelet swaps a mounted volume."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weir_operator.compile import Compiled
from weir_operator.compile.room import credential_shard
from weir_operator.publish.publication import Names, Publication, publication
from weir_router.contract import (
    Backend,
    CallerKey,
    CallerRule,
    CompiledConfig,
    Dialect,
    Policy,
    Route,
    Secrets,
    Tier,
    TierRef,
    digest,
)

NAMES = Names("weir")
VALUES = ("sk-first-0123456789", "sk-second-0123456789")
KEY_HASH = "0" * 64
LLM_CREDENTIALS = NAMES.credentials[credential_shard("llm")].name
"""The Secret of the credentials of namespace llm."""


def policy(name: str = "assistants", **fields: Any) -> Policy:
    """A policy of team-a that goes to llm/small."""
    defaults: dict[str, Any] = {"namespace": "team-a", "models": ("auto",), "callers": (CallerRule(),)}
    defaults["routes"] = (Route(name="all", tiers=(TierRef(tier="llm/small"),)),)
    return Policy(**{**defaults, "name": name, **fields})


def tier(name: str = "small", values: Sequence[str] = VALUES[:1]) -> Tier:
    """A tier of llm with a backend per credential."""
    backends = tuple(
        Backend(
            name=f"b{number}",
            provider=Dialect.OPENAI,
            base_url="http://x/v1",
            model="m",
            credential=digest(value.encode()),
        )
        for number, value in enumerate(values)
    )
    return Tier(namespace="llm", name=name, backends=backends)


def compiled(*policies: Policy, tiers: Sequence[Tier] = (tier(),), **fields: Any) -> Compiled:
    """The compiler's result for these policies and tiers; by default one of each."""
    policies = tuple(sorted(policies or (policy(),), key=lambda it: (it.created, it.namespace, it.name)))
    generations = {f"RoutingPolicy/{it.key}": 1 for it in policies}
    generations |= {f"ModelTier/{it.namespace}/{it.name}": 1 for it in tiers}
    config = CompiledConfig(
        tiers={f"{it.namespace}/{it.name}": it for it in sorted(tiers, key=lambda it: (it.namespace, it.name))},
        policies=policies,
        generations=dict(sorted(generations.items())),
        **fields,
    )
    keys = {KEY_HASH: CallerKey(namespace="team-a", name="ci", user_tier="paid")}
    return Compiled(config, Secrets(credentials={digest(it.encode()): it for it in VALUES}, caller_keys=keys), ())


def published(what: Compiled, revision: int = 1) -> Publication:
    """`what` as an installation called weir publishes it."""
    return publication(what, revision, names=NAMES)


class Volume:
    """A projected volume."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._numbers = itertools.count(1)

    def swap(self, files: Mapping[str, bytes]) -> None:
        """A new folder, the link turned to it, links to its files, the old folder gone: the kubelet's order."""
        self.directory.mkdir(exist_ok=True)
        link = self.directory / "..data"
        old = link.resolve() if link.is_symlink() else None
        folder = self.directory / f"..2026_11_22.{next(self._numbers)}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        fresh = self.directory / "..data_tmp"
        fresh.symlink_to(folder.name)
        fresh.rename(link)
        self._show(set(files))
        if old is not None:
            shutil.rmtree(old)

    def _show(self, names: set[str]) -> None:
        shown = {path.name for path in self.directory.iterdir() if not path.name.startswith("..")}
        for name in names - shown:
            (self.directory / name).symlink_to(Path("..data") / name)
        for name in shown - names:
            (self.directory / name).unlink()
