"""The bytes around the text of a stream's parts, the same in each. Used by `call.attempt` before it reads a part.

A model's stream repeats one JSON object with other texts. Once one of them is known, a part with the same bytes before
and after its text is of the same kind, if that text is one whole JSON string: nothing in it ends the string. This takes
three comparisons instead of a JSON parser. A renderer applies its changes to the frame, once. `Frame` is for
relayed streams, `relay.Gathered` for assembled ones.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

_BACKSLASH = ord("\\")

PADDING, END = b',"obfuscation":"', b"}\n\n"
"""Bytes before and after OpenAI's padding, which is the last field of each part. Anthropic pads with spaces."""

_LAST_OF_PADDING = b'" '

_PLAIN = bytes(code for code in range(ord(" "), ord("~") + 1) if code not in b'"\\')
"""Characters that need no escape within a JSON string."""

_PLAIN_TO_LETTERS = bytes(ord("a") if code in _PLAIN else 0 for code in range(256))

_decode = msgspec.json.Decoder(str).decode


class Frame:
    """The frame of one stream; empty until it has learned one."""

    __slots__ = ("_after", "_as_is", "_before", "_padded", "_shown_after", "_shown_before")

    def __init__(self) -> None:
        self._padded = False  # the frame belongs to a part without its padding
        self._as_is = True
        self._before = self._after = b""  # each with one quote of the text
        self._shown_before = self._shown_after = b""  # the same for the caller

    def learn(self, part: bytes, name: bytes, show: Callable[[bytes], bytes | None] | None = None) -> None:
        """Learns the frame of `part`, which has a text in its field `name`; parts with the same frame are of its kind.

        `show` returns the caller's bytes for a piece of the frame, or None if it cannot; without `show`, the
        caller gets the same bytes.
        """
        bare = _bare(part)
        found = _cut(bare, name)
        if found is None:
            return
        before, after = found
        shown_before = before if show is None else show(before)
        if shown_before is None:
            return
        # A renderer removes one field once, as from a whole part.
        shown_after = after if show is None or shown_before != before else show(after)
        if shown_after is not None:
            self._before, self._after = before, after
            self._shown_before, self._shown_after = shown_before, shown_after
            self._as_is = show is None
            self._padded = len(bare) < len(part)

    def forget(self) -> None:
        """No part fits until one is learned again."""
        self._before = b""

    def passed(self, part: bytes) -> bytes | None:
        """The caller's bytes for `part`, if it is the frame around some text."""
        bare = _bare(part) if self._padded else part
        if not self._fits(bare):
            return None
        text = bare[len(self._before) : len(bare) - len(self._after)]
        if not is_plain(text) and not text_of(text):
            return None
        if self._as_is:
            return part
        shown = self._shown_before + text + self._shown_after
        return shown[: -len(END)] + part[len(bare) - len(END) :] if self._padded else shown

    def text(self, part: bytes) -> str | None:
        """The text, never empty, in `part`, if its frame is the known one; otherwise None."""
        bare = _bare(part) if self._padded else part
        if not self._fits(bare):
            return None
        return _text(bare[len(self._before) - 1 : len(bare) - len(self._after) + 1]) or None

    def _fits(self, part: bytes) -> bool:
        before = self._before
        return len(before) > 0 and part.endswith(self._after) and part.startswith(before)


def _bare(part: bytes) -> bytes:
    """`part` without its padding, which hides the length of its text; unchanged if it has none."""
    if not part.endswith(END) or len(part) == len(END) or part[-len(END) - 1] not in _LAST_OF_PADDING:
        return part
    body = part[: -len(END)].rstrip(b" ")
    rest, _, padding = body.rpartition(PADDING)
    if rest and padding.endswith(b'"') and is_plain(padding[:-1]):
        body = rest
    return body + END


def _cut(part: bytes, name: bytes) -> tuple[bytes, bytes] | None:
    """The bytes of `part`, a JSON event, before and after the text of its field `name`, each with a quote of the text.

    None: there is no such field, or it is ambiguous. Without escapes, a quote begins or ends a string, and a name is
    written in one way: so a single match is the field, and the next quote ends its text.
    """
    halves = part.split(b'"%b"' % name)
    pieces = halves[1].split(b'"', 2) if len(halves) == 2 else []
    if len(pieces) != 3:
        return None
    colon, text, after = pieces
    if _BACKSLASH in halves[0] or _BACKSLASH in after or not after or text.endswith(b"\\"):
        return None
    if colon != b":" and colon.strip() != b":":
        return None
    end = len(part) - len(after) - 1
    return part[: end - len(text)], part[end:]


def is_plain(text: bytes) -> bool:
    """Whether `text`, which is not empty, needs no escape. Two passes in C, at half the cost of decoding."""
    return text.translate(_PLAIN_TO_LETTERS).isalpha()


def text_of(inside: bytes) -> str | None:
    """The text between the quotes of a JSON string; None: `inside` is not exactly that."""
    return _text(b'"%b"' % inside)


def _text(string: bytes) -> str | None:
    """The text of a JSON string; None: `string` is not exactly one."""
    try:
        text: str = _decode(string)
    except ValueError:
        return None
    return text
