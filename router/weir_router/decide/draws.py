"""Random numbers of one decision, all of which follow from one number. Pure; used by `decide.rank`.

A decision that was recorded with its draw can so be made again and comes out the same. Each number is a mix of a
counter, as in SplitMix64, but of 32 bits: no product leaves the range in which compiled code calculates natively. A
`random.Random` per request would do the same and costs 10 µs to seed, a tenth of a whole request.
"""

from __future__ import annotations

import math

_BITS_32 = 0xFFFF_FFFF
_GOLDEN = 0x9E37_79B9  # 2^32 over the golden ratio: steps of this visit every number before any comes again


class Draws:
    """Example: `Draws(0.25).random()` is the same number in every process."""

    __slots__ = ("_counter",)

    def __init__(self, draw: float) -> None:
        """`draw` is at least 0 and below 1, as `random.random()` gives it."""
        seed = int(draw * 0x20_0000_0000_0000)  # all 53 bits of a float
        self._counter = (seed ^ (seed >> 21)) & _BITS_32

    def random(self) -> float:
        """A number from 0 to below 1, uniformly distributed."""
        self._counter = (self._counter + _GOLDEN) & _BITS_32
        mixed = self._counter
        mixed = ((mixed ^ (mixed >> 15)) * 0x2C1B_3C6D) & _BITS_32
        mixed = ((mixed ^ (mixed >> 12)) * 0x297A_2D39) & _BITS_32
        return (mixed ^ (mixed >> 15)) / 0x1_0000_0000

    def pair(self, size: int) -> tuple[int, int]:
        """Two different indexes below `size`, which is at least 2; all pairs alike likely."""
        first, second = int(self.random() * size), int(self.random() * (size - 1))
        return first, second + (second >= first)

    def exponential(self, rate: float) -> float:
        """Exponentially distributed with the mean 1 / `rate`."""
        return -math.log(1.0 - self.random()) / rate
