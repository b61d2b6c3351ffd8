"""Seals: only what a key of the ring has sealed is proven, for its purpose, namespace and content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_router.seal import MAX_SEALED, SEAL_LENGTH, KeyRing

OLD, NEW = b"o" * 32, b"n" * 32
WORD = st.text(max_size=20)


@given(WORD, WORD, st.binary(max_size=100), WORD, WORD, st.binary(max_size=100))
def test_a_seal_proves_what_it_was_made_for_and_nothing_else(purpose, namespace, content, other, elsewhere, more):
    ring = KeyRing([(OLD, 0)])
    seal = ring.seal(purpose, namespace, content, 0)
    assert ring.proves(seal, purpose, namespace, content)
    same = (purpose, namespace, content) == (other, elsewhere, more)
    assert ring.proves(seal, other, elsewhere, more) is same


@given(st.text(max_size=40))
def test_a_made_up_seal_proves_nothing(text):
    assert not KeyRing([(OLD, 0), (NEW, 5)]).proves(text, "response", "shop", b"resp_1")


def test_bytes_cannot_move_from_one_part_to_the_next():
    ring = KeyRing([(OLD, 0)])
    seal = ring.seal("ab", "c", b"d", 0)
    for parts in (("a", "bc", b"d"), ("ab", "", b"cd"), ("abc", "", b"d"), ("", "abc", b"d")):
        assert not ring.proves(seal, *parts)


def test_each_changed_character_breaks_it():
    ring = KeyRing([(OLD, 0)])
    seal = ring.seal("response", "shop", b"resp_1", 0)
    assert len(seal) == SEAL_LENGTH
    assert seal.replace("-", "a").replace("_", "a").isalnum()
    for place in range(SEAL_LENGTH):
        other = "A" if seal[place] != "A" else "B"
        assert not ring.proves(seal[:place] + other + seal[place + 1 :], "response", "shop", b"resp_1")
    for wrong in (seal[:-1], seal + "A", "", seal.swapcase(), seal[:-1] + "é"):
        assert not ring.proves(wrong, "response", "shop", b"resp_1")


def test_a_new_key_proves_at_once_and_seals_when_it_is_due():
    old, both, new = KeyRing([(OLD, 0)]), KeyRing([(OLD, 0), (NEW, 100)]), KeyRing([(NEW, 100)])
    before, after = both.seal("p", "n", b"x", 99), both.seal("p", "n", b"x", 100)
    assert before == old.seal("p", "n", b"x", 99)
    assert after == new.seal("p", "n", b"x", 99), "the only key seals, be it due or not"
    assert both.proves(before, "p", "n", b"x")
    assert both.proves(after, "p", "n", b"x")
    assert not new.proves(before, "p", "n", b"x")


def test_without_a_usable_key_nothing_is_sealed_or_proven():
    for ring in (KeyRing([]), KeyRing([(b"short", 0)])):
        assert not ring
        assert not ring.proves("A" * SEAL_LENGTH, "p", "n", b"x")
        with pytest.raises(ValueError, match="no key, or too much"):
            ring.seal("p", "n", b"x", 0)


def test_what_is_sealed_has_a_bound():
    ring = KeyRing([(OLD, 0)])
    ring.seal("p", "n", b"x" * MAX_SEALED, 0)
    with pytest.raises(ValueError, match="no key, or too much"):
        ring.seal("p", "n", b"x" * (MAX_SEALED + 1), 0)
    assert not ring.proves("A" * SEAL_LENGTH, "p", "n", b"x" * (MAX_SEALED + 1))
