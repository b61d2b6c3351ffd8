"""Finds the programs of Kubernetes and its tools, and builds them from the pinned Go modules where they are nowhere.

Called by `hack/kube/ensure` (make test, make cluster, CI) and by `apiserver.py`. It starts nothing; `golang.py`
compiles. Only the standard library, because it may run before any virtual environment exists.

- `ensure`: what a test's API server needs. `go.mod` pins it, or $KUBEBUILDER_ASSETS has it.
- `ensure_cluster`: the rest of a node, from the same modules.
- `ensure_tool`: programs with a module of their own, one version each.
- `ensure_keda`: KEDA, whose `replace` lines need a go.mod of ours: `keda/go.mod`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from golang import Go, NotAvailable, say

KUBERNETES = "v1.36.3"
"""Version that go.mod pins. It is stamped into the binaries, since clients would see v0.0.0 otherwise."""

BINARIES = ("etcd", "kube-apiserver", "kubectl")
"""Programs of a test's API server, quickest to build first, so that a broken set-up shows early."""

CLUSTER = ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "pause")
"""Further programs of a node."""

TOOLS = {
    "helm": "helm.sh/helm/v4/cmd/helm@v4.3.1",
    "helm3": "helm.sh/helm/v3/cmd/helm@v3.22.0",
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0",
    "coredns": "github.com/coredns/coredns@v1.15.0",
    "metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server@v0.9.0",
}
"""Programs by name. Go's checksum database vouches for each version, and the version's own go.mod pins the rest."""

SOURCE = Path(__file__).resolve().parent

STRIPPED = "-s -w"
"""Options of the linker: no symbols, which makes a program a third smaller."""


def _stamped() -> str:
    _, minor, _ = KUBERNETES.split(".")
    stamps = {"gitVersion": KUBERNETES, "gitMajor": "1", "gitMinor": minor, "gitTreeState": "clean"}
    pairs = (f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items())
    return " ".join((STRIPPED, *pairs))


class Module(NamedTuple):
    """A go.mod of ours, and what is built from it."""

    source: Path
    version: str  # the name of its folder in the cache
    packages: Mapping[str, str]  # by program, which bears the last part's name
    ldflags: str


KUBE = Module(
    SOURCE,
    KUBERNETES,
    {name: f"k8s.io/kubernetes/cmd/{name}" for name in (*BINARIES, *CLUSTER)}
    | {name: f"./{name}" for name in ("etcd", "pause")},
    _stamped(),
)

KEDA_MODULE = "github.com/kedacore/keda/v2"

KEDA = Module(
    SOURCE / "keda",
    "keda-v2.21.0",
    {name: f"{KEDA_MODULE}/cmd/{name}" for name in ("operator", "adapter")},
    STRIPPED,
)
"""Autoscaling by metrics, for `make e2e`: the version that keda/go.mod pins."""


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
    folder = _built(KEDA, KEDA.packages)
    config = folder / "config"
    if not config.exists():
        staged = folder / f".{os.getpid()}.tmp"
        shutil.copytree(Go(_cache()).folder_of(KEDA.source, KEDA_MODULE) / "config", staged)
        staged.rename(config)
    return folder


def find_tool(name: str) -> Path | None:
    """The program `name` of `TOOLS`, if it is built."""
    path = _cache() / "tools" / _tool_file(name)
    return path if os.access(path, os.X_OK) else None


def ensure_tool(name: str) -> Path:
    """Finds a tool, or builds it if it is missing. Raises `NotAvailable`."""
    if path := find_tool(name):
        return path
    folder, file = _cache() / "tools", _tool_file(name)
    with _missing_ones(folder, (file,)) as missing:
        if missing:
            with _staged(folder) as staged:
                Go(_cache()).install(TOOLS[name], STRIPPED, staged)
                next(staged.iterdir()).rename(folder / file)
    return folder / file


def _tool_file(name: str) -> str:
    """File name of a tool with its version, so that a newer pin is another file."""
    return f"{name}-{TOOLS[name].rpartition('@')[2]}"


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
    folder, names = _cache() / module.version, tuple(names)
    if not _missing(folder, names):
        return folder
    with _missing_ones(folder, names) as missing:
        if missing:
            with _staged(folder) as staged:
                packages = [module.packages[name] for name in missing]
                Go(_cache()).build(module.source, packages, module.ldflags, staged)
                for name in missing:
                    (staged / name).rename(folder / name)
    return folder


@contextmanager
def _missing_ones(folder: Path, names: Iterable[str]) -> Iterator[list[str]]:
    """Gives those of `names` that are missing, and holds a lock, so that no other process builds any meanwhile."""
    _writable(folder)
    with _lock(folder.parent / "lock"):
        missing = _missing(folder, names)  # read again: another process may just have built them
        if missing:
            say(f"Building {', '.join(missing)}, once, into {folder}")
            say("From nothing that takes minutes and gigabytes in Go's caches (kube-apiserver 5 minutes, the rest of a")
            say("node 4, KEDA 7, tools 1 to 3 each); with warm caches, seconds.")
        yield missing


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
    finders |= {name: partial(ensure_tool, name) for name in TOOLS}
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
    sys.exit(main(sys.argv[1:]))
