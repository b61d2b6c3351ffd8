"""The conditions of routes: one meaning for each field, and all uses of it agree."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from weir_router.contract import (
    CallerKind,
    CallerRule,
    Capability,
    CompiledConfig,
    Complexity,
    Day,
    HeaderMatch,
    Operation,
    TimeWindow,
    When,
    conditions,
)
from weir_router.contract.caller import Caller
from weir_router.contract.facts import FACTS as NAMES_OF_FACTS
from weir_router.contract.facts import Facts
from weir_router.decide.request import RouteRequest, asked_of

HERE = Path(__file__).parent
FACTS = Facts(
    caller=Caller("team-a", "bot", CallerKind.API_KEY, user_tier="gold"),
    model="auto",
    complexity=Complexity.SIMPLE,
    prompt_tokens=100,
    needs=frozenset({Capability.TOOLS}),
    headers={"x-team": "search"},
    feature="chat",
    wall=1_784_466_000.0,  # Sunday, 19 July 2026, 13:00 UTC
)

NAMES = st.sampled_from(["a", "b", "ab"])
SOME = st.none() | st.frozensets(NAMES, min_size=1, max_size=2)
RULES = st.builds(CallerRule, namespaces=SOME, service_accounts=SOME) | st.builds(CallerRule, api_keys=SOME)
HEADERS = st.builds(HeaderMatch, name=NAMES) | st.builds(HeaderMatch, name=NAMES, prefix=NAMES)
HEADERS |= st.builds(HeaderMatch, name=NAMES, exact=NAMES)
CALLERS = st.builds(Caller, NAMES, NAMES, st.sampled_from(CallerKind), user_tier=st.none() | NAMES)
WINDOWS = st.builds(
    TimeWindow,
    zone=st.sampled_from(["UTC", "Europe/Berlin"]),
    days=st.frozensets(st.sampled_from(Day), max_size=2),
    start=st.sampled_from([0, 360, 1320]),
    end=st.sampled_from([420, 1440]),
)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: st.integers(0, 4),
    str: NAMES,
    float: st.sampled_from([0.0, FACTS.wall, 1_774_746_000.0]),
    float | None: st.none() | st.sampled_from([0.5, 1.0, 2.0]),
    int | None: st.none() | st.integers(0, 3),
    str | None: st.none() | NAMES,
    frozenset[str]: st.frozensets(NAMES, max_size=2),
    Caller: CALLERS,
    Complexity: st.sampled_from(Complexity),
    Operation: st.sampled_from(Operation),
    frozenset[Complexity]: st.frozensets(st.sampled_from(Complexity)),
    frozenset[Capability]: st.frozensets(st.sampled_from(Capability), max_size=3),
    Mapping[str, str]: st.dictionaries(NAMES, NAMES, max_size=2),
    tuple[HeaderMatch, ...]: st.lists(HEADERS, max_size=2).map(tuple),
    tuple[TimeWindow, ...]: st.lists(WINDOWS, max_size=2).map(tuple),
    tuple[CallerRule, ...]: st.lists(RULES, max_size=2).map(tuple),
}
"""Values by the type of a condition or a fact. A new one of a known type is drawn without another line."""


def drawn(made: Callable[..., Any]) -> st.SearchStrategy[Any]:
    """Conditions or facts in which every field is drawn."""
    source = made.__init__ if made is Facts else made
    values = {name: VALUES[it] for name, it in get_type_hints(source).items() if name != "return"}
    if "operations" in values:  # texts, as a newer operator may know more
        values["operations"] = st.frozensets(st.sampled_from(Operation), max_size=3)
    return st.builds(made, **values)


WHENS, REQUESTS = drawn(When), drawn(Facts)
bounded = settings(max_examples=300, deadline=None)


def test_each_field_has_one_meaning() -> None:
    assert {it.field for it in conditions.CONDITIONS} == set(When.__struct_fields__)
    assert len(conditions.CONDITIONS) == len(When.__struct_fields__)


def test_the_full_example_sets_each_field() -> None:
    """A field that the compiler forgets would let every request through."""
    config = msgspec.json.decode((HERE / "full.v1.json").read_bytes(), type=CompiledConfig)
    whens = [route.when for policy in config.policies for route in policy.routes]
    assert {it.field for when in whens for it in conditions.conditions_of(when)} == set(When.__struct_fields__)


def test_every_fact_is_kept_by_a_change_of_another() -> None:
    assert tuple(inspect.signature(Facts).parameters) == NAMES_OF_FACTS


@bounded
@given(REQUESTS)
def test_the_router_and_the_diff_fill_in_every_fact(facts: Facts) -> None:
    request = RouteRequest(asked_of(facts), facts.caller, facts.complexity, facts.wall)
    assert [getattr(request, name) for name in NAMES_OF_FACTS] == [getattr(facts, name) for name in NAMES_OF_FACTS]


@bounded
@given(WHENS, WHENS, REQUESTS)
def test_a_condition_that_covers_another_holds_wherever_that_does(earlier: When, later: When, facts: Facts) -> None:
    made = conditions.met(later, facts)
    if conditions.covers(earlier, later) and conditions.matches(later, made):
        assert conditions.matches(earlier, made)


@bounded
@given(WHENS)
def test_a_condition_covers_itself_and_one_without_any_covers_all(when: When) -> None:
    assert conditions.covers(when, when)
    assert conditions.covers(When(operations=when.operations), when)
    assert conditions.covers(When(operations=frozenset(Operation)), When(operations=when.operations))


@bounded
@given(WHENS, REQUESTS)
def test_a_request_that_is_made_up_for_a_route_takes_it(when: When, facts: Facts) -> None:
    assume((when.min_prompt_tokens or 0) <= (9 if when.max_prompt_tokens is None else when.max_prompt_tokens))
    assume(len({match.name for match in when.headers}) == len(when.headers))
    assert conditions.matches(when, conditions.met(when, facts))


@bounded
@given(WHENS, REQUESTS)
def test_what_does_not_hold_has_a_reason_and_what_holds_has_none(when: When, facts: Facts) -> None:
    reasons = conditions.unmet(when, facts)
    assert conditions.matches(when, facts) is not bool(reasons)
    assert all(reasons)


@pytest.mark.parametrize(
    ("when", "reasons"),
    [
        (When(), []),
        (When(complexity=frozenset({Complexity.COMPLEX})), ["complexity is Simple, not Complex"]),
        (When(min_prompt_tokens=101), ["100 prompt tokens are fewer than 101"]),
        (When(max_prompt_tokens=99), ["100 prompt tokens are more than 99"]),
        (When(capabilities=frozenset(Capability)), ["the request does not need Audio, Documents, JSONSchema, "]),
        (When(headers=(HeaderMatch(name="x-org"),)), ["there is no header x-org"]),
        (When(headers=(HeaderMatch(name="x-team", exact="ads"),)), ["header x-team is not 'ads'"]),
        (When(headers=(HeaderMatch(name="x-team", prefix="ads"),)), ["header x-team does not begin with 'ads'"]),
        (When(callers=(CallerRule(namespaces=frozenset("b")),)), ["the route does not name the caller team-a/bot"]),
        (When(user_tiers=frozenset({"free", "paid"})), ["userTiers is gold, not free or paid"]),
        (
            When(
                times=(
                    TimeWindow("Europe/Berlin", frozenset({Day.SUNDAY, Day.FRIDAY}), 1320, 360),
                    TimeWindow("UTC", start=900),
                )
            ),
            ["it is Sunday 15:00 in Europe/Berlin, not Friday, Sunday 22:00-06:00 Europe/Berlin or every day 15:00-"],
        ),
        (When(max_latency_budget=1.0), ["the request has no latency budget (x-weir-ttft)"]),
        (
            When(operations=frozenset({"Embeddings", "Responses"})),
            ["the operation is Chat, not Embeddings or Responses"],
        ),
        (When(features=frozenset({"summaries"}), max_prompt_tokens=1), ["100 prompt tokens", "features is chat, not"]),
    ],
)
def test_each_reason_names_what_is_and_what_should_be(when: When, reasons: list[str]) -> None:
    found = conditions.unmet(when, FACTS)
    assert len(found) == len(reasons)
    assert all(given.startswith(reason) for given, reason in zip(found, reasons, strict=True))
    if when.max_latency_budget:
        slow = FACTS.but(latency_budget=2.5)
        assert conditions.unmet(when, slow) == ["the latency budget of 2.5 s is more than 1 s"]
    if any(when.features):
        without = FACTS.but(feature=None)
        assert conditions.unmet(when, without)[-1] == "features is not given, not summaries"


def test_a_route_without_operations_takes_conversations_and_nothing_else() -> None:
    for operation in Operation:
        asked = FACTS.but(operation=operation)
        talks = operation in (Operation.CHAT, Operation.RESPONSES)
        assert conditions.matches(When(), asked) is talks
        assert conditions.matches(When(operations=frozenset({operation})), asked)
        assert conditions.covers(When(), When(operations=frozenset({operation}))) is talks
        assert not conditions.covers(When(operations=frozenset({operation})), When())
    vectors = FACTS.but(operation=Operation.EMBEDDINGS)
    assert conditions.unmet(When(features=frozenset("x")), vectors) == [
        "the operation is Embeddings, not Chat or Responses"
    ]
    assert conditions.met(When(), vectors).operation is Operation.CHAT


def test_an_operation_of_a_newer_operator_holds_for_no_request() -> None:
    newer = msgspec.json.decode(b'{"operations": ["Dreams"]}', type=When)
    assert not any(conditions.matches(newer, FACTS.but(operation=it)) for it in Operation)
    assert conditions.met(newer, FACTS).operation is Operation.CHAT


def test_an_older_router_keeps_chats_out_of_routes_for_other_operations() -> None:
    """It ignores `operations`, and looks for a header that no request can have."""
    when = When(operations=frozenset({"Embeddings"}), headers=(conditions.KEEPS_OLDER_OUT,))
    assert conditions.matches(when, FACTS.but(operation=Operation.EMBEDDINGS))
    assert conditions.covers(When(operations=frozenset({"Embeddings"})), when)
    assert conditions.covers(when, When(operations=frozenset({"Embeddings"})))
    fields = msgspec.json.decode(msgspec.json.encode(when))
    del fields["operations"]
    assert fields == {"headers": [{"name": ":operation"}]}
    assert not conditions.header_matches(conditions.KEEPS_OLDER_OUT, FACTS.headers)
