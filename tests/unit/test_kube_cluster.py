"""`make cluster` on a machine that cannot run a node, and its parts that need none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

HACK = Path(__file__).parents[2] / "hack" / "kube"
sys.path.append(str(HACK))

import archive  # noqa: E402
import cluster  # noqa: E402
import host  # noqa: E402
import node  # noqa: E402
from pki import Pki  # noqa: E402


def test_without_root_it_says_so_and_ends_with_3(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "STATE", tmp_path / "state")
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert cluster.main(["up"]) == 3
    assert "no cluster on this machine: a node needs root" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_it_can_be_ended_where_none_has_ever_been(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # without containerd
    monkeypatch.setattr(host, "disconnect", lambda: None)  # there may be another's
    cluster.Cluster(tmp_path / "state").down()


def test_what_the_machine_forbids_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def forbidden() -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(host, "PACKAGES", {})
    monkeypatch.setattr(host, "attempts", lambda _: [("using one", forbidden), ("using two", lambda: None)])
    with pytest.raises(host.Missing, match=r"^using one fails \(Operation not permitted\)$"):
        host.check(tmp_path)


def test_an_unknown_command_is_answered_with_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cluster.main(["upp"]) == 2
    assert "cluster.py up" in capsys.readouterr().err


def test_nothing_listens_on_a_real_interface() -> None:
    """Each address belongs to loopback or to the bridge."""
    pki, state = Pki(Path("/pki")), Path("/state")
    commands = [
        node.etcd(state),
        node.kube_apiserver(pki),
        node.kube_controller_manager(pki),
        node.kube_scheduler(pki),
        node.kube_proxy(pki),
        node.metrics_server(pki),
    ]
    for flags in commands:
        (bound,) = [it for it in flags if it.startswith(("--bind-address=", "--listen-client-urls="))]
        assert any(address in bound for address in ("127.0.0.1", node.ADDRESS))
        assert "0.0.0.0" not in " ".join(flags)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="it takes root and iproute2")
def test_pods_that_come_and_go_leave_the_bridge_its_address() -> None:
    show = f"ip -brief link show {node.BRIDGE}"
    script = f"""
    {sys.executable} -c 'import host; host.make_bridge()' && {show}
    ip link add pod address 02:00:00:00:00:01 type veth && ip link set pod master {node.BRIDGE} up && {show}
    ip link delete pod && {show}
    """
    own_network = ["unshare", "--net", "sh", "-ec", script]
    done = subprocess.run(own_network, capture_output=True, text=True, check=False, cwd=HACK)
    assert [line.split()[2] for line in done.stdout.splitlines()] == [host.BRIDGE_MAC] * 3, done.stderr


def test_the_image_of_sandboxes_holds_one_program(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"\x7fELF")
    with tarfile.open(fileobj=BytesIO(archive.image_archive(program, "pause", "localhost/pause:1"))) as image:
        layer = image.extractfile("layer.tar")
        assert layer is not None
        with tarfile.open(fileobj=layer) as inner:
            (member,) = inner.getmembers()
    assert (member.name, member.mode) == ("pause", 0o755)


def test_a_process_number_that_somebody_else_got_is_not_ours() -> None:
    assert cluster._is(os.getpid(), "python")
    assert not cluster._is(os.getpid(), "kubelet")
