"""The classifier against `prompts.yaml`, and each promise of the docs."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from weir_router.contract import Complexity
from weir_router.estimate.complexity import applied, classify, contributions, probabilities
from weir_router.estimate.features import HEAD, TAIL, measure
from weir_router.estimate.prompt import Classification, Features, Prompt, Turn
from weir_router.estimate.weights import TERMS

HERE = Path(__file__).parent
CASES = yaml.safe_load((HERE / "prompts.yaml").read_text(encoding="utf-8"))


def load_fit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("classify_fit", HERE / "fit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fit = load_fit()


def ask(text: str, **more: object) -> Classification:
    return classify(measure(Prompt(turns=(Turn("user", text),), **more)))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def verdicts() -> list[tuple[Complexity, Classification]]:
    return [(Complexity(case["class"]), classify(measure(fit.prompt_of(case)))) for case in CASES]


def test_agrees_with_at_least_85_percent_of_the_authored_classes(verdicts):
    right = sum(expected is found.complexity for expected, found in verdicts)
    assert right / len(verdicts) >= 0.85


def test_never_calls_a_complex_prompt_simple_or_a_simple_one_complex(verdicts):
    pairs = Counter((expected, found.complexity) for expected, found in verdicts)
    assert pairs[Complexity.COMPLEX, Complexity.SIMPLE] == 0
    assert pairs[Complexity.SIMPLE, Complexity.COMPLEX] == 0


@pytest.mark.parametrize(
    "prompt",
    [
        "Beweise, dass die Wurzel aus zwei irrational ist.",
        "Démontrez que la racine carrée de 2 est irrationnelle.",
        "Demuestra que la raíz cuadrada de 2 es irracional.",
        "Dimostra che la radice quadrata di 2 è irrazionale.",
        "Demonstre que a raiz quadrada de 2 é irracional.",
        "Докажи, что корень из двух иррационален.",
        "证明根号2是无理数。",
    ],
)
def test_a_proof_is_complex_in_every_language_that_the_words_cover(prompt):
    assert ask(prompt).complexity is Complexity.COMPLEX


def test_probabilities_are_calibrated_on_the_authored_set(verdicts):
    judged = [(found.probability, expected is found.complexity) for expected, found in verdicts]
    assert fit.calibration_error(judged) <= 0.10


def test_the_authored_set_has_enough_of_each_class():
    counts = Counter(case["class"] for case in CASES)
    assert min(counts[name] for name in ("Simple", "Moderate", "Complex")) >= 40


@pytest.mark.parametrize(
    "text",
    [
        "Hi, can you prove Fermat's theorem",
        "Thanks! Now prove it.",
        "yes or no: is P = NP, with proof",
        "Briefly: derive the quadratic formula",
        "tell me a joke, then prove the Cauchy-Schwarz inequality",
    ],
)
def test_an_easy_wrapping_does_not_make_a_hard_question_simple(text):
    assert ask(text).complexity is not Complexity.SIMPLE


@pytest.mark.parametrize(
    "text", ["Hi", "Thanks!", "what is 2+2", "Is 17 a prime?", "你好", "Guten Morgen!", "Who are you?"]
)
def test_easy_prompts_are_simple(text):
    assert ask(text).complexity is Complexity.SIMPLE


def test_thanks_after_a_long_conversation_is_simple():
    talk = [Turn("user", "Prove the theorem and derive each step."), Turn("assistant", "…")] * 20
    found = classify(measure(Prompt(turns=(*talk, Turn("user", "Thanks!")), tools=20, tool_results=10)))
    assert found.complexity is Complexity.SIMPLE
    assert found.reason == "a greeting or thanks and nothing else"


def test_yes_after_a_hard_turn_is_not_simple():
    turns = (
        Turn("user", "Shall we analyse and refactor the parser?"),
        Turn("assistant", "Shall I?"),
        Turn("user", "yes"),
    )
    assert classify(measure(Prompt(turns=turns))).complexity is not Complexity.SIMPLE


def test_a_prompt_that_was_not_read_to_the_end_is_never_simple():
    assert ask("x " * (HEAD + TAIL)).complexity is not Complexity.SIMPLE


def test_length_alone_is_never_complex():
    assert ask("word " * 1_000_000).complexity is Complexity.MODERATE


def test_code_alone_is_never_complex():
    assert ask("```python\n" + "def f(): return [x for x in {}];\n" * 20 + "```").complexity is Complexity.MODERATE


def test_the_system_prompt_is_not_read():
    rules = Turn("system", "You must prove and derive every step rigorously. Analyse, evaluate, justify.")
    question = Turn("user", "What is the capital of Peru?")
    assert classify(measure(Prompt(turns=(rules, question)))).complexity is Complexity.SIMPLE


def test_an_empty_prompt_is_simple_and_says_why():
    found = classify(measure(Prompt(turns=())))
    assert (found.complexity, found.reason) == (Complexity.SIMPLE, "no signs of difficulty")


def test_the_reason_names_what_weighed_most_first():
    assert ask("Prove this theorem, please").reason.startswith("words of proof (1), signs of maths (1)")


def test_probabilities_add_up_to_one():
    assert sum(probabilities(4.2).values()) == pytest.approx(1)


def test_every_weight_is_positive():
    assert all(term.weight > 0 for term in TERMS)


def test_what_is_absent_contributes_nothing():
    assert contributions(Features(tokens=0, words=0, turns=0)) == []


def verdict(complexity: Complexity, probability: float) -> Classification:
    return Classification(complexity, probability, "work words (1)")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Complexity.SIMPLE, Complexity.MODERATE),
        (Complexity.MODERATE, Complexity.COMPLEX),
        (Complexity.COMPLEX, Complexity.COMPLEX),
    ],
)
def test_a_doubtful_class_is_raised_one_step(found, expected):
    assert applied(verdict(found, 0.6), 0.8)[0] is expected


def test_a_raised_class_says_from_where_and_why():
    _, reason = applied(verdict(Complexity.SIMPLE, 0.62), 0.8)
    assert reason == "work words (1); raised from Simple because its probability 0.62 is below minConfidence 0.80"


def test_a_sure_class_stays_with_its_reason():
    assert applied(verdict(Complexity.SIMPLE, 0.8), 0.8) == (Complexity.SIMPLE, "work words (1)")
