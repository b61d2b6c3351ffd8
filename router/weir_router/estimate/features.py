"""Measures the `Features` of a prompt: counts of words and signs, which `estimate.complexity` weighs.

Only the first 2,200 and the last 800 characters of the last user turn are read, and the first 600 of the user turn
before it: regexes over long text would take more than a millisecond. Unread text can only raise the class: `unseen` and
`last_tokens` grow with it, every weight is positive, and head and tail are counted apart, so that nothing between them
changes what is counted in them. The system prompt is counted in `tokens` and not read: it is the same for all requests
of an application and would put all of them into one class.
"""

from __future__ import annotations

import re
from operator import add

from weir_router.estimate import tokens
from weir_router.estimate.prompt import Features, Prompt, Turn
from weir_router.estimate.words import CJK, PLEASANTRIES, PLEASANTRY_FILLERS, SIGNS, Sign

HEAD = 2_200
"""Characters read at the start of the last user turn: instructions stand first or last."""

TAIL = 800
"""Characters read at the end of the last user turn."""

EARLIER = 600
"""Characters read of the user turn before, to which "yes, do that" refers."""

CHARS_PER_WORD = 6
"""Characters of an English word with its space, to estimate the words of unread text."""

PLEASANTRY_CHARS = 80
"""Characters of the longest turn that may be a greeting."""

_TOKEN = re.compile(r"[^\W\d_]+|```|=>|->|[=!<>:+-]=|&&|\|\||::|</|\(\)|[{};`=^\\<>∀∃∈∉∑∏∫√∞≤≥≠≈≡→⇒⇔∂∇⊂⊆∪∩]")
_CJK_RUN = re.compile("[\u3040-\u30ff\u3400-\u9fff]+")
_ITEM_STARTS: tuple[str, ...] = ("\n- ", "\n* ", "\n• ", *(f"\n{digit}" for digit in range(1, 10)))
_SYMBOLS: tuple[Sign, ...] = (Sign.CODE_SYMBOL, Sign.MATHS_SYMBOL)
_DIFFICULT: tuple[Sign, ...] = (Sign.PROOF, Sign.REASONING, Sign.WORK, Sign.CONSTRAINT, Sign.CODE, Sign.MATHS)
_NOTHING = Turn(role="user", text="")

_KINDS = max(Sign) + 1
_ASCII_SIGNS = {word.encode(): int(sign) for word, sign in SIGNS.items() if word.isascii()}
_SYMBOL = ord("!")
# A table that reduces ASCII to words: letters in lower case, characters of every symbol of `_TOKEN` as `_SYMBOL`, and
# the rest as blanks; characters that are symbols only in pairs have a blank of their own.
_WORDS_ALONE = bytearray(b" " * 256)
_WORDS_ALONE[ord("a") : ord("z") + 1] = _WORDS_ALONE[ord("A") : ord("Z") + 1] = b"abcdefghijklmnopqrstuvwxyz"
for _code in b"{};`=^\\<>":
    _WORDS_ALONE[_code] = _SYMBOL
for _code, _blank in zip(b"&|:()", b"\t\n\v\f\r", strict=True):
    _WORDS_ALONE[_code] = _blank
_TO_WORDS = bytes(_WORDS_ALONE)
_PAIRS: tuple[bytes, ...] = tuple(pair.translate(_TO_WORDS) for pair in (b"&&", b"||", b"::", b"()"))


def measure(prompt: Prompt) -> Features:
    """The features of `prompt`. Pure; it takes a millisecond at most, for any size."""
    sizes: list[int] = []
    whole, turns = tokens.overhead(prompt), 0
    for turn in prompt.turns:
        sizes.append(tokens.of_text(turn.text))
        whole += sizes[-1]
        turns += turn.role != "system"
    index, last, before = _last_turns(prompt.turns)
    text = last.text
    unseen = max(0, len(text) - HEAD - TAIL)
    head = text[:HEAD]
    signs, words = _read(head)
    items = _items(head)
    if len(text) > HEAD:
        tail = text[HEAD + unseen :]
        signs_of_tail, words_of_tail = _read(tail)
        signs, words = [*map(add, signs, signs_of_tail)], words + words_of_tail
        items += _items(tail)
    _, question, reasoning, work, logic, constraint, code, code_symbols, maths, maths_symbols, proof = signs
    return Features(  # by position: by name costs six times as much
        whole,
        words + unseen // CHARS_PER_WORD,
        turns,
        question,
        reasoning,
        logic,
        constraint,
        code + code_symbols,
        maths + maths_symbols,
        prompt.tools,
        prompt.images,
        prompt.documents,
        prompt.schema,
        proof,
        work,
        items,
        prompt.tool_results,
        _difficulty(before.text[:EARLIER]),
        sizes[index] if sizes else 0,
        unseen,
        _is_pleasantry(text),
    )


def _last_turns(turns: tuple[Turn, ...]) -> tuple[int, Turn, Turn]:
    """The last user turn with text and the one before it; without any, the very last turn of any role."""
    spoken = []
    for index in range(len(turns) - 1, -1, -1):
        turn = turns[index]
        if turn.role == "user" and turn.text and not turn.text.isspace():
            spoken.append(index)
            if len(spoken) == 2:
                return spoken[0], turns[spoken[0]], turns[index]
    if spoken:
        return spoken[0], turns[spoken[0]], _NOTHING
    return (len(turns) - 1, turns[-1], _NOTHING) if turns else (0, _NOTHING, _NOTHING)


def _read(part: str) -> tuple[list[int], int]:
    """The count of each sign, by `Sign`, and the number of words."""
    return (_read_prose(part) if part.isascii() else None) or _read_any(part)


def _read_prose(part: str) -> tuple[list[int], int] | None:
    """Like `_read_any`, at a third of the cost, for ASCII without symbols, as in most prompts; None for other text."""
    plain = part.encode("ascii").translate(_TO_WORDS)
    if _SYMBOL in plain:
        return None
    for pair in _PAIRS:  # numbers are found faster, see fast.md
        if pair[0] in plain and plain.find(pair) >= 0:
            return None
    found = plain.split()
    signs = [0] * _KINDS
    for word in found:
        sign = _ASCII_SIGNS.get(word)
        if sign is not None:
            signs[sign] += 1
    return signs, len(found)


def _read_any(part: str) -> tuple[list[int], int]:
    found = _TOKEN.findall(part.lower())
    signs = [0] * _KINDS
    for sign in filter(None, map(SIGNS.get, found)):
        signs[sign] += 1
    words = len(found) - sum([signs[symbol] for symbol in _SYMBOLS])
    if part.isascii():
        return signs, words
    # Chinese and Japanese: a run without spaces is several words of about two characters each.
    runs = _CJK_RUN.findall(part)
    if runs:
        words += sum(map(len, runs)) // 2
        for phrase, sign in CJK.items():
            signs[sign] += part.count(phrase)
    return signs, words


def _difficulty(text: str) -> int:
    if not text:
        return 0
    signs, _ = _read(text)
    return sum([signs[sign] for sign in _DIFFICULT])


def _items(part: str) -> int:
    return sum(map(part.count, _ITEM_STARTS)) if "\n" in part else 0


def _is_pleasantry(text: str) -> bool:
    if len(text) > PLEASANTRY_CHARS:
        return False
    words = {token.lower() for token in re.findall(r"\w+", text)}
    return not words.isdisjoint(PLEASANTRIES) and words <= (PLEASANTRIES | PLEASANTRY_FILLERS)
