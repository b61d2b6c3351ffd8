"""Sealed ids: in characters and lengths that clients take, and good for one caller, purpose and account."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_router.dialects.openai_responses.state import MAX_REMEMBERED, Shown, home_of, opened, proven
from weir_router.dialects.sealed_ids import ITEM, MAX_ID, RESPONSE, Opened, Seals, State, is_id, is_sealed
from weir_router.errors import BadRequest, StateNotFound
from weir_router.seal import KeyRing

RING = KeyRing([(b"k" * 32, 0)])
SEALS, OTHERS = Seals(RING, "shop", 0), Seals(RING, "search", 0)
HERE, THERE = "AAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBB"


@given(st.text(min_size=1, max_size=300))
def test_every_id_comes_back(id):
    sealed = SEALS.sealed(RESPONSE, HERE, id)
    if sealed == id:  # too long in base64
        assert len(id.encode()) > 320
        return
    assert is_id(sealed)
    assert is_sealed(sealed)
    assert len(sealed) < MAX_ID
    found = SEALS.opened(RESPONSE, sealed)
    assert found == Opened(HERE, id.encode("utf-8", "replace").decode())
    assert OTHERS.opened(RESPONSE, sealed) is None
    assert SEALS.opened(ITEM, sealed) is None


@pytest.mark.parametrize(
    ("id", "start"), [("resp_1", "resp_w1"), ("msg_a-b", "msg_w1"), ("a.b:c", "id_w1"), ("-x", "id_w1"), ("_", "id_w1")]
)
def test_the_start_is_the_providers(id, start):
    sealed = SEALS.sealed(ITEM, HERE, id)
    assert sealed.startswith(start + HERE)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", sealed)
    assert SEALS.opened(ITEM, sealed) == Opened(HERE, id)


def test_a_sealed_id_may_be_sealed_again_as_behind_another_installation():
    twice = SEALS.sealed(RESPONSE, THERE, SEALS.sealed(RESPONSE, HERE, "resp_1"))
    assert SEALS.opened(RESPONSE, SEALS.opened(RESPONSE, twice).id) == Opened(HERE, "resp_1")


@given(st.text(max_size=80))
def test_anything_else_is_none_of_ours(text):
    assert SEALS.opened(RESPONSE, text) is None
    assert SEALS.opened(RESPONSE, f"resp_w1{text}") is None


@given(st.integers(0, 60), st.sampled_from("ABab01_-é "))
def test_each_changed_character_makes_it_another(place, letter):
    sealed = SEALS.sealed(RESPONSE, HERE, "resp_0123456789abcdef0123456789")
    place %= len(sealed)
    changed = sealed[:place] + letter + sealed[place + 1 :]
    assert (SEALS.opened(RESPONSE, changed) is None) is (changed != sealed)
    assert SEALS.opened(RESPONSE, sealed[:-1]) is None
    assert SEALS.opened(RESPONSE, sealed + letter) is None


def test_an_id_in_base64_has_one_form():
    sealed = SEALS.sealed(ITEM, HERE, "a.b")
    assert SEALS.opened(ITEM, sealed + "=") is None
    assert SEALS.opened(ITEM, sealed + "A") is None


def test_the_home_of_a_request_is_one_account():
    response, item = SEALS.sealed(RESPONSE, HERE, "resp_1"), SEALS.sealed(ITEM, HERE, "msg_1")
    assert home_of(State(), SEALS) == ""
    assert home_of(State(previous=response, references=(("input[0].id", item),)), SEALS) == HERE
    elsewhere = SEALS.sealed(ITEM, THERE, "msg_2")
    with pytest.raises(BadRequest, match="several providers"):
        home_of(State(previous=response, references=(("input[0].id", elsewhere),)), SEALS)
    with pytest.raises(BadRequest, match="more than 10000 items"):
        home_of(State(references=(("input[0].id", item),) * 10_001), SEALS)
    with pytest.raises(StateNotFound, match=r"input\[0\].id"):
        proven(OTHERS, ITEM, item, "input[0].id")


def given_items(items, seals=SEALS, account=HERE):
    fields, dropped = {"input": items}, []
    opened(fields, {"input": items}, seals, account, dropped)
    return fields["input"], dropped


MESSAGE = {"type": "message", "role": "assistant", "id": SEALS.sealed(ITEM, HERE, "msg_1"), "content": []}
BARE = {"type": "reasoning", "id": SEALS.sealed(ITEM, HERE, "rs_1"), "summary": []}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"}
APPROVAL = {"type": "mcp_approval_response", "approval_request_id": SEALS.sealed(ITEM, HERE, "mcpr_1"), "approve": True}


def test_items_go_home_under_the_providers_own_ids():
    made, dropped = given_items([MESSAGE, BARE, APPROVAL, "text"])
    assert [it["id"] for it in made[:2]] == ["msg_1", "rs_1"]
    assert made[2]["approval_request_id"] == "mcpr_1"
    assert dropped == []


@pytest.mark.parametrize(("seals", "account"), [(SEALS, THERE), (OTHERS, HERE)])
def test_elsewhere_items_go_without_ids_and_without_reasoning_that_only_its_provider_knows(seals, account):
    full = {**BARE, "encrypted_content": "x"}
    made, dropped = given_items([MESSAGE, BARE, full, CALL, APPROVAL], seals, account)
    assert ["id" in it for it in made] == [False, False, False, False]
    assert made[1]["encrypted_content"] == "x"
    assert made[3]["approval_request_id"] == APPROVAL["approval_request_id"]
    assert dropped == ["reasoning"]


def test_nobody_can_name_anothers_reasoning_by_the_providers_own_id():
    made, dropped = given_items([{"type": "reasoning", "id": "rs_1", "summary": []}, CALL])
    assert made == [{name: it for name, it in CALL.items() if name != "id"}]
    assert dropped == ["reasoning"]


@pytest.mark.parametrize(
    "more",
    [
        {"encrypted_content": None},
        {"encrypted_content": "", "content": []},
        {"content": None, "status": "completed"},
        {"summary": [{"type": "summary_text", "text": "x"}]},
        {"unknown": 1},
        {"type": "compaction"},
        {"type": "compaction", "encrypted_content": "", "unknown": 1},
        {"type": "web_search_call", "action": {}},
        {"type": "message", "role": "", "content": []},
    ],
)
@pytest.mark.parametrize("account", [HERE, THERE])
def test_empty_and_unknown_fields_make_no_content_of_a_bare_item(more, account):
    """Otherwise a provider would look for the item of this id, which may be another tenant's of the same account."""
    made, dropped = given_items([{"type": "reasoning", "id": "rs_1", "summary": [], **more}, CALL], account=account)
    assert [it["type"] for it in made] == ["function_call"]
    assert dropped == ["reasoning"]


def test_an_answer_with_endless_ids_is_not_remembered():
    shown = Shown(SEALS, HERE)
    for number in range(3_000):
        assert SEALS.opened(ITEM, shown.item(f"msg_{number}")) == Opened(HERE, f"msg_{number}")
    huge = "msg_" + "a" * 1_000_000
    assert shown.item(huge) == huge
    assert len(shown._items) == MAX_REMEMBERED


def test_nothing_changes_without_ids_of_ours():
    items = [CALL, {"role": "user", "content": "x"}, {"type": "reasoning", "id": "rs_1", "content": [{"text": "x"}]}]
    assert given_items(items)[0] is items
    assert given_items([{"type": "reasoning", "id": "rs_1", "summary": []}], seals=None)[0]


def test_too_many_ids_of_ours_are_refused():
    with pytest.raises(BadRequest, match="Leave the ids out"):
        given_items([{"role": "user", "content": "x", "id": "a_w1"}] * 10_001)


def test_the_ids_of_an_answer_are_sealed_wherever_they_stand():
    shown = Shown(SEALS, HERE)
    answer = {"id": "resp_1", "previous_response_id": None, "output": [{"id": "msg_1"}, 7], "object": "response"}
    made = shown.answer(answer)
    assert SEALS.opened(RESPONSE, made["id"]) == Opened(HERE, "resp_1")
    assert made["output"] == [{"id": shown.item("msg_1")}, 7]
    assert answer["id"] == "resp_1"
    event = shown.event({"item_id": "msg_1", "response_id": "resp_1", "item": {"id": "msg_1"}, "response": answer})
    assert event["item_id"] == event["item"]["id"] == made["output"][0]["id"]
    assert event["response"] == made
    assert event["response_id"] == made["id"]
    assert shown.event({"item": None, "response": None}) == {"item": None, "response": None}
    listed = shown.listing({"data": [{"id": "msg_1"}], "first_id": "msg_1", "last_id": None})
    assert listed == {"data": [{"id": shown.item("msg_1")}], "first_id": shown.item("msg_1"), "last_id": None}
    assert shown.listing({"data": None}) == {"data": None}
