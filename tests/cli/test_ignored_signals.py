"""A test run that ignores signals, as one in the background does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

INTERRUPTED = """
import signal
import subprocess
import time


def test_a_program_ends_when_it_is_interrupted():
    process = subprocess.Popen(["sleep", "60"])
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == -signal.SIGINT
"""


def test_a_run_that_ignores_ctrl_c_starts_programs_that_do_not(tmp_path: Path) -> None:
    tests = Path(__file__).parents[1]
    shutil.copy(tests / "conftest.py", tmp_path)
    (tmp_path / "test_sleep.py").write_text(INTERRUPTED)
    command = 'trap "" INT HUP; exec "$0" -m pytest -q -p no:cacheprovider'
    paths = os.pathsep.join(filter(None, (str(tests), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        ["sh", "-c", command, sys.executable],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
