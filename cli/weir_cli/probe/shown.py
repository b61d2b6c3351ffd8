"""Tables, JSON and manifest lines of `weir probe`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from weir_cli.catalogue.command import dollars
from weir_cli.probe.asking import Found, Target
from weir_cli.probe.questions import Question, listed_formats
from weir_router.contract import Endpoint, Price, WireFormat

Story = Sequence[tuple[Target, list[Found]]]

_WORDS = {True: "yes", False: "no", None: "unclear"}


def is_kept(found: Iterable[Found]) -> bool:
    """Whether everything that is listed was spoken, as far as it is clear."""
    return not any(it.question.listed and it.spoken is False for it in found)


def is_clear(found: Iterable[Found]) -> bool:
    """Whether the answer to everything that is listed is clear."""
    return not any(it.question.listed and it.spoken is None for it in found)


def lines(target: Target, found: Sequence[Found]) -> dict[str, list[str]]:
    """The fields of the backend that its manifest should have otherwise; empty: it says the truth.

    An unclear answer changes nothing.
    """
    formats: list[str] = []
    for it in (*listed_formats(target.backend), *(it.question.what for it in found)):
        answer = next((each for each in found if each.question.what is it), None)
        if isinstance(it, WireFormat) and it.value not in formats and answer is not None and _has(answer):
            formats.append(it.value)
    endpoints = [it.question.what.value for it in found if isinstance(it.question.what, Endpoint) and _has(it)]
    fields: dict[str, list[str]] = {}
    if formats and formats != [it.value for it in listed_formats(target.backend)]:
        fields["dialects"] = formats
    if endpoints != list(target.backend.endpoints):
        fields["endpoints"] = endpoints
    return fields


def _has(found: Found) -> bool:
    return found.question.listed if found.spoken is None else found.spoken


def bill(asked: Iterable[tuple[Question, Price | None]]) -> str:
    """The most that the questions cost, in words."""
    known, unknown, tokens = 0.0, False, [0, 0]
    for question, price in asked:
        tokens[0] += question.input_tokens
        tokens[1] += question.output_tokens
        known += _cost(price, question.input_tokens, question.output_tokens)
        unknown = unknown or (price is None and question.input_tokens > 0)
    more = ", and some have no known price" if unknown else ""
    return f"about {tokens[0]} tokens of input and at most {tokens[1]} of output, about ${dollars(known) or 0}{more}"


def spent(story: Story) -> dict[str, Any]:
    """Tokens and dollars by the usage that the answers report."""
    used = [(it.usage, target.backend.price) for target, found in story for it in found if it.usage is not None]
    return {
        "inputTokens": sum(usage.input for usage, _ in used),
        "outputTokens": sum(usage.output for usage, _ in used),
        "dollars": round(sum(_cost(price, usage.input, usage.output) for usage, price in used), 9),
        "unpriced": sum(price is None for _, price in used),
    }


def _cost(price: Price | None, input_tokens: int, output_tokens: int) -> float:
    return 0.0 if price is None else (price.input * input_tokens + price.output * output_tokens) / 1_000_000


def as_json(story: Story) -> dict[str, Any]:
    """The story for machines."""
    everything = [it for _, found in story for it in found]
    return {
        "asListed": is_kept(everything) and is_clear(everything),
        "backends": [
            {
                "tier": target.tier,
                "backend": target.backend.name,
                "model": target.backend.model,
                "baseURL": target.backend.base_url,
                "answers": [
                    {
                        "name": it.question.what.value,
                        "kind": "dialect" if isinstance(it.question.what, WireFormat) else "endpoint",
                        "listed": it.question.listed,
                        "spoken": it.spoken,
                        "status": it.status,
                        "detail": it.detail,
                    }
                    for it in found
                ],
                "manifest": lines(target, found),
            }
            for target, found in story
        ],
        "spent": spent(story),
    }


def table(story: Story) -> Table:
    """The story for people: a row for each backend and answer."""
    shown = Table(title="What backends speak", title_justify="left")
    for column in ("tier / backend", "asked for", "listed", "speaks it", ""):
        shown.add_column(column, overflow="fold")
    for target, found in story:
        name = f"{target.tier} / {target.backend.name}"
        for it in found:
            colour = _colour(it)
            status = f"{it.status}: " if it.status is not None and it.detail else ""
            answer = f"[{colour}]{_WORDS[it.spoken]}[/]"
            listed = "yes" if it.question.listed else "no"
            shown.add_row(escape(name), it.question.what.value, listed, answer, escape(f"{status}{it.detail}"))
            name = ""
    return shown


def _colour(found: Found) -> str:
    if found.spoken is None:
        return "yellow"
    return "green" if found.spoken is found.question.listed else "red" if found.question.listed else "cyan"


def advice(story: Story) -> list[str]:
    """The lines to write into manifests; none where they say the truth."""
    advised = []
    for target, found in story:
        changed = lines(target, found)
        if changed:
            advised.append(f"{target.tier} / {target.backend.name}:")
            advised += [f"    {field}: [{', '.join(names)}]" for field, names in changed.items() if names]
            advised += [f"    (no `{field}`)" for field, names in changed.items() if not names]
    return advised
