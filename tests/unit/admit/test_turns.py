"""Turns between namespaces: the bounds of deficit round-robin, for any entries."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_router.admit.turns import QUANTUM, Entry, Line, Turns
from weir_router.contract import Priority

KIB = 1024
SIZES = st.one_of(st.integers(0, 64 * KIB), st.integers(0, 32 * KIB * KIB))
NAMESPACES = "abcdef"


class Waiting:
    """Entries of some namespaces, and the bytes that each has been served."""

    def __init__(self) -> None:
        self.turns: Turns[Entry] = Turns()
        self.entries: list[Entry] = []
        self.served = dict.fromkeys(NAMESPACES, 0)

    def add(self, namespace: str, size: int, priority: Priority = Priority.NORMAL) -> Entry:
        entry = Entry(namespace, priority, len(self.entries), size)
        self.entries.append(entry)
        self.turns.add(entry)
        return entry

    def serve(self, out: str = "") -> Entry | None:
        """Serves the first entry of the line whose turn it is."""
        line = self.turns.next(set(out))
        if line is None:
            return None
        entry = next(iter(line))
        line.credit -= entry.cost
        self.turns.drop(entry)
        self.served[entry.namespace] += entry.cost
        return entry


def test_namespaces_take_turns_however_many_entries_each_has() -> None:
    waiting = Waiting()
    for _ in range(100):
        waiting.add("b", 1 * KIB)
    for _ in range(3):
        waiting.add("a", 200 * KIB)
    assert "".join(entry.namespace for _ in range(8) if (entry := waiting.serve())) == "bababab" + "b"


def test_a_large_entry_waits_for_as_many_turns_as_it_has_quanta_and_not_for_rounds_without_others() -> None:
    waiting = Waiting()
    large = waiting.add("a", 4 * QUANTUM)
    for _ in range(10):
        waiting.add("b", 1)
    order = [waiting.serve() for _ in range(11)]
    assert order.index(large) == 3
    assert waiting.serve() is None
    alone = waiting.add("a", 100 * QUANTUM)
    assert waiting.serve() is alone


def test_within_a_namespace_priority_counts_then_arrival() -> None:
    waiting = Waiting()
    low, normal, high = (waiting.add("a", 1, priority) for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH))
    later = waiting.add("a", 1)
    line = waiting.turns.next(set())
    assert line is not None
    assert list(line) == [high, normal, later, low]
    assert list(reversed(line)) == [low, later, normal, high]


def test_who_is_out_is_passed_over_and_gets_no_credit_for_it() -> None:
    waiting = Waiting()
    for _ in range(20):
        waiting.add("a", 1)
        waiting.add("b", 1)
    for _ in range(10):
        entry = waiting.serve(out="a")
        assert entry is not None
        assert entry.namespace == "b"
    assert waiting.serve(out="ab") is None
    found = [entry.namespace for _ in range(8) if (entry := waiting.serve())]
    assert found.count("a") == found.count("b") == 4


def test_a_namespace_that_comes_back_has_saved_nothing() -> None:
    waiting = Waiting()
    waiting.add("a", 1)
    for _ in range(6):
        waiting.add("b", 1)
    for _ in range(4):
        waiting.serve()
    waiting.add("a", 1)
    waiting.add("a", 1)
    assert [entry.namespace for _ in range(3) if (entry := waiting.serve())] in (["b", "a", "b"], ["a", "b", "a"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(NAMESPACES), SIZES), min_size=1, max_size=80))
def test_namespaces_that_wait_get_the_same_bytes_but_for_a_quantum_and_two_entries(
    entries: list[tuple[str, int]],
) -> None:
    waiting = Waiting()
    for namespace, size in entries:
        waiting.add(namespace, size)
    bound = QUANTUM + 2 * max(entry.cost for entry in waiting.entries)
    left = {name: sum(entry.namespace == name for entry in waiting.entries) for name in NAMESPACES}
    while (entry := waiting.serve()) is not None:
        left[entry.namespace] -= 1
        served = [waiting.served[name] for name in NAMESPACES if left[name]]
        assert not served or max(served) - min(served) <= bound
    assert not any(left.values()), "all are served: nothing starves, and no turn is lost"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(NAMESPACES), SIZES), max_size=60),
    st.lists(st.one_of(st.none(), st.tuples(st.sampled_from(NAMESPACES), SIZES)), max_size=60),
    SIZES,
)
def test_what_goes_before_an_entry_is_bounded_whatever_comes_after_it(
    before: list[tuple[str, int]], after: list[tuple[str, int] | None], size: int
) -> None:
    """The first entry of a namespace waits for as many rounds as it has quanta, each of one quantum per namespace."""
    waiting = Waiting()
    for namespace, its in before:
        waiting.add(namespace, its)
    entry = waiting.add("quiet", size)
    waiting.served["quiet"] = 0
    largest, passed = entry.cost, 0
    for step in [*after, *[None] * 200]:
        if step is not None:
            waiting.add(*step)
            continue
        served = waiting.serve()
        assert served is not None
        if served is entry:
            break
        largest = max(largest, served.cost)
        passed += served.cost
    else:
        pytest.fail("it was not served")
    rounds = -(-entry.cost // QUANTUM)
    assert passed <= len(NAMESPACES) * (rounds * QUANTUM + 2 * largest)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(NAMESPACES), SIZES), max_size=30),
    st.sets(st.sampled_from(NAMESPACES), max_size=6),
)
def test_there_is_a_turn_as_long_as_any_may_go(entries: list[tuple[str, int]], out: set[str]) -> None:
    waiting = Waiting()
    for namespace, size in entries:
        waiting.add(namespace, size)
    there = {namespace for namespace, _ in entries}
    line = waiting.turns.next(out & there)
    assert (line is None) is (there <= out)
    assert line is None or line.namespace not in out


def test_a_turn_costs_the_same_for_any_number_of_entries() -> None:
    """Removed entries are not stepped over: of 20,000 all are served within the time of a test."""
    line: Line[Entry] = Line("a")
    entries = [Entry("a", Priority.NORMAL, number, 1) for number in range(20_000)]
    for entry in entries:
        line.add(entry)
    for entry in entries:
        assert next(iter(line)) is entry
        line.drop(entry)
    assert line.weight == 0
