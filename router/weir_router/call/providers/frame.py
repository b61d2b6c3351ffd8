"""What a stream's parts have around their text, the same in each. Used by `call.attempt`, before `skim`.

A model's stream is one JSON object a hundred times, with another text. Once `skim` has looked at one, a part that has
the same bytes before and after its text is another of the same kind, if that text is plain: nothing in it can end the
string. Three comparisons instead of a JSON parser's work; and what a renderer changes, it changes in the frame, once.
"""

from __future__ import annotations

from collections.abc import Callable

_PLAIN = bytes(code for code in range(ord(" "), ord("~") + 1) if code not in b'"\\')
"""What stands for itself within a JSON string. Text beyond ASCII is for `skim`, which checks its encoding."""

_PLAIN_TO_LETTERS = bytes(ord("a") if code in _PLAIN else 0 for code in range(256))


class Frame:
    """The frame of one stream; empty until it has learned one."""

    __slots__ = ("_after", "_as_is", "_before", "_pass_on", "_shown_after", "_shown_before")

    def __init__(self, pass_on: Callable[[bytes], bytes | None]) -> None:
        """`pass_on` is the renderer's."""
        self._pass_on = pass_on
        self._before = self._after = b""
        self._shown_before = self._shown_after = b""  # as the caller gets them
        self._as_is = True

    def learn(self, part: bytes, name: bytes, text: str) -> None:
        """`part` has the not empty `text` in its field `name`; other parts with the same frame are of its kind."""
        key = b'"%b":"' % name
        before, found, rest = part.partition(key)
        value = text.encode("utf-8", "replace")
        if found and _is_plain(value) and rest.startswith(value + b'"') and rest.find(key) < 0:
            self._keep(before + key, rest[len(value) :])

    def passed(self, part: bytes) -> bytes | None:
        """What the caller gets for `part`, if it is the frame around some text."""
        before, after = self._before, self._after
        if not before or not part.endswith(after) or not part.startswith(before):
            return None
        text = part[len(before) : len(part) - len(after)]
        if not _is_plain(text):
            return None
        return part if self._as_is else self._shown_before + text + self._shown_after

    def _keep(self, before: bytes, after: bytes) -> None:
        shown_before = self._pass_on(before)
        if shown_before is None:
            return
        # A renderer takes out one thing once, as it does from a whole part.
        shown_after = self._pass_on(after) if shown_before == before else after
        if shown_after is not None:
            self._before, self._after = before, after
            self._shown_before, self._shown_after = shown_before, shown_after
            self._as_is = shown_before == before and shown_after == after


def _is_plain(text: bytes) -> bool:
    """Not for empty text. Two runs over the bytes in C: a regular expression costs five times as much."""
    return text.translate(_PLAIN_TO_LETTERS).isalpha()
