"""A whole one-node Kubernetes on this machine: `make cluster`, `make cluster-down`. Linux and root.

    cluster.py up            starts it, and returns when the node is Ready
    cluster.py down          ends it, and removes everything that it made
    cluster.py load IMAGE    copies an image from buildah, podman or docker into its containerd
    cluster.py metrics       starts metrics-server, for `kubectl top` and autoscaling by CPU
    cluster.py keda          installs KEDA, with the scalers that Weir uses, building it first (2 minutes, once)
    cluster.py restart NAME  ends one program (kube-apiserver, say) and starts it again
    cluster.py env           prints how to reach it

The programs are built from the Go modules that go.mod pins, containerd and the like are Debian's. `node.py` says what
each is started with, `pki.py` makes certificates, `host.py` says what the machine must have. State, logs and process
numbers are in one folder, $WEIR_CLUSTER or /var/lib/weir-cluster.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import host
import keda
import node
from archive import image_archive
from binaries import ensure_cluster, ensure_keda, ensure_tool
from golang import NotAvailable
from pki import Pki

STATE = Path(os.environ.get("WEIR_CLUSTER") or "/var/lib/weir-cluster")

READY_SECONDS = 120.0
"""Seconds for each step. All of them take 15 s together on an idle machine."""

STOP_SECONDS = 15.0
"""Seconds from SIGTERM to SIGKILL for a program."""

POLL = 0.1


class Failed(Exception):
    """A step did not work; the message has the end of the log that says why."""


class Cluster:
    """The cluster of one state folder, running or not."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self.pki = Pki(state / "pki")

    @property
    def running(self) -> bool:
        """Whether `up` has been called, and `down` has not."""
        return (self._state / "pids").exists()

    def up(self) -> None:
        """Starts everything. Raises `Missing`, `NotAvailable` or `Failed`."""
        host.check(self._state.parent)
        programs = ensure_cluster()
        coredns = ensure_tool("coredns")
        (self._state / "pids").mkdir(parents=True)
        (self._state / "logs").mkdir()
        self.pki.make(node.SERVER, node.ADDRESS, node.API_SERVICE)
        self._write_files()
        host.connect()
        self._start("etcd", programs / "etcd", node.etcd(self._state))
        self._start("kube-apiserver", programs / "kube-apiserver", node.kube_apiserver(self.pki))
        self._start("containerd", Path(shutil.which("containerd") or ""), node.containerd(self._state))
        self._until(self._api_answers, "kube-apiserver")
        self._start(
            "kube-controller-manager", programs / "kube-controller-manager", node.kube_controller_manager(self.pki)
        )
        self._start("kube-scheduler", programs / "kube-scheduler", node.kube_scheduler(self.pki))
        self._start("kube-proxy", programs / "kube-proxy", node.kube_proxy(self.pki))
        self._start("coredns", coredns, node.coredns(self._state))
        self._until(lambda: self._ctr("version").returncode == 0, "containerd")
        self._import(image_archive(programs / "pause", "pause", node.PAUSE_IMAGE))
        self._start("kubelet", programs / "kubelet", node.kubelet(self._state, self.pki))
        self._until(self._node_is_ready, "kubelet")

    def measure(self) -> None:
        """Starts metrics-server, which no scenario needs. May be called twice. Raises `NotAvailable` or `Failed`."""
        if not self._pid_file("metrics-server").exists():
            self._start("metrics-server", ensure_tool("metrics-server"), node.metrics_server(self.pki))
            self.kubectl("apply", "-f", "-", input=node.metrics_api())

    def down(self) -> None:
        """Ends everything, pods included, and removes the state folder. May be called at any time."""
        for name in ("metrics-server", "coredns", "kube-proxy", "kubelet", "kube-scheduler", "kube-controller-manager"):
            self._stop(name)
        for name in ("kube-apiserver", "etcd"):
            self._stop(name)
        namespaces = self._end_containers()
        self._stop("containerd")
        host.end_shims(node.socket(self._state))
        host.clean(self._state, namespaces)
        host.disconnect()
        shutil.rmtree(self._state, ignore_errors=True)

    def restart(self, name: str) -> None:
        """Kills a program, without a chance to say goodbye, and starts it again with the same arguments."""
        command = json.loads(self._pid_file(name).read_text())["command"]
        self._stop(name, signal.SIGKILL)
        self._start(name, Path(command[0]), command[1:])
        self._until(self._api_answers, name)

    def load(self, image: str) -> None:
        """Copies an image from the local store of the tool that built it."""
        with tempfile.TemporaryDirectory() as folder:
            archive = f"{folder}/image.tar"
            save = {
                "buildah": ["buildah", "push", "--quiet", image, f"docker-archive:{archive}:{image}"],
                "podman": ["podman", "save", "--quiet", "--output", archive, image],
                "docker": ["docker", "save", "--output", archive, image],
            }
            tried = [
                subprocess.run(it, capture_output=True, text=True, check=False)
                for name, it in save.items()
                if shutil.which(name)
            ]
            if all(done.returncode for done in tried):
                raise Failed(f"{image} is nowhere here:\n" + "\n".join(done.stderr.strip() for done in tried))
            self._ctr("images", "import", archive, check=True)

    def install_keda(self) -> None:
        """Installs KEDA, and returns when it serves metrics. May be called twice. Raises `NotAvailable` or `Failed`."""
        built = ensure_keda()
        for it in keda.PROGRAMS:
            self._import(image_archive(built / it.built, it.name, it.image))
        if not self.pki.certificate("keda").exists():
            self.pki.sign("keda", ("keda", "keda"), keda.NAMES)
        overlay = self._state / "keda"
        overlay.mkdir(exist_ok=True)
        (overlay / "kustomization.yaml").write_text(keda.kustomization(overlay, built / "config", self.pki))
        for manifests in keda.certificates(self.pki), self.kubectl("kustomize", str(overlay)):
            self.kubectl("apply", "--server-side", "--filename", "-", input=manifests)
        self.kubectl("wait", "--for=condition=Available", f"apiservice/{keda.API}", f"--timeout={READY_SECONDS:g}s")

    def kubectl(self, *args: str, input: str | None = None) -> str:
        """Runs kubectl as the administrator. Raises `Failed`."""
        command = [str(ensure_cluster() / "kubectl"), f"--kubeconfig={self.pki.kubeconfig('admin')}", *args]
        done = subprocess.run(command, input=input, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(done.stderr.strip())
        return done.stdout

    def env(self) -> str:
        """Environment variables as a command for a shell."""
        return f"export KUBECONFIG={self.pki.kubeconfig('admin')} PATH={ensure_cluster()}{os.pathsep}$PATH"

    def _write_files(self) -> None:
        files = {
            "containerd.toml": node.containerd_config(self._state),
            "kubelet.json": node.kubelet_config(self._state, self.pki),
            "Corefile": node.corefile(self.pki),
            "cni/10-weir.conflist": node.cni_config(self._state),
        }
        for name, text in files.items():
            path = self._state / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    def _start(self, name: str, program: Path, flags: list[str]) -> None:
        with (self._state / "logs" / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(program), *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
            )
        self._pid_file(name).write_text(json.dumps({"pid": process.pid, "command": [str(program), *flags]}))

    def _stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        with contextlib.suppress(FileNotFoundError):
            pid = json.loads(self._pid_file(name).read_text())["pid"]
            deadline = time.monotonic() + STOP_SECONDS
            while _is(pid, name):
                os.kill(pid, how if time.monotonic() < deadline else signal.SIGKILL)
                time.sleep(POLL)
            self._pid_file(name).unlink()

    def _pid_file(self, name: str) -> Path:
        return self._state / "pids" / name

    def _until(self, what: Callable[[], bool], name: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not what():
            pid = json.loads(self._pid_file(name).read_text())["pid"]
            if time.monotonic() > deadline or not _is(pid, name):
                log = (self._state / "logs" / f"{name}.log").read_text(errors="replace").splitlines()
                raise Failed(f"{name} {'ended' if not _is(pid, name) else 'is not ready'}:\n" + "\n".join(log[-15:]))
            time.sleep(POLL)

    def _api_answers(self) -> bool:
        with contextlib.suppress(Failed):
            return self.kubectl("get", "--raw", "/readyz") == "ok"
        return False

    def _node_is_ready(self) -> bool:
        with contextlib.suppress(Failed):
            found = json.loads(self.kubectl("get", "node", node.NODE, "--output=json"))
            return {"type": "Ready", "status": "True"}.items() <= _ready_condition(found).items()
        return False

    def _ctr(self, *args: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        command = ["ctr", "--address", str(node.socket(self._state)), "--namespace", "k8s.io", *args]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise Failed(f"ctr {' '.join(args)}: {done.stderr.strip()}")
        return done

    def _import(self, image: bytes) -> None:
        with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
            archive.write(image)
            archive.flush()
            self._ctr("images", "import", archive.name, check=True)

    def _end_containers(self) -> list[Path]:
        """Kills all containers; returns the network namespaces of their pods."""
        if shutil.which("ctr") is None:  # none has ever been started here
            return []
        namespaces = set()
        for line in self._ctr("tasks", "list").stdout.splitlines()[1:]:
            name, pid, *_ = line.split()
            spec = json.loads(self._ctr("containers", "info", "--spec", name).stdout or "{}")
            for it in spec.get("linux", {}).get("namespaces", ()):
                if it["type"] == "network" and "path" in it:
                    namespaces.add(Path(it["path"]))
            self._ctr("tasks", "kill", "--signal", "KILL", name)
            deadline = time.monotonic() + STOP_SECONDS
            while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
                time.sleep(POLL)
        return [it for it in namespaces if it.name.startswith("cni-")]


def _is(pid: int, name: str) -> bool:
    """Whether the process is the program, and no other that got its number, nor one that waits to be collected."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return Path(os.readlink(f"/proc/{pid}/exe")).name.removesuffix(" (deleted)").startswith(name)
    except OSError:
        return False


def _ready_condition(found: dict[str, dict[str, list[dict[str, str]]]]) -> dict[str, str]:
    return next((it for it in found["status"].get("conditions", ()) if it["type"] == "Ready"), {})


def main(args: list[str]) -> int:
    """Exit code 1 where a step failed, 2 for wrong arguments, 3 where this machine cannot run a node."""
    cluster = Cluster(STATE)
    try:
        match args:
            case ["up"] if cluster.running:
                print(f"It is up already ({STATE}); make cluster-down ends it.", file=sys.stderr)
            case ["up"]:
                _up(cluster)
            case ["down"]:
                cluster.down()
            case ["load", image]:
                cluster.load(image)
            case ["metrics"]:
                cluster.measure()
            case ["keda"]:
                cluster.install_keda()
            case ["restart", name]:
                cluster.restart(name)
            case ["env"]:
                print(cluster.env())
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except host.Missing as missing:
        print(f"error: no cluster on this machine: {missing}.", file=sys.stderr)
        return 3
    except (Failed, NotAvailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _up(cluster: Cluster) -> None:
    started = time.monotonic()
    try:
        cluster.up()
    except BaseException:
        if cluster.running and not os.environ.get("WEIR_CLUSTER_KEEP"):  # to look into the logs
            cluster.down()
        raise
    print(f"Ready after {time.monotonic() - started:.0f} s. make cluster-down ends it. To use it:", file=sys.stderr)
    print(cluster.env(), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
