"""A waiting router costs the operator little memory: the benchmark's own measure, with fewer polls."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

POLLS = 300
MOST_KIB = 60
"""KiB of memory for an idle poll over TLS; a thousand are then below 60 MB."""


def test_an_idle_poll_over_tls_costs_little_memory():
    command = [sys.executable, "-m", "bench.idle_polls", "--polls", str(POLLS)]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=60, check=True
    )
    assert float(re.findall(r"([\d.]+) KiB each", done.stdout)[0]) <= MOST_KIB, done.stdout
