"""Copies KEDA's sources without the scalers that Weir does not use. Called by `binaries.py`, which compiles them.

KEDA has some seventy scalers. With them come the clients of clouds, brokers and databases: 1,700 of its 3,700 packages.
The chart uses one scaler, `metrics-api` (docs/autoscaling.md).
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

MODULE = "github.com/kedacore/keda/v2@v2.21.0"
"""Module and version. Go's checksum database vouches for it, and its own go.mod pins the rest."""

VERSION = "keda-" + MODULE.partition("@")[2]
"""Name of KEDA's folder in the cache."""

SCALERS = ("metrics_api", "cpu_memory", "cron", "external", "kubernetes_workload", "azure_queue")
"""Scalers that stay, by the names of their files: the chart's, those that need nothing but Kubernetes, and
`azure_queue`, whose file has a constant of theirs.
"""

CASE = re.compile(r'(?:\t// [^\n]*\n)?\tcase "[^"]+":\n\t\treturn scalers\.(New\w+)\([^\n]*\)\n')
"""Pattern of the lines that make a scaler of a type that a ScaledObject names, e.g. `case "cron": return ...`."""


def copy(original: Path, target: Path) -> None:
    """Copies the module's folder to `target`, without the other scalers and the lines that make them."""
    shutil.copytree(original, target, copy_function=shutil.copyfile)
    for folder in (target, *target.rglob("*/")):
        folder.chmod(0o755)  # in Go's cache all is read-only
    makers = set()
    for path in (target / "pkg" / "scalers").glob("*.go"):
        name, is_scaler, _ = path.name.partition("_scaler")
        if is_scaler and name not in SCALERS:
            path.unlink()
        else:
            makers.update(re.findall(r"^func (New\w+)\(", path.read_text(), re.MULTILINE))
    builder = target / "pkg" / "scaling" / "scalers_builder.go"
    builder.write_text(CASE.sub(lambda found: found[0] if found[1] in makers else "", builder.read_text()))
