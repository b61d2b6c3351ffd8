"""The class of an object, `spec.className`: each installation serves the objects of one class. PURE."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from weir_operator.observe.observed import Manifest
from weir_operator.schemas.common import DEFAULT_CLASS


def class_of(spec: Any) -> str:
    """The class that a spec states, or the default. An object that cannot be read is ours, so its status says so."""
    stated = spec.get("className") if isinstance(spec, dict) else None
    return stated if isinstance(stated, str) else DEFAULT_CLASS


def ours(manifests: Iterable[Manifest], class_name: str) -> list[Manifest]:
    """The manifests of class `class_name`, sorted by namespace and name."""
    return sorted((it for it in manifests if class_of(it.spec) == class_name), key=lambda it: it.key)
