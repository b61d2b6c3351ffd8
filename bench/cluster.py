"""The API server of the tests, for benchmarks. Importing this puts `tests` and `hack/kube` on the path."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / "tests"), str(ROOT / "hack" / "kube")]  # where the processes and the API server are made

from apiserver import ApiServer  # noqa: E402
from binaries import ensure  # noqa: E402

from support.installation import Audit  # noqa: E402
from support.kube import run  # noqa: E402

__all__ = ["NAMESPACE", "ROOT", "ApiServer", "Audit", "api_server"]

NAMESPACE = "weir-system"
"""Namespace of the installation."""


@contextlib.contextmanager
def api_server() -> Iterator[tuple[ApiServer, Audit]]:
    """One with Weir's CRDs and its namespace, and the notes of every request that it gets."""
    server = ApiServer(ensure())
    audit = Audit(server)
    with server:
        run(server, "apply", "--server-side", "-f", str(ROOT / "crds"))
        run(server, "wait", "--for=condition=Established", "--timeout=60s", "-f", str(ROOT / "crds"))
        run(server, "create", "namespace", NAMESPACE)
        yield server, audit
