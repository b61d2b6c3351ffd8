"""What a stream's parts have around their text, the same in each. Used by the readers, before `skim`.

A model's stream is one JSON object a hundred times, with another text. Once `skim` has looked at one, a part that has
the same bytes before and after its text is another of the same kind, if that text is plain: nothing in it can end the
string. Three comparisons instead of a JSON parser's work.
"""

from __future__ import annotations

import re

_plain = re.compile(rb"[ !#-\[\]-~]+").fullmatch
"""What stands for itself within a JSON string. Text beyond ASCII is for `skim`, which checks its encoding."""


class Frame:
    """The frame of one stream; empty until it has learned one."""

    __slots__ = ("_after", "_before")

    def __init__(self) -> None:
        self._before = self._after = b""

    def learn(self, part: bytes, name: bytes, text: str) -> None:
        """`part` has the not empty `text` in its field `name`; other parts with the same frame are of its kind."""
        key = b'"%b":"' % name
        before, found, rest = part.partition(key)
        value = text.encode("utf-8", "replace")
        if found and _plain(value) is not None and rest.startswith(value + b'"') and rest.find(key) < 0:
            self._before, self._after = before + key, rest[len(value) :]

    def fits(self, part: bytes) -> bool:
        """Whether it is the frame around some text."""
        before, after = self._before, self._after
        if not before or not part.endswith(after) or not part.startswith(before):
            return False
        return _plain(part, len(before), len(part) - len(after)) is not None
