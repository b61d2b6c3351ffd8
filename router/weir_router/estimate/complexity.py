"""The built-in estimate of a prompt's class: `Features` → class, probability and reason. Used by `decide.decision`.

Ordered logistic regression: a weighted sum of counts (`estimate.weights`), two thresholds, and with them the
probability of each of the three classes. The most probable one wins, the more demanding between equals. Pure and
deterministic. It looks at structure only and promises nothing about any model's answers.
"""

from __future__ import annotations

import math

from msgspec.structs import astuple

from weir_router.contract import Complexity
from weir_router.estimate.prompt import Classification, Features
from weir_router.estimate.weights import COMPLEX_FROM, MODERATE_FROM, TEMPERATURE, TERMS, Contribution

REASONS_SHOWN = 3
"""Terms named in a reason; the rest add little and `weir explain` shows all features anyway."""


def classify(features: Features) -> Classification:
    """The class of the measured prompt."""
    added = contributions(features)
    score = 0.0
    for it in added:
        score += it.amount
    best, probability = _likeliest(score)
    return Classification(best, probability, _reason(best, added, features))


def applied(classification: Classification, min_confidence: float) -> tuple[Complexity, str]:
    """The class for routing, and the reason: one step up if the probability is below `min_confidence`."""
    found, reason = classification.complexity, classification.reason
    if classification.probability >= min_confidence or found is Complexity.COMPLEX:
        return found, reason
    doubt = f"probability {classification.probability:.2f} is below minConfidence {min_confidence:.2f}"
    return found.raised, f"{reason}; raised from {found} because its {doubt}"


def contributions(features: Features) -> list[Contribution]:
    """The contribution of each term to the score, in the table's order, without those of zero."""
    counts: tuple[int, ...] = astuple(features)  # reading them one by one would cost five times as much
    added = []
    for term in TERMS:
        value = counts[term.place] - term.free
        if value > 0 and not (term.of_conversation and features.pleasantry):
            added.append(term.adds(value))
    return added


def probabilities(score: float) -> dict[Complexity, float]:
    """The probability of each class; together they are 1."""
    simple, moderate, complex_ = _likelihoods(score)
    return {Complexity.SIMPLE: simple, Complexity.MODERATE: moderate, Complexity.COMPLEX: complex_}


def _likelihoods(score: float) -> tuple[float, float, float]:
    above_simple = _logistic((score - MODERATE_FROM) / TEMPERATURE)
    above_moderate = _logistic((score - COMPLEX_FROM) / TEMPERATURE)
    return 1 - above_simple, above_simple - above_moderate, above_moderate


def _likeliest(score: float) -> tuple[Complexity, float]:
    simple, moderate, complex_ = _likelihoods(score)
    if complex_ >= moderate and complex_ >= simple:
        return Complexity.COMPLEX, complex_
    return (Complexity.MODERATE, moderate) if moderate >= simple else (Complexity.SIMPLE, simple)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _strongest(added: list[Contribution]) -> list[Contribution]:
    strongest: list[Contribution] = []  # kept in order; sorting so few would cost three times as much
    for it in added:
        place = len(strongest)
        while place > 0 and strongest[place - 1].amount < it.amount:
            place -= 1
        strongest.insert(place, it)
    return strongest[:REASONS_SHOWN]


def _reason(found: Complexity, added: list[Contribution], features: Features) -> str:
    if features.pleasantry:
        return "a greeting or thanks and nothing else"
    named = ", ".join([it.named for it in _strongest(added)])
    if found is Complexity.SIMPLE:
        return f"few signs of difficulty: {named}" if named else "no signs of difficulty"
    return named
