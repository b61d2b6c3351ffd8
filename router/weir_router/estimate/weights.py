"""The classifier's weights in one table, read by `estimate.complexity`.

Each term adds `weight x log2(1 + min(value, cap) / unit)` to the score. All weights are positive: nothing in a prompt
lowers its class, only the absence of signs leaves it Simple; so a "hi", a "briefly" or a "yes or no" in front of a hard
question changes nothing. Caps keep a single kind of sign from deciding alone. Fitted by `tests/unit/estimate/fit.py`
on `prompts.yaml` with a ridge towards hand-set values, rounded, and corrected by hand where the set has few examples or
a bound is wanted (length alone: Moderate at most; not read to the end: never Simple).
"""

from __future__ import annotations

import math

from weir_router.estimate.prompt import Features

KEPT = 1_000
"""Values below which a term keeps its contributions, to bound memory: nearly all values are smaller."""


class Contribution:
    """The contribution of a term to the score, for a value above 0. `named`: the term's text in a reason."""

    __slots__ = ("amount", "named", "term", "value")

    def __init__(self, term: Term, value: int) -> None:
        self.term = term
        self.value = value
        self.amount = term.weight * math.log2(1 + min(value, term.cap) / term.unit)
        self.named = term.name.format(value)


class Term:
    """One addend of the score."""

    __slots__ = ("_added", "cap", "free", "name", "of_conversation", "place", "unit", "weight")

    def __init__(
        self,
        name: str,
        feature: str,
        weight: float,
        cap: int,
        unit: int = 1,
        free: int = 0,
        of_conversation: bool = False,
    ) -> None:
        self.name = name  # text in a reason; {} stands for the value
        self.place = Features.__struct_fields__.index(feature)  # of the count
        self.free = free  # part of the count that adds nothing; the rest is the value
        self.weight = weight
        self.cap = cap  # largest value that counts
        self.unit = unit  # the value that adds one weight
        self.of_conversation = of_conversation  # not about the last turn itself: ignored if that only greets or thanks
        self._added: dict[int, Contribution] = {}  # cached: to make one costs ten times as much as a look-up

    def adds(self, value: int) -> Contribution:
        """The contribution for `value`."""
        added = self._added.get(value)
        if added is None:
            added = Contribution(self, value)
            if value < KEPT:
                self._added[value] = added
        return added


TERMS: tuple[Term, ...] = (
    # A chain in which one wrong step spoils the whole: the clearest structural sign.
    Term("words of proof ({})", "proof_words", 6.2, cap=3),
    # Analysis, design, justification: several considerations at once.
    Term("reasoning words ({})", "reasoning_words", 2.5, cap=7),
    # A piece of work takes several steps, but models of every size do most of them.
    Term("work words ({})", "work_words", 2.2, cap=7),
    # Conditions that must hold together; frequent in plain prose, too, so light.
    Term("logical words ({})", "logic_words", 1.1, cap=7),
    # Each demand can be missed on its own.
    Term("constraint words ({})", "constraint_words", 1.5, cap=7),
    # Lists are how people write requirements.
    Term("list items ({})", "items", 0.3, cap=7),
    # Code needs exactness; trivial code is trivial all the same, so code alone stays below Complex.
    Term("signs of code ({})", "code", 0.7, cap=15),
    # Theorem vocabulary and formulas; plain arithmetic leaves no sign.
    Term("signs of maths ({})", "maths", 1.5, cap=15),
    # Several questions at once; even a plain fact needs one.
    Term("question words ({})", "question_words", 0.1, cap=7),
    # Long material has to be held in view; by itself Moderate; routes match `promptTokens` where size decides.
    Term("length (about {:,} tokens)", "last_tokens", 0.5, cap=100_000, unit=100),
    # Unread text might hold anything: enough, together with its length, to leave Simple.
    Term("{:,} characters in the middle not read", "unseen", 0.9, cap=1),
    # The answer must fit a schema.
    Term("an answer schema", "schema", 0.1, cap=1),
    # Images and documents hold text that is not counted above.
    Term("images ({})", "images", 0.3, cap=7),
    Term("documents ({})", "documents", 1.6, cap=7),
    # Choosing among tools is a step; agents always offer some, so light.
    Term("tools ({})", "tools", 0.15, cap=31, of_conversation=True),
    # An agent in the middle of its work.
    Term("tool results ({})", "tool_results", 0.4, cap=15, of_conversation=True),
    # A long conversation has more to keep consistent.
    Term("turns ({})", "turns", 0.2, cap=31, free=1, of_conversation=True),
    # "yes, do that" asks for what the turn before described.
    Term("signs in the turn before ({})", "earlier", 1.3, cap=7, of_conversation=True),
)

MODERATE_FROM = 2.3
"""Score at which Simple and not Simple are equally likely."""

COMPLEX_FROM = 7.5
"""Score at which Complex and not Complex are equally likely."""

TEMPERATURE = 0.75
"""Divisor of the distance to both thresholds. The ridge makes the fit cautious; at this value the mean probability
(0.87) meets the share of right answers on prompts that the fit had not seen (0.88 to 0.90 in four five-fold
cross-validations)."""
