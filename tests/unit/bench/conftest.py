"""Makes the benchmarks importable: they are not installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from weir_operator.compile.catalogue import Catalogue

sys.path.append(str(Path(__file__).parents[3]))


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue.load()
