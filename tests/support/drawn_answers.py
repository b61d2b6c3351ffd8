"""Random answers in the neutral form, as a whole and as the events of a stream."""

from __future__ import annotations

import json
import string
from typing import Any

from hypothesis import strategies as st

from weir_router.dialects.neutral.answer import (
    Answer,
    CallArguments,
    CallBegin,
    Event,
    Signed,
    Start,
    Stop,
    Usage,
)
from weir_router.dialects.neutral.conversation import Call, Text, Thought
from weir_router.dialects.neutral.opaque import Opaque

words = st.text(string.ascii_letters + ' äß👋"\\\n', min_size=1, max_size=9)
names = st.text(string.ascii_lowercase, min_size=1, max_size=6)
texts = st.builds(Text, words, st.booleans())
arguments = st.dictionaries(names, words, max_size=2).map(json.dumps)
opaques = st.builds(Opaque, st.just(""), names, st.just(False))
thoughts = st.one_of(
    st.builds(Thought, words, st.none() | opaques),
    st.builds(Thought, st.just(""), opaques),
    st.builds(Thought, st.just(""), st.builds(Opaque, st.just(""), names, st.just(True))),
)
usages = st.builds(Usage, *[st.integers(0, 9999)] * 5)


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """A whole answer, with calls of different ids."""
    parts: list[Any] = draw(st.lists(st.one_of(texts, thoughts, st.just(None)), max_size=5))
    for at, part in enumerate(parts):
        if part is None:
            custom = draw(st.booleans())
            given = draw(words) if custom else draw(arguments)
            parts[at] = Call(f"call_{at}", draw(names), given, custom=custom)
    stop = draw(st.sampled_from(["stop", "length", "tools", "filter"]))
    given = draw(st.sampled_from(["chatcmpl-1", "msg_a", "resp_0"]))
    return Answer(given, "m", tuple(parts), stop, draw(usages), draw(st.none() | st.just("standard")))


def pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def events_of(answer: Answer, size: int = 3) -> list[Event]:
    """The same answer as the events of a stream."""
    out: list[Event] = [Start(answer.id, answer.model, tier=answer.tier)]
    calls = 0
    for part in answer.parts:
        if isinstance(part, Text):
            out += [Text(piece, part.refusal) for piece in pieces(part.text, size)]
        elif isinstance(part, Thought):
            out += [Thought(piece) for piece in pieces(part.text, size)]
            if part.opaque is not None:
                out.append(Signed(part.opaque.blob, part.opaque.redacted))
        else:
            out.append(CallBegin(calls, part.id, part.name, custom=part.custom))
            out += [CallArguments(calls, piece) for piece in pieces(part.arguments, size)]
            calls += 1
    return [*out, Stop(answer.stop), answer.usage]
