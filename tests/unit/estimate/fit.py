"""Refits `weir_router.estimate.weights` on `prompts.yaml` and prints the result; run by hand, not by the tests.

    PYTHONPATH=router python tests/unit/estimate/fit.py

Ordered logistic regression by projected gradient descent (weights stay positive), with a ridge towards
hand-set ones. Prints agreement and calibration error of the fit and of 5-fold cross-validation; the second is the
honest figure.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import yaml

from weir_router.estimate.features import measure
from weir_router.estimate.prompt import Prompt, Turn
from weir_router.estimate.weights import COMPLEX_FROM, MODERATE_FROM, TEMPERATURE, TERMS

# Where the fit starts and what the ridge draws to, in the order of TERMS: not the table, which has seen every prompt.
HAND_SET = (5.0, 2.0, 1.5, 0.5, 0.7, 0.3, 0.6, 0.9, 0.2, 0.5, 0.9, 0.2, 0.5, 1.5, 0.2, 0.5, 0.3, 0.8)
HAND_SET_LOW, HAND_SET_HIGH = 2.0, 6.0
RIDGE = 0.005
STEPS, RATE, FOLDS, SHUFFLES = 1_500, 0.1, 5, 4
CLASSES = ("Simple", "Moderate", "Complex")
Row = tuple[list[float], int]


def prompt_of(case: dict) -> Prompt:
    """The request that an entry of `prompts.yaml` describes."""
    filler = case.get("filler", {"text": "", "times": 0})
    turns = [Turn("system", case["system"])] if "system" in case else []
    for earlier in case.get("before", ()):
        turns += [Turn("user", earlier), Turn("assistant", "Certainly. Here it is.")]
    turns.append(Turn("user", case["text"] + filler["text"] * filler["times"]))
    counts = {name: case[name] for name in ("tools", "tool_results", "images", "documents", "schema") if name in case}
    return Prompt(turns=tuple(turns), **counts)


def row_of(case: dict) -> Row:
    features = measure(prompt_of(case))
    shown = [0 if features.pleasantry and term.of_conversation else max(0, term.value(features)) for term in TERMS]
    x = [math.log2(1 + min(value, term.cap) / term.unit) for value, term in zip(shown, TERMS, strict=True)]
    return x, CLASSES.index(case["class"])


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def fit(rows: list[Row]) -> tuple[list[float], float, float]:
    weights, low, high = list(HAND_SET), HAND_SET_LOW, HAND_SET_HIGH
    for _ in range(STEPS):
        gradient, g_low, g_high = [0.0] * len(weights), 0.0, 0.0
        for x, label in rows:
            score = sum(w * v for w, v in zip(weights, x, strict=True))
            p, q = logistic(score - low), logistic(score - high)
            slope_p, slope_q = p * (1 - p), q * (1 - q)
            likelihood = max((1 - p, p - q, q)[label], 1e-9)
            d_p, d_q = ((-1, 0), (1, -1), (0, 1))[label]
            g_low -= d_p * slope_p / likelihood
            g_high -= d_q * slope_q / likelihood
            common = (d_p * slope_p + d_q * slope_q) / likelihood
            for i, v in enumerate(x):
                gradient[i] += common * v
        n = len(rows)
        weights = [
            max(0.1, w + RATE * (g / n - RIDGE * (w - s))) for w, g, s in zip(weights, gradient, HAND_SET, strict=True)
        ]
        low, high = low + RATE * g_low / n, high + RATE * g_high / n
    return weights, low, high


def judged(rows: list[Row], model: tuple[list[float], float, float]) -> list[tuple[float, bool]]:
    weights, low, high = model
    verdicts = []
    for x, label in rows:
        score = sum(w * v for w, v in zip(weights, x, strict=True))
        p, q = logistic((score - low) / TEMPERATURE), logistic((score - high) / TEMPERATURE)
        best = max((q, 2), (p - q, 1), (1 - p, 0))
        verdicts.append((best[0], best[1] == label))
    return verdicts


def report(name: str, verdicts: list[tuple[float, bool]]) -> None:
    agreement = sum(right for _, right in verdicts) / len(verdicts)
    mean = sum(p for p, _ in verdicts) / len(verdicts)
    error = calibration_error(verdicts)
    print(f"{name}: agreement {agreement:.3f}, mean probability {mean:.3f}, calibration error {error:.3f}")


def calibration_error(verdicts: list[tuple[float, bool]], bins: int = 10) -> float:
    """Expected calibration error: |mean probability - share right| over equal-width bins, weighted by size."""
    total = 0.0
    for index in range(bins):
        inside = [v for v in verdicts if min(int(v[0] * bins), bins - 1) == index]
        total += abs(sum(p for p, _ in inside) - sum(right for _, right in inside))
    return total / len(verdicts)


def cross_validated(rows: list[Row], seed: int) -> list[tuple[float, bool]]:
    shuffled = random.Random(seed).sample(rows, len(rows))
    folds = [shuffled[i::FOLDS] for i in range(FOLDS)]
    verdicts = []
    for i, fold in enumerate(folds):
        others = [row for j, other in enumerate(folds) if j != i for row in other]
        verdicts += judged(fold, fit(others))
    return verdicts


def main() -> None:
    rows = [row_of(case) for case in yaml.safe_load((Path(__file__).parent / "prompts.yaml").read_text())]
    model = fit(rows)
    for term, weight in zip(TERMS, model[0], strict=True):
        print(f"{weight:6.2f}  (now {term.weight:.2f})  {term.name}")
    print(f"thresholds {model[1]:.2f} {model[2]:.2f}")
    report("fit", judged(rows, model))
    for seed in range(SHUFFLES):
        report(f"cross-validated, shuffle {seed}", cross_validated(rows, seed))
    report("as in the table", judged(rows, ([term.weight for term in TERMS], MODERATE_FROM, COMPLEX_FROM)))


if __name__ == "__main__":
    main()
