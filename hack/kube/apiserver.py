"""A real Kubernetes API server on this machine: etcd and kube-apiserver, no node, no controllers.

Used by `tests/kube/conftest.py` (one per test session); `python hack/kube/apiserver.py` runs one until Ctrl-C. Needs
neither root nor openssl: kube-apiserver makes its own certificate, and a random token of the group system:masters lets
us in. With no controllers, nothing deletes a namespace's content, makes ServiceAccounts or runs pods; RBAC, admission,
defaulting, CEL and storage are the real ones.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from binaries import ensure
from golang import NotAvailable

START_DEADLINE = 60.0
"""Seconds until it must be ready. It takes 3 on an idle machine; the rest is for a loaded one."""

STOP_DEADLINE = 10.0
"""Seconds a process has to leave before it is killed. Nothing of value is lost: the data are thrown away."""

POLL = 0.05
"""Seconds between two looks at /readyz."""

ATTEMPTS = 3
"""Starts before giving up when a port that was free has been taken in between."""

LOG_LINES = 25
"""How much of each log an error shows."""

PORT_TAKEN = "address already in use"


class StartFailed(Exception):
    """The server did not become ready; the message has the ends of the logs."""


class ApiServer:
    """etcd and kube-apiserver on free ports of 127.0.0.1, with a state folder of their own that `stop` removes."""

    def __init__(self, assets: Path) -> None:
        """`assets` holds the binaries; see `binaries.ensure`."""
        self.assets = assets
        self.url = ""
        self.token = secrets.token_urlsafe(32)
        self.state = Path(tempfile.mkdtemp(prefix="weir-kube-"))
        self.kubeconfig = self.state / "kubeconfig"
        self.signing_keys: list[Path] = []
        """PEM files: the first signs ServiceAccount tokens, all are accepted. Looked at when the server starts; empty:
        the key of its TLS certificate, which saves us from making one and is good enough for a test."""
        self.flags: list[str] = []
        """Further flags of kube-apiserver. Looked at when it starts."""
        self._etcd_url = ""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def ca_file(self) -> Path:
        """The certificate to trust; exists once the server is ready."""
        return self.state / "pki" / "apiserver.crt"

    def start(self) -> None:
        """Starts both processes and returns when /readyz says ok. Raises `StartFailed`, with nothing left running."""
        for last in [False] * (ATTEMPTS - 1) + [True]:
            try:
                self._launch()
                self._wait_until_ready()
                return
            except StartFailed as error:
                self._end_processes()
                if last or PORT_TAKEN not in str(error):
                    self.stop()
                    raise
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """Ends both processes and removes the state folder. May be called twice."""
        self._end_processes()
        shutil.rmtree(self.state, ignore_errors=True)

    def kill(self) -> None:
        """Kills kube-apiserver; etcd stays. `restart` starts it again."""
        if process := self._processes.pop("kube-apiserver", None):
            process.kill()
            process.wait()

    def restart(self) -> None:
        """Kills kube-apiserver and starts it again: same data, port and credentials. Returns when /readyz says ok."""
        self.kill()
        self._start_apiserver()
        self._wait_until_ready()

    def compact(self) -> None:
        """Makes etcd forget all but the present state of every object, so that older watches cannot be resumed."""
        revision = self._etcd("kv/range", key=base64.b64encode(b"/").decode())["header"]["revision"]
        self._etcd("kv/compaction", revision=revision, physical=True)

    def kubectl(self, *args: str, input: str | None = None, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Runs kubectl as the administrator and returns what came of it; a failure is not raised."""
        # A cache of its own: discovery is cached by host and port, and another server may have had this port before.
        command = [
            str(self.assets / "kubectl"),
            f"--kubeconfig={self.kubeconfig}",
            f"--cache-dir={self.state / 'cache'}",
        ]
        return subprocess.run(
            [*command, *args], input=input, capture_output=True, text=True, timeout=timeout, check=False
        )

    def __enter__(self) -> ApiServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self) -> None:
        etcd_port, peer_port, port = _free_ports(3)
        self.url = f"https://127.0.0.1:{port}"
        self._write_credentials()
        self._etcd_url = f"http://127.0.0.1:{etcd_port}"
        # kube-apiserver waits for etcd by itself, so both start at once.
        self._spawn("etcd", _etcd_flags(self.state / "etcd", self._etcd_url, f"http://127.0.0.1:{peer_port}"))
        self._start_apiserver()

    def _start_apiserver(self) -> None:
        port = int(self.url.rpartition(":")[2])
        flags = _apiserver_flags(self.state, self._etcd_url, port, self.signing_keys)
        self._spawn("kube-apiserver", flags + self.flags)

    def _etcd(self, method: str, **parameters: object) -> Any:
        """Calls etcd by its JSON gateway: there is no etcdctl."""
        request = urllib.request.Request(f"{self._etcd_url}/v3/{method}", data=json.dumps(parameters).encode())
        with urllib.request.build_opener(_without_proxy()).open(request, timeout=10) as answer:
            return json.load(answer)

    def _write_credentials(self) -> None:
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url, "certificate-authority": str(self.ca_file)}}],
            "users": [{"name": "admin", "user": {"token": self.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        }
        _write_private(self.kubeconfig, json.dumps(kubeconfig))
        _write_private(self.state / "tokens.csv", f'{self.token},admin,admin,"system:masters"\n')

    def _spawn(self, name: str, flags: list[str]) -> None:
        with self._log(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [str(self.assets / name), *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C ends the tests first, and they end the server
                preexec_fn=_end_with_parent,
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_DEADLINE
        while not self._ready():
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise StartFailed(
                        f"{name} ended with code {process.returncode} before it was ready\n{self._log_tails()}"
                    )
            if time.monotonic() > deadline:
                raise StartFailed(f"the API server was not ready within {START_DEADLINE:.0f} s\n{self._log_tails()}")
            time.sleep(POLL)

    def _ready(self) -> bool:
        if not self.ca_file.exists():
            return False
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {self.token}"})
        try:
            # The certificate may be there in part: then it does not load, and the next look will be better.
            trust = ssl.create_default_context(cafile=str(self.ca_file))
            with urllib.request.build_opener(_without_proxy(), urllib.request.HTTPSHandler(context=trust)).open(
                request, timeout=5
            ):
                return True
        except (OSError, ssl.SSLError):  # refused, not ready yet (an HTTPError is an OSError), or half a certificate
            return False

    def _end_processes(self) -> None:
        # The API server first: without etcd it would spend its last seconds on retries.
        for name in ("kube-apiserver", "etcd"):
            if process := self._processes.pop(name, None):
                _end(process)

    def _log(self, name: str) -> Path:
        return self.state / f"{name}.log"

    def _log_tails(self) -> str:
        logs = {name: self._log(name).read_text(errors="replace").splitlines() for name in self._processes}
        return "\n".join(f"--- end of {name}'s log\n" + "\n".join(lines[-LOG_LINES:]) for name, lines in logs.items())


def _etcd_flags(data: Path, client: str, peer: str) -> list[str]:
    return [
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",  # the data need not outlive the process
        "--log-level=warn",
    ]


def _apiserver_flags(state: Path, etcd: str, port: int, signing_keys: list[Path]) -> list[str]:
    pki = state / "pki"
    signing_keys = signing_keys or [pki / "apiserver.key"]
    return [
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={pki}",  # empty: it makes itself a certificate for 127.0.0.1 there
        f"--service-account-signing-key-file={signing_keys[0]}",
        *(f"--service-account-key-file={key}" for key in signing_keys),
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--token-auth-file={state / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--endpoint-reconciler-type=none",  # it would refuse 127.0.0.1 as the address of an endpoint
    ]


def _free_ports(count: int) -> list[int]:
    """Ports that are free now; all held at once, so that they differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [sock.getsockname()[1] for sock in held]
    finally:
        for sock in held:
            sock.close()


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _without_proxy() -> urllib.request.ProxyHandler:
    # A proxy in the environment could not reach this machine's loopback.
    return urllib.request.ProxyHandler({})


def _death_signal_setter() -> Callable[[], None] | None:
    """Makes Linux end the child together with its parent, if a killed test run cannot clean up; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, set_death_signal = ctypes.CDLL(None).prctl, 1  # PR_SET_PDEATHSIG of <linux/prctl.h>
    return lambda: prctl(set_death_signal, signal.SIGKILL)


# Made at import: between fork and exec nothing may be loaded.
_end_with_parent = _death_signal_setter()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> int:
    """Runs a server until Ctrl-C or SIGTERM, and says how to talk to it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        started = time.monotonic()
        with ApiServer(ensure()) as server:
            print(
                f"Ready after {time.monotonic() - started:.1f} s at {server.url}. Ctrl-C ends it. To use it:",
                file=sys.stderr,
            )
            print(f"export KUBECONFIG={server.kubeconfig} PATH={server.assets}{os.pathsep}$PATH", flush=True)
            signal.pause()
    except (NotAvailable, StartFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
