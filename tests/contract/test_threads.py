"""Configs are decoded in threads, several at a time, even the very first one of its kind."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading
from weir_router.config.decode import decode
from weir_router.contract import Delivery
from weir_router.contract.delta import Delta
from weir_router.contract.published import parse_index

CONFIG = b'{"apiVersion": "config.weir.dev/v1"}'
ONE = {
    "a delivery": lambda: decode(b'{"config": %s}' % CONFIG, Delivery),
    "a change": lambda: decode(b'{"base": "e", "entries": 0, "config": %s}' % CONFIG, Delta),
    "an index": lambda: parse_index(CONFIG),
}[sys.argv[1]]
ready = threading.Barrier(8)

def work():
    ready.wait()
    ONE()

sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=work) for _ in range(8)]
for it in threads: it.start()
for it in threads: it.join()
"""


@pytest.mark.parametrize("what", ["a delivery", "a change", "an index"])
def test_the_first_one_may_be_decoded_by_several_threads(what: str):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, what], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
