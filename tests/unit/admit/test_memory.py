"""The ledger of bytes, and the memory that a process may use."""

import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_router.admit.machine import cgroup_limit, default_memory, most_connections, raise_open_files
from weir_router.admit.memory import RETRY_AFTER, SHARE, STRANGERS, Memory
from weir_router.errors import Overloaded
from weir_router.serve.http.body import Body, Largest

UNLIMITED = "9223372036854771712\n"


def test_what_is_taken_is_held_until_it_is_given_back():
    memory = Memory(100, shared=False)
    assert memory.take(60, "a")
    assert not memory.take(41, "b")
    assert (memory.held, memory.left("a"), memory.scarce, memory.largest) == (60, 40, True, 100)
    assert memory.take(40, "b")
    memory.give_back(60, "a")
    assert memory.take(60, "")
    assert memory.left("a") == 0
    memory.give_back(60, "")
    assert not memory.scarce


def test_a_claim_takes_bytes_or_raises_an_error_that_names_what_has_no_room():
    memory = Memory(100, shared=False)
    memory.claim(100, "a", "this answer")
    with pytest.raises(Overloaded, match=r"no room for this answer") as error:
        memory.claim(1, "a", "this answer")
    assert (memory.held, error.value.retry_after) == (100, RETRY_AFTER)


def test_a_namespace_alone_holds_eight_ninths_and_another_one_is_served():
    memory = Memory(900)
    assert memory.largest == 800
    assert memory.take(800, "a")
    assert not memory.take(1, "a")
    assert memory.take(88, "b")
    assert not memory.take(1, "b")
    memory.give_back(800, "a")
    assert memory.left("a") == 8 * 812 // 9


def test_callers_that_are_not_known_have_a_small_share_until_they_are():
    memory = Memory(900)
    first, second = Body(memory, Largest(900)), Body(memory, Largest(900))
    assert first.reserve(150) is None
    assert "as callers that are not identified yet may use" in second.reserve(1)[1]
    assert memory.own(first, "a")
    assert second.reserve(1) is None
    first.clear()
    second.clear()
    assert memory.take(790, "a")
    assert first.reserve(4) is None
    assert not memory.own(first, "a")
    assert (first.namespace, memory.held) == (STRANGERS, 802)


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.integers(0, 400)), max_size=60), st.randoms())
def test_at_any_time_each_has_at_most_its_share_and_all_comes_back(steps, rng):
    memory, taken = Memory(1000), []
    for namespace, size in steps:
        if memory.take(size, namespace):
            taken.append((namespace, size))
            mine = sum(n for name, n in taken if name == namespace)
            free = 1000 - sum(n for _, n in taken)
            assert memory.held == 1000 - free
            assert not size or mine <= (SHARE if namespace else 1) * free
        elif rng.random() < 0.5 and taken:
            memory.give_back(*reversed(taken.pop(rng.randrange(len(taken)))))
    for namespace, size in taken:
        memory.give_back(size, namespace)
    assert memory.held == 0
    assert [memory.left(it) for it in ("", "a")] == [500, 888]


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


def test_a_holder_that_holds_nothing_changes_its_namespace_only():
    memory, body = Memory(100), Body(Memory(1), Largest(1))
    assert memory.own(body, "a")
    assert (body.namespace, memory.held) == ("a", 0)


def test_the_refusal_names_the_budget_its_option_and_what_has_no_room():
    error = Memory(100).used_up("this answer", "a")
    assert (error.status, error.retry_after) == (503, RETRY_AFTER)
    assert "(100, see --memory), and has no room for this answer" in error.message


def test_the_refusal_says_that_it_is_the_namespaces_share():
    memory = Memory(900)
    memory.take(800, "team-a")
    assert memory.used_up("this answer", "team-a").message == (
        "Namespace team-a holds 800 bytes, its share of the 900 bytes that this router may hold (see --memory), and "
        "has no room for this answer now."
    )
    assert memory.no_room("this answer", "team-b").startswith("This router holds as many bytes as it may")


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
