"""The type of a row: a kind's names and schemas, and its steps in each room of the operator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from weir_operator.compile.step import CompileStep
from weir_operator.observe.observed import Manifest, NamedSecret
from weir_operator.schemas.common import Kind
from weir_operator.status.step import StatusStep


def _no_secrets(_: Manifest) -> Iterable[NamedSecret]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Row(Kind):
    """Everything that the operator must know of a kind. Rooms take rows as arguments and import none."""

    compile: CompileStep[Any, Any]
    judge: StatusStep
    secret_labels: tuple[str, ...] = ()
    """Labels by which Secrets consent to be read for objects of this kind, with the value "true"."""
    secrets: Callable[[Manifest], Iterable[NamedSecret]] = _no_secrets
    """The Secrets that an object names. In a directory, the environment may take the place of a missing one."""
