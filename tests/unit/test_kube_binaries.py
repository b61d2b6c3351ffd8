"""`hack/kube/ensure` explains the reason and the remedy if it cannot work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENSURE = Path(__file__).parents[2] / "hack" / "kube" / "ensure"
"""The script, which the tests run as `make test` does."""


def ensure(**environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "KUBEBUILDER_ASSETS"}
    env = {**kept, "PYTHON": sys.executable, **environment}
    return subprocess.run([str(ENSURE)], env=env, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("cache", ["/dev/null/cache", "/proc/cache"])
def test_a_cache_that_cannot_be_written_is_named_with_a_way_out(cache: str) -> None:
    done = ensure(XDG_CACHE_HOME=cache)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {cache}/weir/kube")
    assert "What to do: set XDG_CACHE_HOME" in done.stderr
    assert "Traceback" not in done.stderr


def test_assets_that_are_not_there_are_not_passed_over(tmp_path: Path) -> None:
    done = ensure(KUBEBUILDER_ASSETS=str(tmp_path))
    assert done.returncode == 1
    assert f"KUBEBUILDER_ASSETS is {tmp_path}, but etcd, kube-apiserver, kubectl cannot be executed" in done.stderr


def test_assets_that_are_there_are_used(tmp_path: Path) -> None:
    for name in ("etcd", "kube-apiserver", "kubectl"):
        (tmp_path / name).touch(0o755)
    done = ensure(KUBEBUILDER_ASSETS=str(tmp_path))
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, str(tmp_path), "")
