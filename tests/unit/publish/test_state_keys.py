"""Keys that seal ids: made, replaced, kept through restarts, and never in what a tenant sees."""

from __future__ import annotations

import gzip
import itertools
from base64 import b64decode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.published import NAMES, compiled
from weir_operator.publish.publication import publication
from weir_operator.publish.state_keys import (
    DAY,
    KEEP_SECONDS,
    KEY_BYTES,
    MOST_KEYS,
    ROTATE_SECONDS,
    SPREAD,
    Keys,
    StateKeys,
    next_change,
    read,
    renewed,
)
from weir_router.contract import StateKey
from weir_router.contract.published import Index, assemble

START = 1_800_000_000


class Draws:
    """Keys that differ, without randomness."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __call__(self, size: int) -> bytes:
        return next(self._numbers).to_bytes(size, "big")


def published(keys: Keys) -> tuple[dict[str, bytes], Index]:
    """The files of the Secret and the index."""
    what = compiled()
    secrets = msgspec.structs.replace(what.secrets, state_keys=keys)
    made = publication(type(what)(what.config, secrets, ()), 1, names=NAMES)
    return dict(made.contents[NAMES.state_keys]), made.index


def test_the_first_key_seals_at_once():
    (key,) = renewed((), START, Draws())
    assert key.since == START
    assert len(b64decode(key.key)) == KEY_BYTES


def test_a_new_key_proves_before_it_seals_and_the_old_one_after():
    draw, keys = Draws(), ()
    keys = renewed(keys, START, draw)
    assert renewed(keys, START + ROTATE_SECONDS - 1, draw) == keys
    both = renewed(keys, START + ROTATE_SECONDS, draw)
    assert [it.since for it in both] == [START, START + ROTATE_SECONDS + SPREAD]
    assert both[0] == keys[0]
    over = both[1].since + KEEP_SECONDS
    assert len(renewed(both, over - SPREAD - 1, draw)) == 2
    assert both[0] not in renewed(both, over, draw)


@given(st.lists(st.integers(0, 90 * DAY), max_size=40))
def test_a_key_proves_for_as_long_as_providers_keep_what_it_has_sealed(pauses: list[int]):
    """The operator may be away for any time: the keys stay few, and none goes within 30 days of its last seal."""
    now, draw, keys = float(START), Draws(), ()
    last: dict[str, float] = {}
    for pause in pauses:
        now = now + pause if keys else now
        before, keys = keys, renewed(keys, now, draw)
        assert 1 <= len(keys) < MOST_KEYS
        sealing = max((it for it in keys if it.since <= now), key=lambda it: it.since, default=keys[0])
        for gone in set(before) - set(keys):
            assert now - last.get(gone.key, 0.0) >= KEEP_SECONDS
        last[sealing.key] = now
        assert next_change(keys) > now


def test_rounds_at_the_right_time_keep_every_seal_for_thirty_days():
    now, draw = float(START), Draws()
    keys, last = renewed((), now, draw), {}
    for _ in range(50):
        sealing = max((it for it in keys if it.since <= now), key=lambda it: it.since, default=keys[0])
        last[sealing.key] = now
        now = next_change(keys)
        before, keys = keys, renewed(keys, now, draw)
        assert keys != before
        for gone in set(before) - set(keys):
            assert now - last[gone.key] >= KEEP_SECONDS


def test_a_clock_that_was_wrong_once_does_not_stop_the_rotation():
    keys = renewed((StateKey(key="old", since=START), StateKey(key="ahead", since=START + 3650 * DAY)), START, Draws())
    assert [it.since for it in keys] == [START, START + SPREAD]


def test_what_is_published_is_what_is_read():
    keys = renewed((), START, Draws())
    files, index = published(keys)
    assert read(files, index) == keys
    assert read(files, None) == keys
    assert read({**files, "other": b"x"}, msgspec.structs.replace(index, state_keys=None)) == keys


@pytest.mark.parametrize("content", [b"", b"spoilt", gzip.compress(b"[]"), gzip.compress(b"{"), None])
def test_a_spoilt_secret_is_written_back_from_memory(content: bytes | None):
    draw = Draws()
    kept = StateKeys(wall=lambda: START, draw=draw)
    keys = kept.wanted({}, None)
    files, index = published(keys)
    spoilt = {} if content is None else dict.fromkeys(files, content)
    assert kept.wanted(spoilt, index) == keys
    assert StateKeys(mirrored=lambda: keys, wall=lambda: START, draw=draw).wanted(spoilt, index) == keys
    assert StateKeys(wall=lambda: START, draw=draw).wanted(spoilt, index) != keys


def test_another_replica_takes_the_keys_that_are_there():
    first, second = (StateKeys(wall=lambda: START, draw=Draws()) for _ in range(2))
    keys = first.wanted({}, None)
    assert second.wanted(*published(keys)) == keys


def test_routers_get_the_keys_from_the_files():
    keys = renewed((), START, Draws())
    what = compiled()
    secrets = msgspec.structs.replace(what.secrets, state_keys=keys)
    made = publication(type(what)(what.config, secrets, ()), 1, names=NAMES)
    assert assemble(made.index, made.files)[1].state_keys == keys


def test_no_repr_shows_a_key():
    keys = renewed((), START, Draws())
    secrets = msgspec.structs.replace(compiled().secrets, state_keys=keys)
    assert keys[0].key not in repr(keys) + repr(secrets)
