"""The limits of a caller's connection: times, rates and requests sent ahead. Used by `connection`."""

from __future__ import annotations

MAX_AHEAD = 32
"""Requests that may be sent ahead of an answer. No SDK sends any; a caller that sends more gets these answered, and
then the connection closed."""

IDLE_TIMEOUT = 75.0
"""Seconds for which a connection is kept between requests: nginx' default, and longer than clients keep theirs."""

READ_TIMEOUT = 60.0
"""Seconds for the whole head of a request from its first byte, and for a body besides `LEAST_RATE` (nginx' default)."""

LEAST_RATE = 16 * 1024
"""Bytes per second of the slowest body that is read: an old mobile network. A body of 31 MiB may take half an hour."""

SCARCE_RATE = 512 * 1024
"""Bytes per second of the slowest body while memory is scarce: a body of 31 MiB holds its memory for two minutes."""

WRITE_TIMEOUT, LEAST_READ = 30.0, 1024
"""Seconds in which a caller must take so many bytes of what waits for it, or all. One that reads more slowly has
stopped, and holds memory and perhaps a slot of a backend."""

LINGER_TIMEOUT = 5.0
"""Seconds for a refused caller that is still sending to read the answer, which closing at once would destroy."""

LINGER_PACE = 0.002
"""Seconds between two reads from refused callers that are still sending, all together: 256 KiB each, so 128 MB
per second. Reading from them as fast as they send would leave no time for others."""

NEVER = float("inf")
"""A time that does not come: the connection has no deadline."""
