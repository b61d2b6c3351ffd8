"""A ServiceAccount, as the API server names the caller of a request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class ServiceAccount:
    """A caller of the config server, as the API server knows it."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
