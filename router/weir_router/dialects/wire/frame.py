"""What a stream's parts have around their text, the same in each. Used by `call.attempt`, before a part is read.

A model's stream is one JSON object a hundred times, with another text. Once one of them is known, a part that has the
same bytes before and after its text is another of the same kind, if that text is one JSON string as a whole: nothing in
it ends the string. That takes three looks instead of a JSON parser's work; and what a renderer changes, it changes in
the frame, once. `Frame` is for streams that are relayed, `relay.Gathered` for those that are put together.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

_BACKSLASH = ord("\\")

_PADDING, _END = b',"obfuscation":"', b"}\n\n"
"""How OpenAI's padding begins, a field that is the last of each part, and what is behind it. Anthropic's are spaces."""

_LAST_OF_PADDING = b'" '

_PLAIN = bytes(code for code in range(ord(" "), ord("~") + 1) if code not in b'"\\')
"""What stands for itself within a JSON string."""

_PLAIN_TO_LETTERS = bytes(ord("a") if code in _PLAIN else 0 for code in range(256))

_decode = msgspec.json.Decoder(str).decode


class Frame:
    """The frame of one stream; empty until it has learned one."""

    __slots__ = ("_after", "_as_is", "_before", "_padded", "_shown_after", "_shown_before")

    def __init__(self) -> None:
        self._padded = False  # the frame is that of a part without its padding
        self._as_is = True
        self._before = self._after = b""  # each with a quote of the text
        self._shown_before = self._shown_after = b""  # as the caller gets them

    def learn(self, part: bytes, name: bytes, show: Callable[[bytes], bytes | None] | None = None) -> None:
        """`part` has a text in its field `name`; other parts with the same frame are of its kind.

        `show` makes what the caller gets for a piece of the frame, None where that cannot be told; without it the
        caller gets what comes.
        """
        bare = _bare(part)
        found = _cut(bare, name)
        if found is None:
            return
        before, after = found
        shown_before = before if show is None else show(before)
        if shown_before is None:
            return
        # A renderer takes out one thing once, as it does from a whole part.
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
        """What the caller gets for `part`, if it is the frame around some text."""
        bare = _bare(part) if self._padded else part
        if not self._fits(bare):
            return None
        text = bare[len(self._before) : len(bare) - len(self._after)]
        if not _is_plain(text) and not _text(b'"%b"' % text):
            return None
        if self._as_is:
            return part
        shown = self._shown_before + text + self._shown_after
        return shown[: -len(_END)] + part[len(bare) - len(_END) :] if self._padded else shown

    def text(self, part: bytes) -> str | None:
        """The text, never empty, that `part` is the frame around; None: it is something else."""
        bare = _bare(part) if self._padded else part
        if not self._fits(bare):
            return None
        return _text(bare[len(self._before) - 1 : len(bare) - len(self._after) + 1]) or None

    def _fits(self, part: bytes) -> bool:
        before = self._before
        return len(before) > 0 and part.endswith(self._after) and part.startswith(before)


def _bare(part: bytes) -> bytes:
    """`part` without what makes its length say nothing of its text's; as it is, if it has nothing of that."""
    if not part.endswith(_END) or len(part) == len(_END) or part[-len(_END) - 1] not in _LAST_OF_PADDING:
        return part
    body = part[: -len(_END)].rstrip(b" ")
    rest, _, padding = body.rpartition(_PADDING)
    if rest and padding.endswith(b'"') and _is_plain(padding[:-1]):
        body = rest
    return body + _END


def _cut(part: bytes, name: bytes) -> tuple[bytes, bytes] | None:
    """What `part`, an event of JSON, has before and behind the text of its field `name`, each half with a quote of it.

    None: there is no such field, or it cannot be told from others. Where nothing is escaped, a quote begins or ends a
    string, and a name is written in one way: what stands there once is the field, and the next quote ends its text.
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


def _is_plain(text: bytes) -> bool:
    """Not for empty text. Two runs over the bytes in C, at half the cost of decoding them."""
    return text.translate(_PLAIN_TO_LETTERS).isalpha()


def _text(string: bytes) -> str | None:
    """What a JSON string says; None: it is none, or not as a whole."""
    try:
        text: str = _decode(string)
    except ValueError:
        return None
    return text
