"""What is plugged into the steps of a request. Wired by `app`, used by `serve.story`."""

from __future__ import annotations

from typing import NamedTuple

from weir_router.call.answering import Source


class Extensions(NamedTuple):
    """Nothing, unless a feature brings some. Each is asked in the order in which it stands here."""

    sources: tuple[Source, ...] = ()  # of answers that need no attempt, after the prompt is measured


NONE = Extensions()
