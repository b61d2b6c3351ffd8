"""The demo's mixed stream of prompts: what a team's assistants might be asked in a day, easy and hard, short and
long.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

EASY = (
    "Hi there!",
    "What is the capital of Portugal?",
    "Translate 'good morning' into Italian.",
    "Thanks, that is all for today.",
    "What does SLA stand for?",
    "Rewrite this more politely: send me the file.",
    "Which year did the Berlin wall fall?",
    "Give me a synonym for 'quick'.",
)

MIDDLING = (
    "Summarise the trade-offs between a message queue and a webhook for order events, in five bullet points.",
    "Write a Python function that parses ISO 8601 durations and add three unit tests for it.",
    "Compare PostgreSQL and DynamoDB for a shopping cart; list the cases in which each one wins.",
    "Draft an incident report: the cache was flushed at 14:02, latency doubled, recovered at 14:40. Keep it "
    "under 200 words.",
    "Explain why this SQL is slow and how to fix it: SELECT * FROM orders WHERE date(created) = '2026-11-22'",
)

HARD = (
    "Hi, can you prove Fermat's little theorem step by step, and then show why the converse fails? Give a "
    "counterexample.",
    "Derive the closed form of the sum of k^3 for k from 1 to n by induction, then prove that it is always a "
    "perfect square.",
    "Design a rate limiter for 40 regions: at most 1 % error, no single point of failure, and it must "
    "survive a partition. "
    "Analyse the failure modes, compare at least two algorithms, and justify each choice.",
    "This code deadlocks about once a day. Explain every interleaving that can lead to it, then rewrite it "
    "without locks:\n"
    "```python\nasync def move(a, b, n):\n    async with a.lock:\n        async with b.lock:\n            "
    "a.balance -= n\n            b.balance += n\n```",
)

_NOTES = (
    "Anna: sales went up again in Lisbon and in Porto. Ben: two customers called about late parcels, both have got "
    "them by now. Carla: the new colleague comes in May and sits beside Dan. "
)
LONG = tuple(
    f"{task}\n\n{_NOTES * 50}" for task in ("Summarise these notes.", "Explain to a newcomer what these notes say.")
)
"""Too long for small contexts, though no harder than the middling ones."""

GROUPS = (EASY, MIDDLING, LONG, HARD)
SHARES = (0.5, 0.28, 0.07, 0.15)
"""Most traffic of an assistant is easy."""


class Shot(NamedTuple):
    """One request to send."""

    path: str
    body: dict[str, Any]


def shots(rng: random.Random) -> Iterator[Shot]:
    """An endless mixture: two thirds in the OpenAI dialect, and two thirds streamed."""
    while True:
        text = rng.choice(rng.choices(GROUPS, SHARES)[0])
        body = {"model": "auto", "stream": rng.random() < 0.66, "messages": [{"role": "user", "content": text}]}
        if rng.random() < 0.66:
            yield Shot("/v1/chat/completions", body)
        else:
            yield Shot("/v1/messages", {**body, "max_tokens": 512})
