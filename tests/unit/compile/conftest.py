"""Helpers of the compiler's tests: manifests as YAML in, `Compiled` out, with a catalogue of two models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from weir_operator.compile import Compiled, compile_config
from weir_operator.compile.catalogue import Catalogue, parse
from weir_operator.kinds import KINDS
from weir_operator.observe.manifests import load
from weir_operator.observe.observed import Observed
from weir_operator.observe.tenancy import Tenancy

OPEN = Tenancy(offering=("*",), user_tiers=frozenset({"*"}))
NOW = 1_800_000_000.0  # 2027-01-15

CATALOGUE = """
date: "2026-01-02"
source: tests
vendors:
  openai:
    provider: OpenAI
    baseURL: https://api.openai.com/v1
    hosts: [api.openai.com]
    aliases: [openai]
    models:
    - model: known
      price: {input: "1", cachedInput: "0.5", output: "2"}
      contextTokens: 1000
      outputTokens: 100
      capabilities: [Tools]
      parameters: {drop: [logit_bias], rename: {max_tokens: max_completion_tokens}}
"""


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return parse(CATALOGUE)


@pytest.fixture
def observe(tmp_path: Path) -> Callable[..., Observed]:
    """A function from YAML to `Observed`; keyword arguments replace fields. Policies are offered to all callers."""

    def run(text: str, **changes: Any) -> Observed:
        (tmp_path / "all.yaml").write_text(text)
        loaded = load(tmp_path, KINDS)
        assert not loaded.problems
        return replace(loaded.observed, **{"tenancy": OPEN, **changes})

    return run


@pytest.fixture
def compiled(observe: Callable[..., Observed], catalogue: Catalogue) -> Callable[..., Compiled]:
    """A function from YAML to `Compiled`."""

    def run(text: str, **changes: Any) -> Compiled:
        return compile_config(observe(text, **changes), KINDS, catalogue=catalogue, now=NOW)

    return run


@pytest.fixture
def tier() -> Callable[..., str]:
    """The YAML of a ModelTier with one backend."""

    def text(name: str = "budget", namespace: str = "default", spec: str = "", backend: str = "") -> str:
        return f"""
---
apiVersion: weir.dev/v1alpha1
kind: ModelTier
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  {spec}
  backends: [{{name: one, provider: OpenAI, model: known{", " if backend else ""}{backend}}}]
"""

    return text


@pytest.fixture
def policy() -> Callable[..., str]:
    """The YAML of a RoutingPolicy with one route to one tier, or with the routes that are given."""

    def text(name: str = "auto", namespace: str = "default", spec: str = "", routes: str = "") -> str:
        routes = routes or "[{name: all, tiers: [{name: budget}]}]"
        models = "" if "models:" in spec else "models: [{name: auto}]"
        return f"""
---
apiVersion: weir.dev/v1alpha1
kind: RoutingPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  {models}
  {spec}
  routes: {routes}
"""

    return text


@pytest.fixture
def secret() -> Callable[..., str]:
    """The YAML of a Secret."""

    def text(name: str = "openai", data: str = "{api-key: sk-1}", labels: str = '{weir.dev/credential: "true"}') -> str:
        metadata = f"{{name: {name}, namespace: default, labels: {labels}}}"
        return f"---\napiVersion: v1\nkind: Secret\nmetadata: {metadata}\nstringData: {data}\n"

    return text
