"""The memory and the files that this process may use. Used by `app` and `run`.

The memory is the limit of its cgroup, or the machine's memory.

A pod's limit is a limit of its cgroup. Version 2 has it in `memory.max` (a number or `max`), version 1 in
`memory.limit_in_bytes`, where a number near 2^63 means no limit. The limits of the parents count, too. In a container,
the path in `/proc/self/cgroup` may be the host's, which does not exist there: then the mount's own file holds the
container's limit.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")

SHARE = 2
"""Divisor of the process's memory that gives the default of `--memory`. The other half is for the program, decoded JSON
and answers."""


MAX_CONNECTIONS = 10_000
"""Connections of callers, unless an option or the limit of open files says less. Idle ones take 3 KB each."""

OWN_FILES = 128
"""Open files that are kept for the process itself: the admin port's connections, mounted files, logs, the config
server."""

PER_CALLER = 2
"""Open files for each connection of a caller: its own, and one to an upstream."""


def raise_open_files() -> None:
    """Raises the soft limit of open files as far as it is needed and allowed, as Go's runtime does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OWN_FILES + PER_CALLER * MAX_CONNECTIONS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections(wanted: int) -> int:
    """`wanted` connections of callers, or fewer if there may be fewer open files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, (files - OWN_FILES) // PER_CALLER))


def default_memory() -> int:
    """Bytes that a router may hold for its callers, unless an option sets them."""
    limit = cgroup_limit(CGROUPS, _text(MEMBERSHIP) or "")
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return (physical if limit is None else min(limit, physical)) // SHARE


def cgroup_limit(mount: Path, membership: str) -> int | None:
    """The least memory limit in bytes of the cgroups that `membership` names, and of their parents; None: no limit.

    `mount` is where the cgroups are, `/sys/fs/cgroup`; `membership` is the text of `/proc/self/cgroup`, such as
    `0::/kubepods/pod1` of version 2 or `4:memory:/docker/ab12` of version 1.
    """
    return min((limit for file in _files(mount, membership) if (limit := _number(file)) is not None), default=None)


def _files(mount: Path, membership: str) -> Iterator[Path]:
    for line in membership.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            # On some machines, the unified hierarchy lies beside those of version 1, in a directory of its own.
            places = [(mount, "memory.max"), (mount / "unified", "memory.max")]
        elif "memory" in controllers.split(","):
            places = [(mount / "memory", "memory.limit_in_bytes")]
        else:
            continue
        own = PurePosixPath(path.lstrip("/"))
        for root, name in places:
            yield from (root / parent / name for parent in (own, *own.parents) if ".." not in parent.parts)


def _number(file: Path) -> int | None:
    text = (_text(file) or "").strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _text(file: Path) -> str | None:
    try:
        return file.read_text()
    except (OSError, ValueError):
        return None
