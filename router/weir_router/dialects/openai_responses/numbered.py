"""The frame of a stream whose events have numbers: the bytes around the number and the text of a delta.

Example: of `{"type":"response.output_text.delta","sequence_number":7,…,"delta":" a","logprobs":[],"obfuscation":"x"}`
the next delta of the same item differs only in the number, the text and OpenAI's padding. Used by `relayed`.
"""

from __future__ import annotations

from weir_router.dialects.wire.frame import END, PADDING, Frame, is_plain, text_of

_NUMBER = b'"sequence_number":'
_ZERO = ord("0")
_END_OF_PADDING = b'"' + END


class NumberedFrame(Frame):
    """The frame of one stream. `last` is the number of the last event that passed, since the last look at it."""

    __slots__ = ("_at", "_digits", "_middle", "_own", "_rest", "_shown", "_shown_rest", "last")

    def __init__(self) -> None:
        super().__init__()
        self.last = b""
        self._own = self._shown = b""  # the item's id as the upstream writes it, and as the caller gets it
        self._at = 0  # bytes before the number, with which `_before` begins
        self._digits = 0
        self._shown_rest = b""  # `_rest` for the caller; empty: it is the same
        self._rest = b""  # bytes between the number and the text
        self._middle = b""  # bytes between the text and the padding

    def show(self, own: bytes, shown: bytes) -> None:
        """Has the caller get `shown` in place of `own`, which every part has once, from now on."""
        self._own, self._shown = own, shown

    def shown(self, part: bytes) -> bytes:
        """The caller's bytes for a part; unchanged if it does not have what is to be replaced."""
        return part.replace(self._own, self._shown, 1) if self._own else part

    def learn_delta(self, part: bytes) -> None:
        """Learns the frame of a delta; it stays empty where the number does not stand before the text."""
        self.learn(part, b"delta")
        head, found, rest = self._before.partition(_NUMBER)
        number = rest.partition(b",")[0]
        if not found or not number.isdigit() or _NUMBER in rest:
            self.forget()
            return
        self._at, self._digits = len(head) + len(found), len(number)
        self._before, self._rest = head + found, rest[len(number) :]
        shown = self.shown(self._rest)
        self._shown_rest = shown if len(shown) > len(self._rest) else b""
        self._middle = self._after[: -len(END)] + PADDING

    def passed(self, part: bytes) -> bytes | None:
        """The caller's bytes, if `part` is the frame around a number, some text and, where it was learned, padding."""
        before, after = self._before, self._at + self._digits
        if not before or not part.startswith(before):
            return None
        if not part.startswith(self._rest, after):
            after += 1  # 100 comes after 99
            if not part.startswith(self._rest, after):
                return None
            self._digits += 1
        number = part[self._at : after]
        if not number.isdigit() or (number[0] == _ZERO and len(number) > 1):
            return None
        after += len(self._rest)
        if self._padded:
            if not part.endswith(_END_OF_PADDING):
                return None
            text, found, padding = part[after : -len(_END_OF_PADDING)].partition(self._middle)
            if not found or not padding or not text:
                return None
            if not is_plain(text + padding) and not (is_plain(padding) and text_of(text)):
                return None
        else:
            if not part.endswith(self._after):
                return None
            text = part[after : -len(self._after)]
            if not is_plain(text) and not text_of(text):
                return None
        self.last = number
        if not self._own:
            return part
        if not self._shown_rest:
            return self.shown(part)
        end = self._at + self._digits
        return part[:end] + self._shown_rest + part[end + len(self._rest) :]
