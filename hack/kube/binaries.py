"""Finds the programs of Kubernetes and its tools, and builds them from the pinned Go modules where they are nowhere.

Called by `hack/kube/ensure` (make test, make cluster, CI) and by `apiserver.py`. It starts nothing; `golang.py`
compiles. Only the standard library, because it may run before any virtual environment exists.

- `ensure`: the programs of a test's API server. `go.mod` pins them, or $KUBEBUILDER_ASSETS has them.
- `ensure_cluster`: the rest of a node, from the same modules.
- `ensure_tool`: Helm and other tools. `tools/go.mod` pins them together, so that they share compiled packages;
  `promtool/go.mod` pins promtool, whose packages none of them shares.
- `ensure_keda`: KEDA, from its own sources without unused scalers (`keda_source.py`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import keda_source
from golang import Go, NotAvailable, say

KUBERNETES = "v1.36.3"
"""Version that go.mod pins. It is stamped into the binaries, since clients would see v0.0.0 otherwise."""

BINARIES = ("etcd", "kube-apiserver", "kubectl")
"""Programs of a test's API server, quickest to build first, so that a broken set-up shows early."""

CLUSTER = ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "pause")
"""Further programs of a node."""

SOURCE = Path(__file__).resolve().parent

WHAT_IT_TAKES = (
    "From nothing that takes minutes and gigabytes in Go's caches (kube-apiserver 4 minutes, the rest of a node,\n"
    "Helm, KEDA and promtool 1 to 2 each); with warm caches, seconds."
)
"""Text that is printed before something is built."""

STRIPPED = "-s -w"
"""Options of the linker: no symbols, which makes a program a third smaller."""


def _stamped() -> str:
    _, minor, _ = KUBERNETES.split(".")
    stamps = {"gitVersion": KUBERNETES, "gitMajor": "1", "gitMinor": minor, "gitTreeState": "clean"}
    pairs = (f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items())
    return " ".join((STRIPPED, *pairs))


def _digest(folder: Path) -> str:
    files = sorted(it for it in folder.rglob("*") if it.is_file())
    return hashlib.sha256(b"".join(it.read_bytes() for it in files)).hexdigest()[:8]


class Module(NamedTuple):
    """A folder with a go.mod, and the programs that are built from it."""

    source: Path
    version: str  # the name of its folder in the cache
    packages: Mapping[str, str]  # by program
    ldflags: str
    tags: str = ""  # build tags, separated by commas


KUBE = Module(
    SOURCE,
    KUBERNETES,
    {name: f"k8s.io/kubernetes/cmd/{name}" for name in (*BINARIES, *CLUSTER)}
    | {name: f"./{name}" for name in ("etcd", "pause")},
    _stamped(),
)

TOOLS = Module(
    SOURCE / "tools",
    f"tools-{_digest(SOURCE / 'tools')}",
    {
        "helm": "helm.sh/helm/v4/cmd/helm",
        "helm3": "helm.sh/helm/v3/cmd/helm",
        "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform",
        "coredns": "./coredns",
        "metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server",
    },
    STRIPPED,
)
"""Helm and other tools, for tests and for a node. Another version in tools/go.mod makes another folder in the cache."""

PROMTOOL = Module(
    SOURCE / "promtool",
    f"promtool-{_digest(SOURCE / 'promtool')}",
    {"promtool": "github.com/prometheus/prometheus/cmd/promtool"},
    STRIPPED,
    "remove_all_sd",
)
"""Prometheus' tool that checks and tests alerts. The tag leaves out the SDKs of all clouds: a third of its packages."""

TOOL_MODULES = {name: module for module in (TOOLS, PROMTOOL) for name in module.packages}
"""The module of each tool, by the tool's name."""


def find() -> Path | None:
    """The folder that holds `BINARIES`: $KUBEBUILDER_ASSETS, or the project's cache once it has been filled.

    Raises `NotAvailable` where $KUBEBUILDER_ASSETS is set and wrong.
    """
    if given := os.environ.get("KUBEBUILDER_ASSETS"):
        return _given(Path(given))
    folder = _cache() / KUBERNETES
    return None if _missing(folder, BINARIES) else folder


def ensure() -> Path:
    """Finds the binaries, or builds them in minutes, with progress on stderr. Raises `NotAvailable`."""
    return find() or _built(KUBE, BINARIES)


def ensure_cluster() -> Path:
    """The folder that holds `BINARIES` and `CLUSTER`, built where they are missing. Raises `NotAvailable`."""
    return _built(KUBE, (*BINARIES, *CLUSTER))


def ensure_keda() -> Path:
    """The folder that holds KEDA's `operator` and `adapter`, and its manifests in `config`. Raises `NotAvailable`."""

    def make(missing: list[str], staged: Path) -> None:
        go = Go(_cache())
        source = staged / "source"
        keda_source.copy(go.folder_of(keda_source.MODULE), source)
        go.build(source, {name: f"./cmd/{name}" for name in programs}, STRIPPED, staged)
        (source / "config").rename(staged / "config")

    programs = ("operator", "adapter")
    return _ensured(_cache() / keda_source.VERSION, (*programs, "config"), make)


def find_tool(name: str) -> Path | None:
    """Finds a program of `TOOL_MODULES`. Gives None if it is not built."""
    path = _cache() / TOOL_MODULES[name].version / name
    return path if os.access(path, os.X_OK) else None


def ensure_tool(name: str) -> Path:
    """Finds a tool, or builds it if it is missing. Raises `NotAvailable`."""
    return find_tool(name) or _built(TOOL_MODULES[name], (name,)) / name


def _given(folder: Path) -> Path:
    missing = _missing(folder, BINARIES)
    if missing:
        # An error, not a fallback: a user who sets it would wonder which server the tests ran on.
        raise NotAvailable(
            f"KUBEBUILDER_ASSETS is {folder}, but {', '.join(missing)} cannot be executed there.\n"
            "What to do: point it to a folder with all three, or unset it; then they are built once (about 5 minutes)."
        )
    return folder


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weir" / "kube"


def _missing(folder: Path, names: Iterable[str]) -> list[str]:
    return [name for name in names if not os.access(folder / name, os.X_OK)]


def _built(module: Module, names: Iterable[str]) -> Path:
    def make(missing: list[str], staged: Path) -> None:
        packages = {name: module.packages[name] for name in missing}
        Go(_cache()).build(module.source, packages, module.ldflags, staged, module.tags)

    return _ensured(_cache() / module.version, tuple(names), make)


def _ensured(folder: Path, names: tuple[str, ...], make: Callable[[list[str], Path], None]) -> Path:
    """Has `make` make those of `names` that `folder` does not hold, while no other process makes any."""
    if not _missing(folder, names):
        return folder  # without waiting for the lock: another process may hold it for minutes, to build something else
    _writable(folder)
    with _lock(folder.parent / "lock"):
        missing = _missing(folder, names)  # read again: another process may just have built them
        if missing:
            say(f"Building {', '.join(missing)}, once, into {folder}")
            say(WHAT_IT_TAKES)
            with _staged(folder) as staged:
                make(missing, staged)
                for name in missing:
                    (staged / name).rename(folder / name)
    return folder


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """Where programs are made before they move to `folder`, so that one is there whole or not at all."""
    staged = folder / f".{os.getpid()}.tmp"
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


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
            say("Another process is building the Kubernetes binaries; waiting for it ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(names: list[str]) -> int:
    """Prints where each of `names` is: `api` (the default), `cluster` and `keda` are folders, a tool is a file.

    Exit code 1 with the reason on stderr where one is nowhere and cannot be built; 2 for a name that is none.
    """
    finders: dict[str, Callable[[], Path]] = {"api": ensure, "cluster": ensure_cluster, "keda": ensure_keda}
    finders |= {name: partial(ensure_tool, name) for name in TOOL_MODULES}
    if unknown := [name for name in names if name not in finders]:
        say(f"error: {unknown[0]!r} is not one of {', '.join(finders)}.")
        return 2
    try:
        for name in names or ["api"]:
            print(finders[name](), flush=True)
    except NotAvailable as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("\nInterrupted; what is already compiled is kept.")
        return 130
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the compiler ends as well
    sys.exit(main(sys.argv[1:]))
