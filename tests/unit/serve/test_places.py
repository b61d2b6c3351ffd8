"""Places for connections: bounds in all and of one peer, idle ones that make room, and the files of the process."""

import resource

import pytest

from weir_router.admit import machine
from weir_router.serve.http import Places, places


class Peer:
    slow = False
    due = 0.0

    def __init__(self, peer, *, busy=True):
        self.peer, self.busy, self.gone = peer, busy, False

    def close(self):
        pass

    def abort(self):
        self.gone = True


def test_one_peer_cannot_take_all_places():
    it = Places(10, per_peer=3)
    mine = [Peer("10.0.0.1") for _ in range(4)]
    assert [it.enter(one) for one in mine] == [True, True, True, False]
    assert it.enter(Peer("10.0.0.2"))
    it.leave(mine[0])
    it.leave(mine[0])  # the second time nothing happens
    it.leave(mine[3])  # it had no place
    assert it.taken == 3
    assert it.enter(mine[3])
    assert not it.enter(Peer("10.0.0.1"))


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1", ""])
def test_local_callers_share_an_address_and_all_places(peer):
    it = Places(10, per_peer=1)
    assert all(it.enter(Peer(peer)) for _ in range(10))
    assert not it.enter(Peer(peer))


def test_the_oldest_idle_connection_makes_room():
    it = Places(3)
    busy, idle, younger = Peer("10.0.0.1"), Peer("10.0.0.2", busy=False), Peer("10.0.0.3", busy=False)
    for one in (busy, idle, younger):
        it.enter(one)
    assert it.enter(Peer("10.0.0.4"))
    assert (busy.gone, idle.gone, younger.gone) == (False, True, False)
    assert it.taken == 3


def test_a_flood_looks_at_few_connections(monkeypatch):
    """Busy connections go to the end, so further looks come to others."""
    monkeypatch.setattr(places, "LOOKS", 2)
    it = Places(5)
    for _ in range(4):
        it.enter(Peer("10.0.0.1"))
    idle = Peer("10.0.0.2", busy=False)
    it.enter(idle)
    assert [it.enter(Peer("10.0.0.3")) for _ in range(3)] == [False, False, True]
    assert idle.gone


def test_a_proxy_in_front_of_all_callers_may_have_many_connections():
    assert Places(10_000).per_peer == 2_500
    assert Places(500).per_peer == places.LEAST_PER_PEER


@pytest.mark.parametrize(
    ("files", "most"), [(256, 64), (1024, 448), (2**20, 10_000), (64, 1), (resource.RLIM_INFINITY, 10_000)]
)
def test_connections_leave_files_for_upstreams_and_the_router(files, most, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert machine.most_connections(machine.MAX_CONNECTIONS) == most


@pytest.mark.parametrize(
    ("soft", "hard", "raised"), [(1024, 2**20, 20_128), (1024, 4096, 4096), (30_000, 2**20, None), (256, 256, None)]
)
def test_the_soft_limit_of_open_files_is_raised_as_far_as_needed(soft, hard, raised, monkeypatch):
    seen = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: seen.append(limits))
    machine.raise_open_files()
    assert seen == ([] if raised is None else [(raised, hard)])
