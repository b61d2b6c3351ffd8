"""Things of several namespaces that have too little room, and those of them that are left out. PURE."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from weir_operator.kube.objects import ObjectName


class Part(NamedTuple):
    """Something that needs room."""

    name: ObjectName
    created: float  # seconds since the epoch
    weight: int  # bytes


def crowded_out(parts: Iterable[Part], room: int) -> set[ObjectName]:
    """The parts to leave out until the others weigh at most `room` bytes.

    The namespace that uses most gives up its newest part, again and again.
    """
    owned: dict[str, list[Part]] = defaultdict(list)
    used: dict[str, int] = defaultdict(int)
    for part in parts:
        owned[part.name.namespace].append(part)
        used[part.name.namespace] += part.weight
    total = sum(used.values())
    if total <= room:
        return set()
    for own in owned.values():
        own.sort(key=lambda it: (it.created, it.name))
    largest = [(-weight, namespace) for namespace, weight in used.items()]
    heapq.heapify(largest)
    found: set[ObjectName] = set()
    while total > room:
        weight, namespace = heapq.heappop(largest)
        part = owned[namespace].pop()
        found.add(part.name)
        total -= part.weight
        if owned[namespace]:
            heapq.heappush(largest, (weight + part.weight, namespace))
    return found
