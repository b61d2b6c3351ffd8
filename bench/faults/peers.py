"""Other gateways before the same fleet, started from their own packages. Used by `proxies`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.faults.callers import Service

PEERS: Mapping[str, Callable[[Mapping[str, str], Path], contextlib.AbstractContextManager[Service]]] = {}
