"""The catalogue's entry for a backend's model name."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_operator.compile.catalogue import Catalogue, parse
from weir_router.contract import Dialect

CATALOGUE = Catalogue.load()

SMALL = parse(
    """
    date: "2026-01-02"
    source: a test
    vendors:
      maker:
        provider: OpenAI
        baseURL: https://api.maker.example/v1
        hosts: [api.maker.example, "*.maker.example"]
        aliases: [maker]
        models:
        - {model: open-1, price: {input: "1", output: "2"}, contextTokens: 8000, capabilities: [Tools],
           parameters: {drop: [top_k], rename: {a: b}}}
      cheap:
        provider: OpenAI
        baseURL: https://cheap.example/v1
        hosts: [cheap.example]
        aliases: [cheap]
        hosting: true
        models:
        - {model: open-1, price: {input: "0.1", output: "0.2"}, capabilities: []}
        - {model: open-2, price: {input: "0.1", output: "0.2"}, capabilities: []}
      dear:
        provider: OpenAI
        baseURL: https://dear.example/v1
        hosts: [dear.example]
        aliases: [dear]
        hosting: true
        models:
        - {model: open-2, price: {input: "9", output: "9"}, capabilities: []}
    """
)


def vendor(model: str, base_url: str | None = None, provider: Dialect = Dialect.OPENAI) -> str | None:
    """Vendor of the entry that is found in the small catalogue."""
    entry = SMALL.find(provider, model, base_url)
    return entry.vendor if entry else None


@pytest.mark.parametrize(
    ("provider", "name", "model"),
    [
        (Dialect.OPENAI, "gpt-4o-mini", "gpt-4o-mini"),
        (Dialect.OPENAI, "gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        (Dialect.ANTHROPIC, "claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        (Dialect.ANTHROPIC, "claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        (Dialect.OPENAI, "openai/gpt-4o-mini", "gpt-4o-mini"),
        (Dialect.OPENAI, "openai/gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        (Dialect.OPENAI, "anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"),
        (Dialect.OPENAI, "google/gemini-2.5-pro", "gemini-2.5-pro"),
        (Dialect.OPENAI, "accounts/fireworks/models/glm-5p3", "accounts/fireworks/models/glm-5p3"),
    ],
)
def test_names_as_people_write_them_find_the_model(provider, name, model):
    entry = CATALOGUE.find(provider, name)
    assert entry is not None
    assert entry.model == model


@pytest.mark.parametrize("name", ["", "gpt-4", "gpt-4o-mini-2", "mistral/gpt-4o", "a/b/c", "/", "gpt-4o-mini-1234"])
def test_a_name_that_is_only_similar_finds_nothing(name):
    assert CATALOGUE.find(Dialect.OPENAI, name) is None


def test_the_maker_comes_before_those_who_host_its_model():
    assert vendor("open-1") == "maker"


def test_among_mere_hosts_the_dearest_is_taken():
    assert vendor("open-2") == "dear"


def test_the_base_url_tells_which_vendor_it_is():
    assert vendor("open-1", "https://cheap.example/v1") == "cheap"
    assert vendor("open-2", "https://cheap.example/v1") == "cheap"


def test_a_host_may_stand_for_a_region():
    assert vendor("open-1", "https://eu.maker.example/v1") == "maker"


def test_a_vendor_that_does_not_offer_the_model_has_no_price_for_it():
    assert vendor("open-1", "https://dear.example/v1") is None


def test_at_an_address_that_no_vendor_owns_the_makers_facts_hold_and_the_hosts_do_not():
    assert vendor("open-1", "http://127.0.0.1:8000/v1") == "maker"
    assert vendor("open-2", "http://127.0.0.1:8000/v1") is None


def test_a_host_name_in_the_path_of_another_host_is_no_host():
    assert vendor("open-2", "http://evil.example/cheap.example/v1") is None


def test_a_base_url_that_is_none_belongs_to_nobody():
    assert vendor("open-1", "http://[::::]/v1") == "maker"


def test_in_the_other_dialect_refused_parameters_stay_and_renamed_ones_do_not():
    entry = SMALL.find(Dialect.ANTHROPIC, "open-1")
    assert entry is not None
    assert entry.parameters.drop == ("top_k",)
    assert entry.parameters.rename == {}


def test_loading_again_gives_the_same_object():
    assert Catalogue.load() is Catalogue.load()


def test_search_finds_parts_of_names_and_wildcards_in_any_case():
    assert {it.vendor for it in SMALL.search("OPEN-1")} == {"maker", "cheap"}
    assert [it.model for it in SMALL.search("dear/*2")] == ["open-2"]
    assert SMALL.search("") == SMALL.entries


@settings(max_examples=200, deadline=None)
@given(name=st.text(max_size=40), url=st.one_of(st.none(), st.text(max_size=40)))
def test_no_text_whatever_breaks_the_lookup(name, url):
    found = CATALOGUE.find(Dialect.OPENAI, name, url)
    assert found is None or found in CATALOGUE.entries
