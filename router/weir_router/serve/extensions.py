"""Extensions of the steps of a request. Wired by `app`, used by `serve.story`."""

from __future__ import annotations

from typing import NamedTuple

from weir_router.call.answering import Source
from weir_router.call.tap import Subscriber
from weir_router.check.checks import After, Before


class Extensions(NamedTuple):
    """Nothing, unless a feature brings some. Each is asked in the order in which it stands here."""

    before: tuple[Before, ...] = ()  # checks of a request, once its body is decoded
    sources: tuple[Source, ...] = ()  # of answers that need no attempt, after the prompt is measured
    subscribers: tuple[Subscriber, ...] = ()  # to the text of answers
    after: tuple[After, ...] = ()  # checks of an answer, before its first byte goes to the caller


NONE = Extensions()
