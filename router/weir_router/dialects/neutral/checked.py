"""Reads untrusted JSON: `Checked` is strict, for a caller's request; the other functions are lenient, for answers.

Used by the other modules of this package only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from weir_router.errors import BadRequest

MAX_NAME = 256
"""Characters of an answer's id or model's name. They are repeated in each chunk of a translated stream."""


def refusal(where: str, why: str, do: str) -> BadRequest:
    """The error for a value that cannot be translated: its place, the reason, and the remedy for the caller."""
    return BadRequest(f"{where}: {why}; {do}", param=where)


class Checked:
    """An object of the caller's body and its place there; every read checks the type and may raise `BadRequest`."""

    __slots__ = ("data", "where")

    def __init__(self, data: Any, where: str = "") -> None:
        if not isinstance(data, dict):
            raise BadRequest(f"{where or 'the body'} must be an object", param=where or None)
        self.data: dict[str, Any] = data
        self.where = where

    def at(self, key: str) -> str:
        """The place of `key` in the body, e.g. `messages[2].content`."""
        return f"{self.where}.{key}" if self.where else key

    def raw(self, key: str) -> Any:
        """The value of any type; None when absent."""
        return self.data.get(key)

    def has(self, key: str) -> bool:
        """Whether the field is there and not null."""
        return self.data.get(key) is not None

    def text(self, key: str) -> str:
        """A required string."""
        value = self.data.get(key)
        if not isinstance(value, str):
            raise BadRequest(f"{self.at(key)} must be a string", param=self.at(key))
        return value

    def maybe_text(self, key: str) -> str | None:
        """An optional string."""
        return self.text(key) if self.has(key) else None

    def flag(self, key: str) -> bool | None:
        """An optional boolean."""
        value = self.data.get(key)
        if value is not None and not isinstance(value, bool):
            raise BadRequest(f"{self.at(key)} must be true or false", param=self.at(key))
        return value

    def number(self, key: str) -> float | int | None:
        """An optional number."""
        value = self.data.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise BadRequest(f"{self.at(key)} must be a number", param=self.at(key))
        return value

    def tokens(self, key: str) -> int | None:
        """An optional whole number of tokens, zero or more."""
        value = self.number(key)
        if value is not None and (not isinstance(value, int) or value < 0):
            raise BadRequest(f"{self.at(key)} must be a whole number, zero or more", param=self.at(key))
        return value

    def obj(self, key: str) -> Checked:
        """A required object."""
        return Checked(self.data.get(key), self.at(key))

    def maybe_obj(self, key: str) -> Checked | None:
        """An optional object."""
        return self.obj(key) if self.has(key) else None

    def list_of_text(self, key: str) -> list[str]:
        """A list of strings, or one string alone; empty when absent."""
        value = self.data.get(key)
        values = [value] if isinstance(value, str) else [] if value is None else value
        if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
            raise BadRequest(f"{self.at(key)} must be a string or a list of strings", param=self.at(key))
        return values

    def objects(self, key: str) -> Iterator[Checked]:
        """The objects of a list; none when absent."""
        value = self.data.get(key)
        if value is None:
            return
        if not isinstance(value, list):
            raise BadRequest(f"{self.at(key)} must be a list", param=self.at(key))
        for position, item in enumerate(value):
            yield Checked(item, f"{self.at(key)}[{position}]")

    def parts(self, key: str) -> Iterator[Checked]:
        """A message's content as typed parts: a string is one text part, null is no part."""
        value = self.data.get(key)
        if isinstance(value, str):
            yield Checked({"type": "text", "text": value}, self.at(key))
        else:
            yield from self.objects(key)


def cache_of(holder: Checked) -> str | None:
    """The lifetime of a mark for the cache, e.g. `1h`; empty: the provider's default; None: there is no mark."""
    mark = holder.data.get("cache_control")
    return as_text(mark.get("ttl")) if isinstance(mark, dict) else None


def as_dict(value: Any) -> dict[str, Any]:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """`value` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """`value` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def as_name(value: Any) -> str:
    """`value` if it is a string, with at most `MAX_NAME` characters, else an empty one."""
    return value[:MAX_NAME] if isinstance(value, str) else ""
