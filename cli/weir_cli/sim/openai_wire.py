"""OpenAI's chat completions on the wire: a request's body in, an answer's body or stream out.

Called by `weir_cli.sim.exchange`. Shapes follow the public API reference and are tested with the `openai` SDK.
"""

from __future__ import annotations

from typing import Any

from weir_cli.sim import openai_errors
from weir_cli.sim.answer import Answer, Ask, Stop, Tool, count_tokens, text_of
from weir_cli.sim.faults import FaultKind
from weir_cli.sim.frames import Frame, Part, as_json
from weir_cli.sim.models import SimModel
from weir_cli.sim.refused import Refused
from weir_router.contract import Dialect

PATH = "/v1/chat/completions"

PROVIDER = Dialect.OPENAI
"""Kind of the models that are known here."""

MARK: bytes | None = None
"""Header that tells a caller of this API on a path that both APIs have; None: no header does."""

REQUEST_ID_HEADER = "x-request-id"

CREATED = 1_790_000_000
"""Every answer's `created`, so that equal requests get equal bytes."""

MAX_CHOICES = 128
"""OpenAI's bound on `n`."""

ERRORS = openai_errors.ERRORS

ERROR_IN_200 = ERRORS[FaultKind.SERVER_ERROR]
"""The error of an error event, and of a 200 whose body is an error."""

FINGERPRINT = "fp_weir_sim"

DONE = b"data: [DONE]\n\n"

PING = b": keep-alive\n\n"

BROKEN = b'data: {"id":"chatcmpl-broken","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"cont\n\n'
"""JSON that stops half-way, in an event that is otherwise whole."""

_FINISH = {
    Stop.END: "stop",
    Stop.SEQUENCE: "stop",
    Stop.REFUSAL: "stop",
    Stop.LENGTH: "length",
    Stop.TOOLS: "tool_calls",
}

_ROLES_OF_USERS = frozenset({"user"})

_INVALID = "invalid_request_error"


def parse(body: dict[str, Any], model: SimModel) -> Ask:
    """The request, as a question to the model. Raises `Refused` as the API would."""
    _check_fields(body, model)
    messages = body["messages"]
    last = messages[-1]
    choice = body.get("tool_choice")
    tools = tuple(_tools(body.get("tools") or ()))
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    ask = Ask(
        body=body,
        prompt=_last_prompt(messages),
        prompt_tokens=max(1, count_tokens([m.get("content") for m in messages]) + count_tokens(body.get("tools"))),
        limit=limit if isinstance(limit, int) else None,
        stops=_stops(body.get("stop")),
        tools=tools,
        forced=_forced(choice),
        may_call=choice != "none" and last.get("role") in _ROLES_OF_USERS,
        parallel=body.get("parallel_tool_calls") is not False,
        schema=_schema(body.get("response_format")),
        thinking_tokens=model.reasoning_tokens,
        stream=bool(body.get("stream")),
    )
    _check_sizes(ask, model)
    return ask


def caches(body: dict[str, Any]) -> bool:
    """Whether a prompt cache takes the request: it takes all."""
    return True


def render(ask: Ask, model: SimModel, answers: list[Answer]) -> bytes:
    """The whole answer."""
    logprobs = bool(ask.body.get("logprobs"))
    return as_json(
        {
            **_head(ask, model, answers[0], "chat.completion"),
            "choices": [_choice(index, answer, logprobs) for index, answer in enumerate(answers)],
            "usage": _usage(ask, model, answers),
            **model.extra,
        }
    )


def stream(ask: Ask, model: SimModel, answers: list[Answer]) -> list[Frame]:
    """The answer as a stream."""
    options = ask.body.get("stream_options")
    with_usage = isinstance(options, dict) and bool(options.get("include_usage"))
    head = {**_head(ask, model, answers[0], "chat.completion.chunk"), **model.extra}
    before = b"data: " + as_json(head)[:-1] + b',"choices":['
    after = b"]%b}\n\n" % (b',"usage":null' if with_usage else b"")
    frames = [
        frame for index, answer in enumerate(answers) for frame in _choice_frames(ask, before, after, index, answer)
    ]
    if with_usage:
        usage = as_json({"usage": _usage(ask, model, answers)})[1:]
        frames.append(Frame(Part.USAGE, before + b"]," + usage + b"\n\n"))
    frames.append(Frame(Part.END, DONE))
    return frames


def listing(models: list[SimModel]) -> bytes:
    """The body of `GET /v1/models`."""
    return as_json({"object": "list", "data": [described(model) for model in models]})


def described(model: SimModel) -> dict[str, Any]:
    """One model in a listing."""
    return {"id": model.name, "object": "model", "created": CREATED, "owned_by": "weir-sim"}


def choices(body: dict[str, Any]) -> int:
    """How many answers the request asks for."""
    n = body.get("n")
    return min(n, MAX_CHOICES) if isinstance(n, int) and n > 1 else 1


def payload(refused: Refused, request_id: str) -> dict[str, Any]:
    """The error object, in an answer's body or in an event of a stream."""
    return {"error": {"message": refused.message, "type": refused.type, "param": refused.param, "code": refused.code}}


def unknown_path(method: str, path: str) -> Refused:
    """404 for a path that the API does not have."""
    return Refused(404, _INVALID, f"Invalid URL ({method} {path})")


def missing_header(marked: bool) -> Refused | None:
    """400 for a request without a header that the API wants; it wants none."""
    return None


def unknown_model(name: str) -> Refused:
    """404 in OpenAI's words."""
    message = f"The model `{name}` does not exist or you do not have access to it."
    return Refused(404, _INVALID, message, code="model_not_found")


def unreadable() -> Refused:
    """400 for a body that is not a JSON object."""
    return Refused(400, _INVALID, "We could not parse the JSON body of your request. The API expects a JSON payload.")


def wrong_key(given: str | None) -> Refused:
    """401 for a missing or a wrong key, which the message does not repeat."""
    if given is None:
        message = (
            "You didn't provide an API key. You need to provide your API key in an Authorization header using "
            "Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
        )
        return Refused(401, _INVALID, message)
    return Refused(401, _INVALID, "Incorrect API key provided: ****.", code="invalid_api_key")


def error_event(error: dict[str, Any]) -> bytes:
    """An error in the middle of a stream."""
    return b"data: " + as_json(error) + b"\n\n"


def failed_event(error: dict[str, Any], begun: bytes, number: int) -> bytes:
    """The end of a stream that failed: an error, as in its middle."""
    return error_event(error)


def unfinished(frames: list[Frame]) -> list[Frame]:
    """The stream without the ends of its items; it has none."""
    return frames


def _check_fields(body: dict[str, Any], model: SimModel) -> None:
    for field in model.refuses:
        if field in body:
            hint = " Use 'max_completion_tokens' instead." if field == "max_tokens" else ""
            message = f"Unsupported parameter: '{field}' is not supported with this model.{hint}"
            raise Refused(400, _INVALID, message, code="unsupported_parameter", param=field)
    messages = body.get("messages")
    if messages is None:
        raise Refused(
            400,
            _INVALID,
            "Missing required parameter: 'messages'.",
            code="missing_required_parameter",
            param="messages",
        )
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        message = "Invalid 'messages': expected a non-empty array of message objects."
        raise Refused(400, _INVALID, message, code="invalid_type", param="messages")
    if body.get("stream_options") is not None and not body.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise Refused(400, _INVALID, message, param="stream_options")


def _check_sizes(ask: Ask, model: SimModel) -> None:
    param = "max_completion_tokens" if "max_completion_tokens" in ask.body else "max_tokens"
    if ask.limit is not None and model.output_tokens is not None and ask.limit > model.output_tokens:
        message = (
            f"{param} is too large: {ask.limit}. This model supports at most {model.output_tokens} completion tokens, "
            f"whereas you provided {ask.limit}."
        )
        raise Refused(400, _INVALID, message, code="invalid_value", param=param)
    if ask.prompt_tokens > model.context_tokens:
        message = (
            f"This model's maximum context length is {model.context_tokens} tokens. However, your messages resulted in "
            f"{ask.prompt_tokens} tokens. Please reduce the length of the messages."
        )
        raise Refused(400, _INVALID, message, code="context_length_exceeded", param="messages")


def _last_prompt(messages: list[dict[str, Any]]) -> str:
    return next((text_of(m.get("content")) for m in reversed(messages) if m.get("role") in _ROLES_OF_USERS), "")


def _stops(stop: Any) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(s for s in stop or () if isinstance(s, str))


def _tools(tools: Any) -> list[Tool]:
    functions = [t["function"] for t in tools if isinstance(t, dict) and isinstance(t.get("function"), dict)]
    return [Tool(str(f.get("name")), f.get("parameters") or {"type": "object"}) for f in functions]


def _forced(choice: Any) -> str | None:
    if choice == "required":
        return "*"
    if isinstance(choice, dict):
        function = choice.get("function")
        return str(function.get("name")) if isinstance(function, dict) else "*"
    return None


def _schema(response_format: Any) -> dict[str, Any] | None:
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if kind == "json_schema":
        return (response_format.get("json_schema") or {}).get("schema") or {"type": "object"}
    return {"properties": {"answer": {"type": "string"}}} if kind == "json_object" else None


def _head(ask: Ask, model: SimModel, answer: Answer, kind: str) -> dict[str, Any]:
    tier = ask.body.get("service_tier")
    return {
        "id": f"chatcmpl-{answer.id}",
        "object": kind,
        "created": CREATED,
        "model": model.name,
        "service_tier": tier if isinstance(tier, str) and tier != "auto" else "default",
        "system_fingerprint": FINGERPRINT,
    }


def _choice(index: int, answer: Answer, logprobs: bool) -> dict[str, Any]:
    refused = answer.stop is Stop.REFUSAL
    text = "".join(answer.text)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if refused or answer.calls else text,
        "refusal": text if refused else None,
        "annotations": [],
    }
    if answer.thinking:
        message["reasoning_content"] = "".join(answer.thinking)
    if answer.calls:
        message["tool_calls"] = [
            {"id": f"call_{c.id}", "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for c in answer.calls
        ]
    return {
        "index": index,
        "message": message,
        "logprobs": _logprobs(answer.text, refused) if logprobs else None,
        "finish_reason": _FINISH[answer.stop],
    }


def _logprobs(tokens: list[str], refused: bool) -> dict[str, Any]:
    entries = [
        {"token": t, "logprob": -0.01, "bytes": list(t.encode("utf-8", "replace")), "top_logprobs": []} for t in tokens
    ]
    return {"content": None, "refusal": entries} if refused else {"content": entries, "refusal": None}


def _usage(ask: Ask, model: SimModel, answers: list[Answer]) -> dict[str, Any]:
    completion = sum(answer.output_tokens for answer in answers)
    cached = min(max(model.cached_tokens, ask.cached_tokens), ask.prompt_tokens)
    return {
        "prompt_tokens": ask.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": ask.prompt_tokens + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": sum(len(answer.thinking) for answer in answers),
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _choice_frames(ask: Ask, before: bytes, after: bytes, index: int, answer: Answer) -> list[Frame]:
    with_logprobs = bool(ask.body.get("logprobs"))
    refused = answer.stop is Stop.REFUSAL

    def frame(part: Part, delta: dict[str, Any], finish: str | None = None, tokens: list[str] | None = None) -> Frame:
        logprobs = _logprobs(tokens, refused) if with_logprobs and tokens else None
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return Frame(part, before + as_json(choice) + after)

    field = "refusal" if refused else "content"
    opening: dict[str, Any] = {"role": "assistant", "content": None if refused or answer.calls else "", "refusal": None}
    return [
        frame(Part.LEAD, opening),
        *(frame(Part.THOUGHT, {"reasoning_content": token}) for token in answer.thinking),
        *(frame(Part.CONTENT, {field: token}, tokens=[token]) for token in answer.text),
        *(frame(Part.CONTENT, {"tool_calls": [call]}) for call in _call_deltas(answer)),
        frame(Part.FINISH, {}, _FINISH[answer.stop]),
    ]


def _call_deltas(answer: Answer) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = []
    for index, call in enumerate(answer.calls):
        function = {"name": call.name, "arguments": ""}
        deltas.append({"index": index, "id": f"call_{call.id}", "type": "function", "function": function})
        deltas += [{"index": index, "function": {"arguments": fragment}} for fragment in call.fragments]
    return deltas
