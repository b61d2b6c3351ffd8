"""The estimate for callers who ask for nothing else is near what tokenisers count."""

import pytest

from weir_router.estimate.counting import count, of_bytes
from weir_router.estimate.prompt import Prompt, Turn

# Counted by the tokenisers of GPT-4o and Claude 2.
SAMPLES = [
    ("The quick brown fox jumps over the lazy dog, and nobody minds.", 14, 15),
    ("Let f(x) = x^2 + 3x - 5. Find f'(2) and the roots of f(x) = 0.", 32, 31),
    ("12345 + 67890 = 80235", 10, 7),
    ("def add(a: int, b: int) -> int:\n    return a + b\n", 19, 20),
    ('{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}},"required":["city"]}', 26, 25),
    ("Größe und Straße: überall möglich.", 8, 11),
]


@pytest.mark.parametrize(("text", "gpt", "claude"), SAMPLES)
def test_a_sample_of_each_kind_is_near(text: str, gpt: int, claude: int) -> None:
    assert 0.7 * min(gpt, claude) <= of_bytes(text.encode()) <= 1.75 * max(gpt, claude)


def test_turns_media_and_what_is_beside_them_add_up() -> None:
    turn = Turn("user", "hello " * 100)
    alone = count(Prompt((turn,)), [])
    assert 100 <= alone <= 170
    assert count(Prompt((turn, turn)), []) == pytest.approx(2 * alone, abs=1)
    assert count(Prompt((turn,), images=1, documents=1), []) == alone + 5_800
    assert count(Prompt((turn,), tools=2), []) == alone + 240
    assert count(Prompt((turn,), tools=2), [b'{"name":"a"}']) < alone + 20
    assert count(Prompt(()), []) == 1


def test_odd_text_is_counted_too() -> None:
    assert count(Prompt((Turn("user", "\ud800 \U0001f600 你好"),)), []) > 4
