"""The frame of a stream whose events have numbers: the bytes around the number and the text of a delta.

Example: of `{"type":"response.output_text.delta","sequence_number":7,…,"delta":" a","logprobs":[],"obfuscation":"x"}`
the next delta of the same item differs only in the number, which is one more, the text and OpenAI's padding. Used by
`relayed`.
"""

from __future__ import annotations

from typing import Final

from weir_router.dialects.wire.frame import END, PADDING, Frame, is_plain, text_of

_NUMBER: Final = b'"sequence_number":'
_END_OF_PADDING: Final = b'"}\n\n'

_KNOWN: Final = 1_000
"""Numbers whose digits are kept ready. Most answers have fewer events, and later numbers cost a little more."""

_MOST_DIGITS: Final = 9
"""Digits of a number: a billion events are more than any answer has."""

_DIGITS: Final = [b"%d" % number for number in range(_KNOWN)]


class NumberedFrame(Frame):
    """The frame of one stream. `last` is the number of the stream's last event; -1: there was none."""

    __slots__ = ("_middle", "_own", "_rest", "_shown", "_shown_rest", "last")

    def __init__(self) -> None:
        super().__init__()
        self.last = -1
        self._own = self._shown = b""  # the item's id as the upstream writes it, and as the caller gets it
        self._rest = b""  # bytes between the number and the text
        self._shown_rest = b""  # `_rest` for the caller; empty: it is the same
        self._middle = b""  # bytes between the text's quote and the padding, or the end

    def show(self, own: bytes, shown: bytes) -> None:
        """Has the caller get `shown` in place of `own`, which every part has once, from now on."""
        self._own, self._shown = own, shown

    def shown(self, part: bytes) -> bytes:
        """The caller's bytes for a part; unchanged if it does not have what is to be replaced."""
        return part.replace(self._own, self._shown, 1) if self._own else part

    def learn_delta(self, part: bytes) -> None:
        """Learns the frame of a delta; it stays empty where the number does not stand before the text."""
        self.last += 1  # unless it says another one
        self.forget()
        self.learn(part, b"delta")
        head, found, rest = self._before.partition(_NUMBER)
        number = rest.partition(b",")[0]
        if not found or not number.isdigit() or len(number) > _MOST_DIGITS or _NUMBER in rest:
            self.forget()
            return
        self.last = int(number)
        self._before, self._rest = head + found, rest[len(number) :]
        shown = self.shown(self._rest)
        self._shown_rest = shown if len(shown) > len(self._rest) else b""
        after = self._after[1:]
        self._middle = after[: -len(END)] + PADDING if self._padded else after

    def passed(self, part: bytes) -> bytes | None:
        """The caller's bytes, if `part` is the frame around the next number, some text and, where learned, padding."""
        number = self.last + 1
        head = self._before + (_DIGITS[number] if number < _KNOWN else b"%d" % number)
        begin = head + self._rest
        if not self._rest or not part.startswith(begin):
            return None
        inside = part[len(begin) :]
        text, _, tail = inside.partition(b'"')
        if not self._is_end(text, tail) and not self._has_escapes(inside):
            return None
        self.last = number
        if not self._own:
            return part
        return head + self._shown_rest + inside if self._shown_rest else self.shown(part)

    def _is_end(self, text: bytes, tail: bytes) -> bool:
        """Whether the bytes after the quote of a plain text are the end of the frame."""
        middle = self._middle
        if not self._padded:
            return tail == middle and is_plain(text)
        size, end = len(middle), len(tail) - 4
        if end <= size or tail[:size] != middle or tail[end:] != _END_OF_PADDING or not text:
            return False  # compiled code cannot cut a piece of less than no bytes
        return is_plain(text + tail[size:end])

    def _has_escapes(self, inside: bytes) -> bool:
        """Whether it is the frame's end behind a text that is not plain, such as one with an escaped quote."""
        text, found, tail = inside.partition(b'"' + self._middle)
        if not found or not text_of(text):
            return False
        if not self._padded:
            return not tail
        return tail.endswith(_END_OF_PADDING) and is_plain(tail[: -len(_END_OF_PADDING)])

    def forget(self) -> None:
        """See `Frame`."""
        super().forget()
        self._rest = b""
