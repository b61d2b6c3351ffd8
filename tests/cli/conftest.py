"""A simulator per session, and a directory of two manifests that use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.shell import policy, save, tier
from weir_cli.sim import SimulatorThread
from weir_cli.sim.fleet import FLEET


@pytest.fixture(scope="session")
def simulator() -> Iterator[SimulatorThread]:
    with SimulatorThread(FLEET) as simulator:
        yield simulator


@pytest.fixture
def manifests(tmp_path: Path, simulator: SimulatorThread) -> Path:
    folder = tmp_path / "manifests"
    save(folder / "tiers.yaml", tier(simulator.url))
    save(folder / "policy.yaml", policy())
    return folder
