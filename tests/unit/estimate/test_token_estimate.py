"""Estimates of tokens, and the counts that come with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_router.estimate.features import CHARS_PER_WORD, HEAD, TAIL, measure
from weir_router.estimate.prompt import Prompt, Turn
from weir_router.estimate.tokens import DOCUMENT_TOKENS, IMAGE_TOKENS, TOOL_TOKENS, TURN_TOKENS, estimate, of_text


def user(*texts: str) -> tuple[Turn, ...]:
    return tuple(Turn("user", text) for text in texts)


def test_english_is_four_characters_a_token():
    assert of_text("abcd" * 1_000) == 1_000


def test_chinese_is_about_three_tokens_for_four_characters():
    assert of_text("汉字汉字" * 100) == 300


def test_every_turn_counts_with_its_template():
    assert estimate(Prompt(turns=user("abcd", "abcd"))) == 2 + 2 * TURN_TOKENS


def test_tools_count_by_number_where_their_size_is_not_known():
    assert estimate(Prompt(turns=(), tools=3)) == 3 * TOOL_TOKENS


def test_tools_count_by_size_where_it_is_known():
    assert estimate(Prompt(turns=(), tools=3, extra_chars=4_000)) == 1_000


def test_images_and_documents_count_by_number():
    assert estimate(Prompt(turns=(), images=2, documents=1)) == 2 * IMAGE_TOKENS + DOCUMENT_TOKENS


def test_pieces_of_a_large_text_add_up():
    assert of_text("ß" * 1_000_001) == -(-2_000_002 // 4)


def test_a_lone_surrogate_has_a_size():
    assert of_text("\ud800") == 1


@given(st.text(st.characters()), st.text(st.characters()))
def test_text_never_shrinks_by_adding_to_it(text, more):
    assert of_text(text + more) >= of_text(text)


def test_features_and_estimate_agree_on_the_tokens():
    prompt = Prompt(turns=user("Grüße", "abc"), tools=2, images=1)
    assert measure(prompt).tokens == estimate(prompt)


def test_the_last_user_turn_with_text_is_the_one_that_is_read():
    turns = (*user("Prove it"), Turn("assistant", "Done"), Turn("user", " "), Turn("tool", "derive"))
    assert measure(Prompt(turns=turns)).proof_words == 1


def test_without_a_user_turn_the_last_turn_is_read():
    assert measure(Prompt(turns=(Turn("system", "Prove it"),))).proof_words == 1


def test_words_of_unread_text_are_estimated_from_its_length():
    text = "a" * HEAD + " " * 600 + "b" * TAIL
    assert measure(Prompt(turns=user(text))).words == 2 + 600 // CHARS_PER_WORD


@pytest.mark.parametrize(
    ("text", "field", "count"),
    [
        ("Prove and DERIVE it", "proof_words", 2),
        ("证明并推导", "proof_words", 2),
        ("if a then b", "logic_words", 2),
        ("must be at least 3, without sugar", "constraint_words", 3),
        ("why and how", "question_words", 1),
        ("- one\n- two\n2. three", "items", 2),
        ("$x^2 = 4$", "maths", 2),
        ("x += 1;", "code", 2),
        ("2+2", "maths", 0),
    ],
)
def test_signs_are_counted(text, field, count):
    assert getattr(measure(Prompt(turns=user(text))), field) == count
