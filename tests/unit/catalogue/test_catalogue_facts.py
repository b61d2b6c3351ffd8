"""The facts in the packaged catalogue: complete, in range, and each known to the contract."""

from __future__ import annotations

import datetime
import re
from urllib.parse import urlsplit

import pytest

from weir_operator.compile.catalogue import Catalogue, Entry
from weir_router.contract import Dialect

CATALOGUE = Catalogue.load()
every_entry = pytest.mark.parametrize("entry", CATALOGUE.entries, ids=lambda it: f"{it.vendor}/{it.model}")


def test_it_lists_about_a_hundred_models():
    assert 90 <= len(CATALOGUE.entries) <= 150


def test_it_says_when_and_where_its_facts_were_taken():
    assert datetime.date.fromisoformat(CATALOGUE.date) <= datetime.date.today()
    assert re.search(r"litellm \d+\.\d+", CATALOGUE.source)


def test_no_model_of_a_vendor_is_listed_twice():
    names = [(entry.vendor, entry.model) for entry in CATALOGUE.entries]
    assert len(names) == len(set(names))


@every_entry
def test_prices_are_in_range_and_dated(entry: Entry):
    price = entry.price
    assert 0 < price.input <= 100
    assert 0 < price.output <= 200
    assert price.source == f"catalogue {CATALOGUE.date}"


@every_entry
def test_an_answer_costs_at_least_as_much_as_its_prompt(entry: Entry):
    assert entry.price.output >= entry.price.input


@every_entry
def test_a_cached_prompt_is_cheaper_and_a_cache_write_dearer_than_reading_it(entry: Entry):
    cached, write = entry.price.cached_input, entry.price.cache_write
    assert cached is None or 0 < cached < entry.price.input
    assert write is None or (cached is not None and write > cached)


@every_entry
def test_sizes_are_in_range(entry: Entry):
    assert 8_000 <= (entry.limits.context_tokens or 0) <= 10_000_000
    assert entry.limits.output_tokens is None or 1_000 <= entry.limits.output_tokens <= entry.limits.context_tokens


@every_entry
def test_every_model_takes_tools_or_pictures_or_sound(entry: Entry):
    assert entry.capabilities


@every_entry
def test_parameters_are_names_of_request_fields(entry: Entry):
    named = (*entry.parameters.drop, *entry.parameters.rename, *entry.parameters.rename.values())
    assert all(re.fullmatch(r"[a-z_]+", name) for name in named)
    assert len(set(entry.parameters.drop)) == len(entry.parameters.drop)


def test_nothing_is_both_dropped_and_renamed():
    assert not [it.model for it in CATALOGUE.entries if it.parameters.rename.keys() & set(it.parameters.drop)]


def test_no_vendor_claims_the_host_of_another():
    hosts = [host for vendor in CATALOGUE.vendors.values() for host in vendor.hosts]
    assert len(hosts) == len(set(hosts))


@pytest.mark.parametrize("vendor", CATALOGUE.vendors.values(), ids=lambda it: it.name)
def test_a_vendor_owns_its_own_endpoint(vendor):
    assert vendor.is_at(urlsplit(vendor.base_url.replace("{region}", "eu-west-1")).hostname or "")


@pytest.mark.parametrize("model", ["o3", "gpt-5", "gpt-6-sol"])
def test_openai_reasoning_models_refuse_sampling_and_want_max_completion_tokens(model):
    entry = CATALOGUE.find(Dialect.OPENAI, model)
    assert entry is not None
    assert {"temperature", "top_p", "presence_penalty", "logit_bias"} <= set(entry.parameters.drop)
    assert entry.parameters.rename == {"max_tokens": "max_completion_tokens"}


def test_a_reasoning_model_that_does_not_reason_unless_asked_takes_a_temperature():
    entry = CATALOGUE.find(Dialect.OPENAI, "gpt-5.4")
    assert entry is not None
    assert "temperature" not in entry.parameters.drop


def test_a_plain_model_refuses_nothing():
    entry = CATALOGUE.find(Dialect.OPENAI, "gpt-4o-mini")
    assert entry is not None
    assert not entry.parameters.drop
    assert not entry.parameters.rename


def test_claude_has_a_price_for_writing_the_cache():
    entry = CATALOGUE.find(Dialect.ANTHROPIC, "claude-sonnet-4-5")
    assert entry is not None
    assert entry.price.cache_write == pytest.approx(1.25 * entry.price.input)
