"""`weir probe NAMESPACE/TIER` on a real API server: Secrets with the user's rights, the installation's hosts."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from apiserver import ApiServer

from cli.shell import weir
from support.kube import apply, run
from support.people import administrator, tenant
from weir_cli.sim import SimModel, SimulatorThread
from weir_cli.sim.models import Service
from weir_router.contract import HostPolicy
from weir_router.contract.published import Index

KEY = "sk-secret-0123456789"
TIER = """
apiVersion: weir.dev/v1alpha1
kind: ModelTier
metadata: {name: own, namespace: %(namespace)s}
spec:
  backends:
  - {name: m, provider: OpenAI, model: m, baseURL: "%(url)s/v1", dialects: [Chat],
     credentials: {type: APIKey, secretRef: {name: keys, key: k}}}
"""


@pytest.fixture
def url() -> Iterator[str]:
    """A model at an address of this machine that is no loopback address, as those are refused in a cluster."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outward:
        outward.connect(("192.0.2.1", 9))  # sends nothing
        address = outward.getsockname()[0]
    model = SimModel("m", offers=(Service.CHAT, Service.RESPONSES), key=KEY)
    with SimulatorThread([model], host="0.0.0.0") as sim:
        yield sim.url.replace("0.0.0.0", address)


def asked(cluster: ApiServer, namespace: str, url: str, *, label: bool = True) -> None:
    apply(cluster, TIER % {"namespace": namespace, "url": url})
    run(cluster, "create", "secret", "generic", "keys", "-n", namespace, f"--from-literal=k={KEY}")
    if label:
        run(cluster, "label", "secret", "keys", "-n", namespace, "weir.dev/credential=true")


def probed(namespace: str, env: dict[str, str]) -> tuple[int, dict[str, bool | None], str]:
    done = weir("probe", f"{namespace}/own", "-o", "json", "--system-namespace", namespace, env=env)
    assert KEY not in done.stdout + done.stderr
    told: Any = json.loads(done.stdout) if done.stdout else {"backends": []}
    answers = {it["name"]: it["spoken"] for each in told["backends"] for it in each["answers"]}
    return done.returncode, answers, done.stderr


SPOKEN = {"Chat": True, "Responses": True, "Messages": False}


def test_an_administrator_learns_what_it_speaks(cluster: ApiServer, namespace: str, url: str):
    asked(cluster, namespace, url)
    code, answers, said = probed(namespace, administrator(cluster))
    assert (code, answers) == (0, SPOKEN), said
    assert "the rules of installation weir for hosts are unknown" in said


def test_the_hosts_that_the_installation_refuses_are_not_asked(cluster: ApiServer, namespace: str, url: str):
    asked(cluster, namespace, url)
    host = url.partition("//")[2].partition(":")[0]
    index = msgspec.json.encode(Index(hosts=HostPolicy(in_cluster=True, networks=(f"{host}/32",)))).decode()
    run(cluster, "create", "configmap", "weir-index", "-n", namespace, f"--from-literal=index.json={index}")
    done = weir("probe", f"{namespace}/own", "--system-namespace", namespace, env=administrator(cluster))
    assert done.returncode == 2
    assert "an address of a network that this installation refuses" in done.stderr


def test_loopback_is_refused_in_a_cluster(cluster: ApiServer, namespace: str):
    with SimulatorThread([SimModel("m")]) as sim:
        asked(cluster, namespace, sim.url)
        code, answers, _ = probed(namespace, administrator(cluster))
        assert sim.stats["m"].requests == 0
    assert (code, answers) == (2, {})


def test_a_secret_without_consent_is_not_sent(cluster: ApiServer, namespace: str, url: str):
    asked(cluster, namespace, url, label=False)
    code, answers, said = probed(namespace, administrator(cluster))
    assert (code, answers) == (2, {})
    assert "weir.dev/credential" in said


def test_a_user_who_may_not_read_the_secret_can_give_the_credential(
    cluster: ApiServer, namespace: str, url: str, tmp_path: Path
):
    asked(cluster, namespace, url)
    user = tenant(cluster, namespace, tmp_path)
    code, answers, said = probed(namespace, user)
    assert (code, answers) == (2, {})
    assert "you may not get secrets" in said
    variable = f"WEIR_SECRET_{namespace}_KEYS_K".upper().replace("-", "_")
    assert variable in said
    code, answers, said = probed(namespace, {**user, variable: KEY})
    assert (code, answers) == (0, SPOKEN), said
