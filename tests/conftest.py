"""Settings of every test run, so that it passes however it is started: signals, environment, and no deadlines."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from support.figures import FIGURE

SENT = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that tests send to programs, and that a shell or `nohup` may have this run ignore."""

PRINTING = ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
"""Variables that change how programs print. pytest-xdist sets the first two."""

SLOWEST = ("clients", "kube", "cli", "attacks", "faults", "docs", "e2e_install")
"""Folders whose files take longest, the slowest first."""

# No deadline: a machine that is busy with other tests is slow, and no property is about time. The same examples are
# tried everywhere: hypothesis would take others where $CI is set.
settings.register_profile("weir", settings.get_profile("default"), deadline=None, derandomize=False, print_blob=True)
settings.load_profile("weir")

# Here, before a test imports a program: some read these variables when they are imported.
for name in PRINTING:
    os.environ.pop(name, None)


def pytest_configure() -> None:
    """Makes the programs that tests start receive signals, even if this run ignores them.

    A program inherits ignored and blocked signals from its parent. For example, `make test &` in a script ignores
    Ctrl-C, so `weir up` would never end on the SIGINT that its test sends. A signal with a handler, even one that does
    nothing, has its default in a started program. The run itself still ignores it.
    """
    for number in SENT:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SENT)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts the slowest folders first if several processes share the tests, so that none of them remains for the end."""
    if hasattr(config, "workerinput"):
        places = {name: place for place, name in enumerate(SLOWEST)}
        here = Path(__file__).parent
        items.sort(key=lambda item: places.get(item.path.relative_to(here).parts[0], len(places)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows the figures of tests at the end. A test's output would be lost in the process that ran it."""
    reports = [it for each in ("passed", "failed") for it in terminalreporter.stats.get(each, ())]
    for report in reports:
        for name, text in getattr(report, "user_properties", ()):
            if name == FIGURE:
                terminalreporter.write_line(f"FIGURE {text}")
