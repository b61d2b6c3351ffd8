"""The older completions: a prompt without roles goes on."""

from __future__ import annotations

import itertools
from typing import Any

from weir_cli.sim.answer import Answer, Ask, Stop, compose, count_tokens
from weir_cli.sim.endpoints.reply import INVALID, Reply, invalid, required, whole_number
from weir_cli.sim.frames import Frame, Part, as_json
from weir_cli.sim.models import SimModel
from weir_cli.sim.openai_wire import CREATED, DONE, FINGERPRINT, MAX_CHOICES
from weir_cli.sim.refused import Refused

DEFAULT_MAX_TOKENS = 16
"""Tokens of an answer whose request sets no `max_tokens` (OpenAI)."""


def complete(fields: dict[str, Any], model: SimModel) -> Reply:
    """The answers to each prompt. Raises `Refused`."""
    prompts = _prompts(required(fields, "prompt"))
    limit = whole_number(fields, "max_tokens", DEFAULT_MAX_TOKENS, model.output_tokens or model.context_tokens)
    stop = fields.get("stop") or ()
    answers = [
        compose(_ask(fields, prompt, limit, (stop,) if isinstance(stop, str) else tuple(stop)), model, 0, choice)
        for prompt in prompts
        for choice in range(whole_number(fields, "n", 1, MAX_CHOICES))
    ]
    prompt_tokens = sum(max(1, count_tokens(prompt)) for prompt in prompts)
    if prompt_tokens + limit > model.context_tokens:
        message = (
            f"This model's maximum context length is {model.context_tokens} tokens, however you requested "
            f"{prompt_tokens + limit} tokens. Please reduce your prompt; or completion length."
        )
        raise Refused(400, INVALID, message, code="context_length_exceeded", param="prompt")
    output_tokens = sum(answer.output_tokens for answer in answers)
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": prompt_tokens + output_tokens,
    }
    head = {
        "id": f"cmpl-{answers[0].id}",
        "object": "text_completion",
        "created": CREATED,
        "model": model.name,
        "system_fingerprint": FINGERPRINT,
        **model.extra,
    }
    whole = [_choice(index, "".join(answer.text), _finish(answer)) for index, answer in enumerate(answers)]
    return Reply(
        as_json({**head, "choices": whole, "usage": usage}),
        frames=_frames(fields, head, answers, usage) if fields.get("stream") else None,
        steps=max(answer.steps for answer in answers),
    )


def _prompts(given: Any) -> list[str]:
    prompts = given if isinstance(given, list) and all(isinstance(it, str) for it in given) else [given]
    if not prompts or not all(isinstance(it, str) for it in prompts):
        raise invalid("prompt", "a text or a non-empty list of texts")
    return prompts


def _ask(fields: dict[str, Any], prompt: str, limit: int, stops: tuple[str, ...]) -> Ask:
    return Ask(body=fields, prompt=prompt, limit=limit, stops=stops)


def _finish(answer: Answer) -> str:
    return "length" if answer.stop is Stop.LENGTH else "stop"


def _choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}


def _frames(fields: dict[str, Any], head: dict[str, Any], answers: list[Answer], usage: dict[str, Any]) -> list[Frame]:
    def frame(part: Part, choices: list[dict[str, Any]], **more: Any) -> Frame:
        return Frame(part, b"data: " + as_json({**head, "choices": choices, **more}) + b"\n\n")

    options = fields.get("stream_options")
    with_usage = isinstance(options, dict) and bool(options.get("include_usage"))
    more: dict[str, Any] = {"usage": None} if with_usage else {}
    frames = [
        [
            *(frame(Part.CONTENT, [_choice(index, token, None)], **more) for token in answer.text),
            frame(Part.FINISH, [_choice(index, "", _finish(answer))], **more),
        ]
        for index, answer in enumerate(answers)
    ]
    last = [frame(Part.USAGE, [], usage=usage)] if with_usage else []
    return [*itertools.chain(*frames), *last, Frame(Part.END, DONE)]
