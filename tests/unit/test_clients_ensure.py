"""`hack/clients/ensure` says what to do where a package index cannot be reached, and leaves nothing half-installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ENSURE = Path(__file__).parents[2] / "hack" / "clients" / "ensure"


def test_an_index_that_is_not_there_ends_it_with_a_code_of_its_own(tmp_path: Path) -> None:
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), **nowhere}
    done = subprocess.run([sys.executable, ENSURE], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "error: the package index of Python did not give all of them" in done.stderr
    assert "run hack/clients/ensure again" in done.stderr
    assert list(tmp_path.rglob(".ready")) == []
    assert done.stdout == ""
