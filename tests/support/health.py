"""Other tools' reading of our statuses: kstatus, which Flux and kpt use, and Argo CD with our script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lupa import LuaRuntime

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "helm" / "weir" / "files" / "argocd-health.lua"

Object = Mapping[str, Any]


def kstatus(it: Object) -> str:
    """The status that `sigs.k8s.io/cli-utils/pkg/kstatus` v0.37 computes for an unknown kind: `status.Compute`."""
    metadata, status = it["metadata"], it.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    if "observedGeneration" in status and status["observedGeneration"] != metadata["generation"]:
        return "InProgress"
    conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
    if conditions.get("Reconciling") == "True":
        return "InProgress"
    if conditions.get("Stalled") == "True":
        return "Failed"
    return "InProgress" if conditions.get("Ready", "True") in ("False", "Unknown") else "Current"


def argo(it: Object) -> tuple[str, str]:
    """Health and message by the chart's script, run as Argo CD runs it: the object is the global `obj`."""
    lua = LuaRuntime(unpack_returned_tuples=True)
    lua.globals().obj = lua.table_from(it, recursive=True)
    found = lua.execute(SCRIPT.read_text())
    return found["status"], found["message"]
