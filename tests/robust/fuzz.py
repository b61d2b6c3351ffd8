"""How long the tests with random inputs search: a second or two in `make test`, minutes in `make fuzz`."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

BATCHES = int(os.environ.get("WEIR_FUZZ_BATCHES", "50"))
"""Batches of inputs."""

EXPLORE = "WEIR_FUZZ_BATCHES" in os.environ
"""Whether the inputs are new in each run. Otherwise they are the same ones, so that a failure is a change's."""


def seeds(per_batch: int) -> Iterator[range]:
    """The seeds of each batch; a failed test names the seed."""
    first = random.randrange(2**40) if EXPLORE else 0
    return (range(first + it * per_batch, first + (it + 1) * per_batch) for it in range(BATCHES))
