"""`Features` → class, probability and reason; called once per request by `serve.story` and by `weir explain`.

Ordered logistic regression: a weighted sum of counts (`classify.weights`), two thresholds, and with them the
probability of each of the three classes. The most probable one wins, the more demanding between equals. Pure and
deterministic. It looks at structure only and promises nothing about any model's answers.
"""

from __future__ import annotations

import math

from weir_router.classify.features import extract
from weir_router.classify.prompt import Classification, Features, Prompt
from weir_router.classify.weights import COMPLEX_FROM, MODERATE_FROM, TEMPERATURE, TERMS, Term
from weir_router.contract import Complexity

REASONS_SHOWN = 3
"""Terms named in a reason; the rest add little and `weir explain` shows all features anyway."""

_DESCENDING = (Complexity.COMPLEX, Complexity.MODERATE, Complexity.SIMPLE)


def classify(prompt: Prompt, features: Features | None = None) -> Classification:
    """The class of `prompt`. `features` saves extracting them again."""
    measured = extract(prompt) if features is None else features
    added = contributions(measured)
    likely = probabilities(sum([amount for amount, _ in added]))
    best = max(_DESCENDING, key=likely.__getitem__)
    return Classification(best, likely[best], _reason(best, added, measured), measured)


def applied(classification: Classification, min_confidence: float) -> tuple[Complexity, str]:
    """The class that routes are matched with, and why: one step up where the probability is below `min_confidence`."""
    found, reason = classification.complexity, classification.reason
    if classification.probability >= min_confidence or found is Complexity.COMPLEX:
        return found, reason
    doubt = f"probability {classification.probability:.2f} is below minConfidence {min_confidence:.2f}"
    return found.raised, f"{reason}; raised from {found} because its {doubt}"


def contributions(features: Features) -> list[tuple[float, Term]]:
    """What each term adds to the score, in the table's order, without those that add nothing."""
    added = []
    for term in TERMS:
        value = term.value(features)
        if value > 0 and not (features.pleasantry and term.of_conversation):
            added.append((term.weight * math.log2(1 + min(value, term.cap) / term.unit), term))
    return added


def probabilities(score: float) -> dict[Complexity, float]:
    """Of each class, together 1."""
    above_simple = _logistic((score - MODERATE_FROM) / TEMPERATURE)
    above_moderate = _logistic((score - COMPLEX_FROM) / TEMPERATURE)
    return {
        Complexity.SIMPLE: 1 - above_simple,
        Complexity.MODERATE: above_simple - above_moderate,
        Complexity.COMPLEX: above_moderate,
    }


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _reason(found: Complexity, added: list[tuple[float, Term]], features: Features) -> str:
    if features.pleasantry:
        return "a greeting or thanks and nothing else"
    strongest = sorted(added, key=lambda pair: -pair[0])[:REASONS_SHOWN]
    named = ", ".join(term.name.format(term.value(features)) for _, term in strongest)
    if found is Complexity.SIMPLE:
        return f"few signs of difficulty: {named}" if named else "no signs of difficulty"
    return named
