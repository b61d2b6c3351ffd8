"""A request as the classifier sees it, independent of its format. Made by `dialects`, read by `estimate`."""

from __future__ import annotations

import msgspec

from weir_router.contract import Capability, Complexity


class Turn(msgspec.Struct, frozen=True):
    """One message. `text` joins the text parts; images and other media are counted in `Prompt`."""

    role: str  # system, user, assistant, tool
    text: str


class Prompt(msgspec.Struct, frozen=True):
    """The structure of a request."""

    turns: tuple[Turn, ...]  # in order, the system prompt first where there is one
    tools: int = 0  # offered tools
    tool_results: int = 0  # turns that carry a tool's result
    images: int = 0
    documents: int = 0
    schema: bool = False  # the answer must follow a JSON schema
    needs: frozenset[Capability] = frozenset()  # capabilities that a model must offer to answer
    max_output: int | None = None  # tokens; None: the model's own limit
    extra_chars: int = 0  # of tool schemas and of the answer's schema; 0: not measured, so tools count by number


class Features(msgspec.Struct, frozen=True, omit_defaults=True):
    """The features measured on a prompt; shown by `weir explain` and in the request log. No prompt text."""

    tokens: int  # estimated prompt tokens, tools and images included
    words: int  # of the last user turn
    turns: int
    question_words: int = 0
    reasoning_words: int = 0  # analyse, evaluate, justify, design, step by step ...
    logic_words: int = 0  # if, unless, therefore, either ... or
    constraint_words: int = 0  # must, exactly, at most, without ...
    code: int = 0  # signs of code: fences, keywords, stack traces
    maths: int = 0  # signs of maths: LaTeX, operators, theorem vocabulary
    tools: int = 0
    images: int = 0
    documents: int = 0
    schema: bool = False
    proof_words: int = 0  # prove, derive, refute, counterexample ...
    work_words: int = 0  # explain, compare, write, summarise ...
    items: int = 0  # lines that begin like an item of a list
    tool_results: int = 0
    earlier: int = 0  # signs of difficulty in the user turn before the last
    last_tokens: int = 0  # the part of `tokens` in the last user turn
    unseen: int = 0  # characters of the last user turn that were not read
    pleasantry: bool = False  # the last user turn only greets or thanks


class Classification(msgspec.Struct, frozen=True):
    """The estimate of a prompt's class."""

    complexity: Complexity
    probability: float  # of the class being right, 0..1
    reason: str  # for people, e.g. "reasoning words (2), maths (1)"
