"""Programs that are run as if this tree were not there."""

from __future__ import annotations

import os
import subprocess


def run(*command: str) -> str:
    """The output of `command`, run outside of our sources. A failure fails the test and shows the output."""
    result = subprocess.run(command, capture_output=True, text=True, cwd="/", env=environment(), check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"
    return result.stdout


def environment() -> dict[str, str]:
    """This environment without what would show our sources to Python."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
