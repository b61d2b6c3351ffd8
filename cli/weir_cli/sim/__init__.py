"""Provider simulator: OpenAI- and Anthropic-compatible fake models with set speed, and faults switched on at run time.

The tests, the demo and the benchmark stand on it; `weir sim` runs it alone. Nothing of the router imports it. The
names below are its public interface.
"""

from weir_cli.sim.faults import ANY_MODEL, Fault, FaultKind
from weir_cli.sim.fleet import FLEET
from weir_cli.sim.models import SimModel, read_models
from weir_cli.sim.server import Simulator
from weir_cli.sim.stats import ModelStats, Seen
from weir_cli.sim.thread import SimulatorThread

__all__ = [
    "ANY_MODEL",
    "FLEET",
    "Fault",
    "FaultKind",
    "ModelStats",
    "Seen",
    "SimModel",
    "Simulator",
    "SimulatorThread",
    "read_models",
]
