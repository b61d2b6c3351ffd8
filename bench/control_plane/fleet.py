"""The routers of the benchmark: processes of `bench.control_plane.clients`, and their tokens."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from kubernetes.client import ApiClient, AuthenticationV1TokenRequest, CoreV1Api, V1TokenRequestSpec

from bench.control_plane.clients import Had, Job, Wanted
from weir_operator.identity.trust import config_audience

PROCESSES = 2
ANSWER_SECONDS = 120.0
"""Seconds to wait for the answer to any question; longer means a defect."""


class Fleet:
    """Connections that hold the gateway's whole config, each as a pod with a token of its own."""

    def __init__(self, processes: list[subprocess.Popen[bytes]]) -> None:
        self._processes = processes
        self._threads = ThreadPoolExecutor(len(processes))

    def until(self, object: str = "", generation: int = 0) -> Had:
        """Waits until every connection has this generation in effect; when the last had it, and sums."""
        line = msgspec.json.encode(Wanted(object, generation)) + b"\n"
        asked = [self._threads.submit(_ask, it, line) for it in self._processes]
        found = [it.result(ANSWER_SECONDS) for it in asked]
        return Had(
            max(it.at for it in found),
            sum(it.received for it in found),
            min(it.revision for it in found),
            sum(it.cpu for it in found),
        )


def _ask(process: subprocess.Popen[bytes], line: bytes) -> Had:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line)
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"the clients' process ended with {process.wait()}")
    return msgspec.json.decode(answer, type=Had)


@contextlib.contextmanager
def connected(url: str, ca_file: Path, tokens: list[Path]) -> Iterator[Fleet]:
    """A connection per token, for the length of a block."""
    with contextlib.ExitStack() as stack:
        processes = []
        for first in range(PROCESSES):
            job = Job(url, str(ca_file), [str(it) for it in tokens[first::PROCESSES]])
            command = [sys.executable, "-m", "bench.control_plane.clients"]
            process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            stack.callback(process.terminate)
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(job) + b"\n")
            process.stdin.flush()
            processes.append(process)
        yield Fleet(processes)


def tokens(client: ApiClient, namespace: str, installation: str, folder: Path, count: int) -> list[Path]:
    """Files with tokens of the gateway's ServiceAccount, as the kubelet would project them into so many pods."""
    spec = V1TokenRequestSpec(audiences=[config_audience(installation)], expiration_seconds=7200)
    request = AuthenticationV1TokenRequest(spec=spec)
    files = []
    for number in range(count):
        made = CoreV1Api(client).create_namespaced_service_account_token(f"{installation}-router", namespace, request)
        file = folder / f"router-{number:03}"
        file.write_text(made.status.token)
        files.append(file)
    return files
