import asyncio

import uvloop


def pytest_asyncio_loop_factories():
    """Deployments run on uvloop, other programs' tests may not: everything here holds on both."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
