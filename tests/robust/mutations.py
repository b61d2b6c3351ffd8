"""Breaks JSON-like values and text at random, the way people, tools and attackers do. Used by the tests of this folder.

Everything is drawn from the `random.Random` that is passed in: the same seed breaks the same thing again.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

ODD_STRINGS = (
    "",
    " ",
    "null",
    "\x00",
    "\r\nx-injected: 1",
    "../../etc/passwd",
    "{{7*7}}",
    "é\u0301",
    "\u202e\u2066",
    "𝒳" * 40,
    "\U0001f600",
    "-",
    "a" * 300,
    "A-B_C",
    "2026-01-01",
    "1e400",
    "0777",
    "[bold]markup[/bold]",
    "[/red]",
    "%s %d {0}",
    "data:image/png;base64,AAAA",
    "http://127.0.0.1:1/\u00e9",
)

ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**63) - 1,
    10**30,
    0.5,
    -0.0,
    1e308,
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"type": None},
    [{}],
    {"name": []},
)

LONG = 50_000
"""Characters of a string that grows 500 times; a string that has grown before would take all memory of the machine."""

Path = tuple[str | int, ...]


def broken(value: Any, rng: random.Random, rounds: int | None = None) -> Any:
    """A copy of `value` with one to three things wrong in it."""
    value = copy.deepcopy(value)
    for _ in range(rounds or rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(list(_paths(value)))
        value = _at(value, path, rng.choice(_CHANGES), rng)
    return value


def broken_text(text: str, rng: random.Random) -> bytes:
    """`text` with one to three blind edits, as bytes that need not be UTF-8."""
    data = text.encode()
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = rng.choice(_EDITS)(data, rng)
    return data


def odd(rng: random.Random) -> Any:
    """An unexpected value."""
    kind = rng.random()
    if kind < 0.45:
        return copy.deepcopy(rng.choice(ODD_VALUES))
    if kind < 0.85:
        return rng.choice(ODD_STRINGS)
    if kind < 0.95:
        return nested(rng.choice((3, 30, 90)), rng)
    return "x" * rng.choice((1_000, 50_000))


def nested(depth: int, rng: random.Random) -> Any:
    """Nested lists and objects."""
    value: Any = "bottom"
    for _ in range(depth):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _paths(inner, (*path, key))


def _at(value: Any, path: Path, change: Callable[[Any, Any, random.Random], None], rng: random.Random) -> Any:
    parent = value
    for step in path[:-1]:
        parent = parent[step]
    change(parent, path[-1], rng)
    return value if value else {"emptied": True}


def _delete(parent: Any, key: Any, _: random.Random) -> None:
    del parent[key]


def _replace(parent: Any, key: Any, rng: random.Random) -> None:
    parent[key] = odd(rng)


def _retype(parent: Any, key: Any, rng: random.Random) -> None:
    value = parent[key]
    parent[key] = rng.choice((str(value), [value], {"value": value}, {"type": value}, not value))


def _rename(parent: Any, key: Any, rng: random.Random) -> None:
    if isinstance(parent, dict):
        parent[rng.choice((*ODD_STRINGS, f"{key}s", key.upper(), key[:-1]))] = parent.pop(key)
    else:
        parent.insert(0, parent.pop(key))


def _grow(parent: Any, key: Any, rng: random.Random) -> None:
    value = parent[key]
    if isinstance(value, list) and value:
        parent[key] = value * rng.choice((2, 40))
    elif isinstance(value, dict):
        value.update({f"extra{number}": odd(rng) for number in range(rng.choice((1, 30)))})
    elif isinstance(value, str):
        parent[key] = value * rng.choice((2, 500) if len(value) <= LONG else (2,))
    else:
        parent[key] = [value] * 3


def _nest(parent: Any, key: Any, rng: random.Random) -> None:
    parent[key] = nested(rng.choice((2, 20, 150)), rng)


_CHANGES = (_delete, _delete, _replace, _replace, _replace, _retype, _retype, _rename, _grow, _nest)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _drop(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 2, 20)) :]


def _flip(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return b"\xff"
    at = rng.randrange(len(data))
    return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]


def _insert(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(SNIPPETS) + data[at:]


def _swap_lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    rng.shuffle(lines)
    return b"\n".join(lines)


def _repeat_line(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    return b"\n".join([*lines[:at], lines[at], *lines[at:]])


_EDITS = (_cut, _drop, _flip, _insert, _insert, _insert, _swap_lines, _repeat_line)

SNIPPETS = (
    b"&anchor ",
    b"*anchor",
    b" <<: *anchor\n",
    b"<<: {a: 1}\n",
    b"<<: 3\n",
    b"!!python/object/apply:os.system [id] ",
    b"!!binary AAAA ",
    b"!!timestamp 2026-01-01 ",
    b"!!set {a, b} ",
    b"!!int x ",
    b"!!float . ",
    b"!unknown ",
    b"2026-01-01",
    b"0o17",
    b"017",
    b"0x",
    b"0b_",
    b"1:60:60",
    b".nan",
    b"-.inf",
    b"1e999",
    b"~",
    b"? a\n: b\n",
    b"? [a]\n: b\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\t",
    b"---\n",
    b"...\n",
    b"%YAML 9.9\n---\n",
    b"%TAG ! tag:x,2000:\n---\n",
    b"|\n",
    b">+9\n",
    b'"',
    b"'",
    b"\\ud800",
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xc2\x85",
    b"\r",
    b"# ",
    b": ",
    b"- ",
    b",",
)
