"""An installation by the README's commands, and an application beside it. Run by `make e2e`, on a real cluster.

The scenarios share the installation and are independent of each other, except for the last: `test_uninstall.py`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "e2e"))

if not os.environ.get("WEIR_E2E"):
    collect_ignore_glob = ["test_*.py"]  # `make test` runs without a cluster
else:
    from world import Application, Weir, install


@pytest.fixture(scope="session")
def weir() -> Weir:
    """Weir with three tiers and a policy, as the README installs it."""
    return install()


@pytest.fixture(scope="session")
def application(weir: Weir) -> Application:
    """A pod of the namespace team-a with the unchanged OpenAI SDK and a token of its own ServiceAccount."""
    return Application.deployed(weir)
