"""A clock that rings to the microsecond: Linux's timerfd. Used by the benchmark's open loop.

Timers of event loops go by whole milliseconds: of 3,000 requests a second three would be sent in one go, and queue
behind each other.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
import time
from collections.abc import Callable

_ABSOLUTE = 1  # TFD_TIMER_ABSTIME
_libc = ctypes.CDLL(None, use_errno=True)


class Alarm:
    """Calls `ring` at the moment it was last set to, in the running loop."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._descriptor = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._rung)

    def set(self, moment: float) -> None:
        """Rings at `moment` of `time.perf_counter`, on Linux the monotonic clock, in seconds; at once if it is past."""
        value = struct.pack("qqqq", 0, 0, int(moment), int(moment % 1 * 1e9))
        if _libc.timerfd_settime(self._descriptor, _ABSOLUTE, value, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def _rung(self) -> None:
        os.read(self._descriptor, 8)
        self._ring()

    def close(self) -> None:
        """Never rings again."""
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
