"""The ledger of bytes, and the memory that a process may use."""

import resource
from pathlib import Path

import pytest

from weir_router.admit.machine import cgroup_limit, default_memory, most_connections, raise_open_files
from weir_router.admit.memory import RETRY_AFTER, Memory

UNLIMITED = "9223372036854771712\n"


def test_what_is_taken_is_held_until_it_is_given_back():
    memory = Memory(100)
    assert memory.take(60)
    assert not memory.take(41)
    assert (memory.held, memory.left, memory.scarce) == (60, 40, True)
    assert memory.take(40)
    memory.give_back(60)
    assert memory.take(60)
    assert memory.left == 0
    memory.give_back(50)
    assert not memory.scarce


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "536870912\n"}, 536870912),  # a container of version 2 sees itself as the root
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "200\n", "memory.max": "300\n"}, 200),
        ("0::/a/b\n", {"a/b/memory.max": "100\n", "a/memory.max": "200\n"}, 100),
        ("0::/../outside\n", {"memory.max": "7\n"}, 7),  # of a cgroup beside the namespace's root
        ("0::/a\n", {}, None),
        ("9:cpu:/\n4:memory:/docker/ab\n", {"memory/docker/ab/memory.limit_in_bytes": "500\n"}, 500),
        ("4:memory:/of/the/host\n", {"memory/memory.limit_in_bytes": "600\n"}, 600),  # a container of version 1
        ("4:memory:/a\n", {"memory/a/memory.limit_in_bytes": "10\n", "memory/memory.limit_in_bytes": UNLIMITED}, 10),
        ("4:cpu,memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "10\n", "unified/memory.max": "9\n"}, 9),
        ("4:memory_other:/a\n", {"memory/a/memory.limit_in_bytes": "10\n"}, None),
        ("", {"memory.max": "5\n"}, None),
        ("no such line\n", {"memory.max": "5\n"}, None),
    ],
)
def test_the_least_limit_of_the_cgroup_and_its_parents_counts(
    tmp_path: Path, membership: str, files: dict[str, str], limit: int | None
):
    assert cgroup_limit(write(tmp_path, files), membership) == limit


def test_without_a_limit_it_is_a_part_of_the_machine():
    assert 2**20 < default_memory() < 2**50


def test_the_refusal_names_the_budget_its_option_and_what_has_no_room():
    error = Memory(100).used_up("this answer")
    assert (error.status, error.retry_after) == (503, RETRY_AFTER)
    assert "(100, see --memory), and has no room for this answer" in error.message


NONE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [
        (1024, 1_048_576, 20_128),  # as far as 10,000 callers need
        (1024, 4096, 4096),  # as far as it is allowed
        (1024, NONE, 20_128),
        (50_000, 1_048_576, None),  # high enough
        (NONE, NONE, None),
    ],
)
def test_the_limit_of_open_files_is_raised_as_far_as_needed(monkeypatch, soft, hard, raised):
    limits = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: limits.append((which, pair)))
    raise_open_files()
    assert limits == ([] if raised is None else [(resource.RLIMIT_NOFILE, (raised, hard))])


@pytest.mark.parametrize(
    ("files", "wanted", "connections"),
    [(256, 10_000, 64), (20_128, 10_000, 10_000), (20_128, 50, 50), (100, 9, 1), (NONE, 7, 7)],
)
def test_connections_leave_open_files_for_the_process_itself(monkeypatch, files, wanted, connections):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (files, NONE))
    assert most_connections(wanted) == connections
