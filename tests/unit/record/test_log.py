"""The request log holds no prompt unless the policy says so."""

import json

import msgspec
import pytest

from support.decisions import decision_of
from support.finished import finished, refused
from weir_router.contract import Backend, CallerKind, Dialect, Operation, Policy, PromptLogging
from weir_router.contract.caller import Caller
from weir_router.decide.types import Candidate, Choice
from weir_router.dialects.registry import caller_named
from weir_router.errors import AttemptRecord, Unauthenticated
from weir_router.record.line import RequestRecord
from weir_router.record.log import encoded, record_of

NO_MORE_TOKENS = {"cache_write": 0, "reasoning": 0, "estimated": False, "cache_write_long": 0}
DEFAULTS = {it.name: it.default for it in msgspec.structs.fields(RequestRecord) if it.default is not msgspec.NODEFAULT}
NOTHING_MORE = {"status": None, "code": None, "message": None, "ttft": None, "dropped": []}
QUOTE = "Invalid value: 'my secret diary'"
REFUSED = AttemptRecord("llm/t", "b", "caller", 0.1, status=400, code="invalid_value", message=QUOTE)
SILENT = AttemptRecord("llm/t", "a", "silent", 2.0, message="no content within 2.0 s")


def line(**fields):
    return json.loads(encoded(RequestRecord(id="weir-1", path="/v1/messages", outcome="refused", **fields)))


@pytest.mark.parametrize("level", [PromptLogging.NONE, PromptLogging.METADATA])
def test_an_upstreams_words_which_may_quote_the_prompt_stay_out_of_the_line(level):
    fields = {"error": "invalid_value", "error_source": "upstream", "error_message": QUOTE}
    logged = line(attempts=[SILENT, REFUSED], prompt_logging=level, **fields)
    assert "diary" not in json.dumps(logged)
    assert (logged["attempts"][1]["code"], logged["attempts"][1]["status"]) == ("invalid_value", 400)


def test_what_weir_says_about_a_failure_stays():
    logged = line(attempts=[SILENT], error="all_backends_unavailable", error_source="upstream")
    assert logged["attempts"][0]["message"] == "no content within 2.0 s"


def test_under_none_the_line_does_not_count_the_prompts_words():
    fields = {"complexity": "Simple", "reason": "question words (1), length (about 8 tokens)"}
    assert "reason" not in line(prompt_logging=PromptLogging.NONE, **fields)
    assert line(**fields)["reason"] == fields["reason"]


def test_under_full_everything_is_logged():
    logged = line(attempts=[REFUSED], error="x", error_message=QUOTE, prompt_logging=PromptLogging.FULL)
    assert logged["error_message"] == QUOTE


def test_a_recovered_request_keeps_no_quotes_either():
    logged = line(attempts=[REFUSED, AttemptRecord("llm/t", "c", "ok", 0.1)])
    assert "diary" not in json.dumps(logged)


def test_the_record_itself_is_left_as_it_was():
    """The caller's error body uses the same attempts."""
    line(attempts=[REFUSED], error="x")
    assert REFUSED.message == QUOTE


def test_a_line_has_no_field_of_which_nothing_is_known():
    assert json.loads(encoded(record_of(refused(Unauthenticated("no key"))))) == {
        "id": "weir-1",
        "path": "/v1/messages",
        "outcome": "refused",
        "status": 401,
        "error": "unauthenticated",
        "error_source": "caller",
        "error_message": "no key",
        "seconds": 0.5,
    }


def test_a_line_tells_of_an_answered_request_in_this_order():
    logged = json.loads(encoded(record_of(finished(policy="a/p", feature="chat", model="auto", stream=True))))
    assert logged == {
        "id": "weir-1",
        "path": "/v1/chat/completions",
        "outcome": "ok",
        "status": 200,
        "caller": "a/bot",
        "caller_namespace": "a",
        "feature": "chat",
        "policy": "a/p",
        "model": "auto",
        "stream": True,
        "route": "r",
        "complexity": "Simple",
        "probability": 0.9,
        "reason": "short",
        "prompt_tokens": 10,
        "features": {"tokens": 10, "words": 1, "turns": 1},
        "tier": "llm/t",
        "backend": "b",
        "upstream_model": "m",
        "attempts": [{"tier": "llm/t", "backend": "b", "outcome": "ok", "seconds": 1.0} | NOTHING_MORE],
        "usage": {"input": 100, "cached_input": 40, "output": 10} | NO_MORE_TOKENS,
        "dollars": 0.25,
        "baseline_dollars": 1.0,
        "ttft": 0.3,
        "seconds": 1.0,
        "tokens_per_second": 12.0,
    }
    assert list(logged)[:3] + list(logged)[-2:] == ["id", "path", "outcome", "seconds", "tokens_per_second"]


def test_a_line_can_tell_every_field():
    backend = Backend(name="b", provider=Dialect.OPENAI, base_url="http://b/v1", model="m")
    observed = (Candidate("llm/t", backend, "llm/t/b", ()),)
    choice = Choice(route="r", candidates=(), skipped=(), reason="an override", diverted=True, observed=observed)
    policy = Policy(namespace="a", name="p", models=("auto",), callers=(), prompt_logging=PromptLogging.FULL)
    decision = decision_of(choice, policy)
    asked = msgspec.structs.replace(decision.asked, feature="chat", operation=Operation.IMAGES)
    ask = caller_named(Dialect.OPENAI).read(b'{"model": "auto", "messages": [{"role": "user", "content": "hi"}]}', {})
    record = record_of(
        finished(
            caller=Caller("a", "bot", CallerKind.SERVICE_ACCOUNT, pod="bot-0"),
            decision=msgspec.structs.replace(decision, asked=asked),
            policy=policy,
            ask=ask,
            model="auto",
            stream=True,
            error=Unauthenticated("no key"),
            price_source="spec",
        )
    )
    assert [name for name, default in DEFAULTS.items() if getattr(record, name) == default] == []
