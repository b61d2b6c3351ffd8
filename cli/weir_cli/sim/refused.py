"""An error answer of a provider, and its body.

Raised by the dialects for a request that a real provider would refuse, and made by `weir_cli.sim.faults` for one that
it would have answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import msgspec


class Refused(Exception):
    """The provider says no. `type`, `code` and `param` as the provider names them; `body` replaces the usual one."""

    def __init__(
        self,
        status: int,
        type: str,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.message = message
        self.code = code
        self.param = param
        self.headers = headers or {}
        self.body = body

    def about(self, model: str) -> Self:
        """The same with `{model}` in the message filled in."""
        return self._copy(message=self.message.replace("{model}", model))

    def but(self, *, status: int | None, headers: Mapping[str, str], body: Any) -> Self:
        """The same with another status, further headers, or another body, where given."""
        return self._copy(status=status or self.status, headers={**self.headers, **headers}, body=body)

    def _copy(self, **changes: Any) -> Self:
        fields = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return self.__class__(**{**fields, **changes})

    def render(self, payload: Callable[[Self, str], dict[str, Any]], request_id: str) -> tuple[bytes, str]:
        """Body and content type; a `body` of text goes out as HTML. `payload` makes the format's error object."""
        if isinstance(self.body, str):
            return self.body.encode(), "text/html; charset=utf-8"
        content = payload(self, request_id) if self.body is None else self.body
        return msgspec.json.encode(content), "application/json"
