"""Every field of `Features` has its own count: fields are set by position, and a swap would be silent."""

from msgspec.structs import asdict

from weir_router.estimate import tokens
from weir_router.estimate.features import CHARS_PER_WORD, HEAD, TAIL, measure
from weir_router.estimate.prompt import Prompt, Turn
from weir_router.estimate.words import SIGNS, Sign

COUNTS = {
    Sign.QUESTION: 2,
    Sign.REASONING: 3,
    Sign.LOGIC: 5,
    Sign.CONSTRAINT: 7,
    Sign.CODE: 4,
    Sign.CODE_SYMBOL: 7,
    Sign.MATHS: 6,
    Sign.MATHS_SYMBOL: 7,
    Sign.PROOF: 17,
    Sign.WORK: 19,
}
ITEMS, EARLIER, UNSEEN, TOOLS, IMAGES, DOCUMENTS, RESULTS, TURNS = 23, 29, 60_013, 31, 37, 41, 43, 47


def test_each_field_has_the_count_of_its_own() -> None:
    shortest = {sign: min((word for word, its in SIGNS.items() if its is sign), key=len) for sign in Sign}
    words = sum(count for sign, count in COUNTS.items() if sign not in (Sign.CODE_SYMBOL, Sign.MATHS_SYMBOL))
    text = " ".join(shortest[sign] for sign, count in COUNTS.items() for _ in range(count)) + "\n- x" * ITEMS
    assert len(text) < HEAD
    text = text.ljust(HEAD + UNSEEN + TAIL)
    before = Turn("user", " ".join([shortest[Sign.PROOF]] * EARLIER))
    turns = (*[Turn("assistant", "")] * (TURNS - 2), before, Turn("user", text))
    prompt = Prompt(turns, tools=TOOLS, tool_results=RESULTS, images=IMAGES, documents=DOCUMENTS, schema=True)

    measured = asdict(measure(prompt))

    assert measured == {
        "tokens": tokens.estimate(prompt),
        "words": words + ITEMS + UNSEEN // CHARS_PER_WORD,
        "turns": TURNS,
        "question_words": 2,
        "reasoning_words": 3,
        "logic_words": 5,
        "constraint_words": 7,
        "code": 11,
        "maths": 13,
        "tools": TOOLS,
        "images": IMAGES,
        "documents": DOCUMENTS,
        "schema": True,
        "proof_words": 17,
        "work_words": 19,
        "items": ITEMS,
        "tool_results": RESULTS,
        "earlier": EARLIER,
        "last_tokens": tokens.of_text(text),
        "unseen": UNSEEN,
        "pleasantry": False,
    }
    assert len(set(measured.values())) == len(measured)


def test_a_greeting_is_a_pleasantry_and_no_schema() -> None:
    measured = measure(Prompt((Turn("user", "Thanks!"),)))
    assert (measured.pleasantry, measured.schema) == (True, False)
