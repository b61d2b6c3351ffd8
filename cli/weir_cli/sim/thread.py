"""The simulator in a thread with its own loop, for code that blocks: sync tests and SDKs, a benchmark's harness.

Every call is carried over to that loop and waits for its result, so callers need no locks.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import uvloop

from weir_cli.sim.faults import Fault
from weir_cli.sim.models import SimModel
from weir_cli.sim.server import Simulator
from weir_cli.sim.stats import ModelStats, Seen

T = TypeVar("T")


class SimulatorThread:
    """`with SimulatorThread([SimModel("m")]) as sim: ... sim.url`; what `Simulator` has, blocking."""

    def __init__(self, models: Iterable[SimModel], host: str = "127.0.0.1", port: int = 0, seed: int = 0) -> None:
        self._sim = Simulator(models, host, port, seed)
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="weir-sim", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._run(self._sim.accept_connections())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._run(self._sim.refuse_connections())
        finally:
            self._stop()

    @property
    def url(self) -> str:
        """See `Simulator.url`."""
        return self._sim.url

    @property
    def models(self) -> tuple[SimModel, ...]:
        """See `Simulator.models`."""
        return self._sim.models

    @property
    def stats(self) -> dict[str, ModelStats]:
        """See `Simulator.stats`."""
        return self._call(lambda: self._sim.stats)

    def fault(self, model: str, *faults: Fault) -> None:
        """See `Simulator.fault`."""
        self._call(lambda: self._sim.fault(model, *faults))

    def clear(self, model: str | None = None) -> None:
        """See `Simulator.clear`."""
        self._call(lambda: self._sim.clear(model))

    def reset(self) -> None:
        """See `Simulator.reset`."""
        self._call(self._sim.reset)

    def requests(self, model: str) -> list[Seen]:
        """See `Simulator.requests`."""
        return self._call(lambda: self._sim.requests(model))

    def until(self, condition: Callable[[Simulator], bool], timeout: float = 5.0) -> None:
        """See `Simulator.until`. `condition` gets the simulator, since it runs in the simulator's own thread."""
        self._run(self._sim.until(lambda: condition(self._sim), timeout))

    def refuse_connections(self) -> None:
        """See `Simulator.refuse_connections`."""
        self._run(self._sim.refuse_connections())

    def accept_connections(self) -> None:
        """See `Simulator.accept_connections`."""
        self._run(self._sim.accept_connections())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _call(self, work: Callable[[], T]) -> T:
        async def inside() -> T:
            return work()

        return self._run(inside())

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        # Requests that clients left hanging end here, so that no task is destroyed while it is pending.
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()
