"""One real API server per test session, a fresh namespace per test.

The server has no controllers, so a namespace is never deleted: the whole server goes when the session ends.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "hack" / "kube"))  # it is no package: it must run before the project is installed

from apiserver import ApiServer  # noqa: E402
from binaries import find  # noqa: E402

from weir_cli.sim import FLEET, SimulatorThread  # noqa: E402

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def apiserver() -> Iterator[ApiServer]:
    """etcd and kube-apiserver, ready, without the project's CRDs."""
    assets = find()
    if assets is None:
        # Not built here: it takes minutes, which a test's timeout would cut off.
        pytest.fail(
            "No etcd, kube-apiserver and kubectl yet: run hack/kube/ensure once (make test does).", pytrace=False
        )
    with ApiServer(assets) as server:
        yield server


@pytest.fixture(scope="session")
def cluster(apiserver: ApiServer) -> ApiServer:
    """The API server with the project's CRDs established."""
    applied = apiserver.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    assert applied.returncode == 0, applied.stderr
    waited = apiserver.kubectl("wait", "--for=condition=Established", "--timeout=20s", "-f", str(ROOT / "crds"))
    assert waited.returncode == 0, waited.stderr
    return apiserver


@pytest.fixture(scope="session")
def foreign(apiserver: ApiServer) -> ApiServer:
    """The API server with the CRDs of other projects."""
    crds = str(ROOT / "tests" / "kube" / "foreign" / "crds.yaml")
    for command in (("apply", "--server-side"), ("wait", "--for=condition=Established", "--timeout=20s")):
        done = apiserver.kubectl(*command, "-f", crds)
        assert done.returncode == 0, done.stderr
    return apiserver


@pytest.fixture(scope="module")
def emptied(cluster: ApiServer) -> ApiServer:
    """`cluster` without objects of other test modules, for operators that serve all namespaces."""
    deleted = cluster.kubectl("delete", "modeltiers,routingpolicies", "--all", "--all-namespaces")
    assert deleted.returncode == 0, deleted.stderr
    return cluster


@pytest.fixture
def namespace(apiserver: ApiServer) -> str:
    """The name of a fresh namespace."""
    name = f"test-{next(_numbers)}"
    created = apiserver.kubectl("create", "namespace", name)
    assert created.returncode == 0, created.stderr
    return name


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorThread]:
    """A simulator with the models of `FLEET`."""
    with SimulatorThread(FLEET) as simulator:
        yield simulator
