"""Properties that hold for any prompt."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from weir_router.contract import Complexity
from weir_router.estimate import features
from weir_router.estimate.complexity import classify
from weir_router.estimate.features import HEAD, TAIL, measure
from weir_router.estimate.prompt import Classification, Prompt, Turn
from weir_router.estimate.words import SIGNS, Sign

RANK = {Complexity.SIMPLE: 0, Complexity.MODERATE: 1, Complexity.COMPLEX: 2}
HARD = sorted(word for word, sign in SIGNS.items() if sign in (Sign.PROOF, Sign.REASONING))
VOCABULARY = st.sampled_from([*sorted(SIGNS), "hi", "thanks", "the", "house", "2+2", "证明", "\n- ", "\n", "{};"])

# Words that mean something to the classifier as often as arbitrary characters, lone surrogates among them.
texts = st.one_of(
    st.text(st.characters(), max_size=400),
    st.lists(VOCABULARY, max_size=40).map(" ".join),
)
prompts = st.builds(
    Prompt,
    turns=st.lists(st.builds(Turn, st.sampled_from(["system", "user", "assistant", "tool"]), texts), max_size=4).map(
        tuple
    ),
    tools=st.integers(0, 500),
    tool_results=st.integers(0, 500),
    images=st.integers(0, 50),
    documents=st.integers(0, 50),
    schema=st.booleans(),
    extra_chars=st.integers(0, 10**7),
)
bounded = settings(max_examples=150, deadline=None)


def ask(text: str) -> Classification:
    return classify(measure(Prompt(turns=(Turn("user", text),))))


def rank(text: str) -> int:
    return RANK[ask(text).complexity]


@bounded
@given(prompts)
def test_any_prompt_gets_a_class_a_probability_and_a_reason(prompt):
    found = classify(measure(prompt))
    assert 1 / 3 <= found.probability <= 1
    assert found.reason


@bounded
@given(prompts)
def test_the_same_prompt_gets_the_same_verdict(prompt):
    assert classify(measure(prompt)) == classify(measure(prompt))


@bounded
@given(texts, st.lists(st.sampled_from(HARD), min_size=1, max_size=8))
def test_more_words_of_reasoning_never_lower_the_class(text, words):
    assert rank(f"{text} {' '.join(words)}") >= rank(text)


@bounded
@given(texts, texts, texts, st.integers(1, 200))
def test_padding_the_middle_never_lowers_the_class(head, padding, tail, times):
    assert rank(f"{head} {padding * times} {tail}") >= rank(f"{head} {tail}")


@bounded
@given(texts, texts, texts)
def test_what_is_not_read_changes_nothing_that_is_counted(head, unseen, tail):
    start, end = head.ljust(HEAD)[:HEAD], tail.rjust(TAIL)[-TAIL:]
    short, long = (measure(Prompt(turns=(Turn("user", text),))) for text in (start + end, start + unseen + end))
    counted = (
        "question_words",
        "reasoning_words",
        "proof_words",
        "work_words",
        "logic_words",
        "constraint_words",
        "code",
    )
    assert [getattr(short, name) for name in counted] == [getattr(long, name) for name in counted]
    assert long.unseen == len(unseen)


@bounded
@given(texts)
def test_features_hold_no_text(text):
    found = measure(Prompt(turns=(Turn("user", text),)))
    assert all(isinstance(getattr(found, name), int) for name in found.__struct_fields__)
    json.dumps([getattr(found, name) for name in found.__struct_fields__])


@given(st.text(st.sampled_from("Why prove IF must 3_x{}=-><&|:()/`^\\!+;.,'\n\t\r\x1c\x0b")))
def test_prose_is_read_as_everything_else_is(text):
    prose = features._read_prose(text)
    if prose is not None:
        assert prose == features._read_any(text)
