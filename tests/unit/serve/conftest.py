import asyncio

import uvloop


def pytest_asyncio_loop_factories():
    """Runs the tests on uvloop, as deployments do, and on asyncio's own loop."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
