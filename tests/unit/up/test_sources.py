"""Variables of an environment, and the sources of models that they name."""

from __future__ import annotations

import pytest

from weir_cli.up.sources import Role, Source, presets, sources
from weir_operator.compile.catalogue import Catalogue
from weir_router.contract import Dialect

HERE = [("127.0.0.1", 8080), ("127.0.0.1", 9090)]


def found(**environ: str) -> dict[str, Source]:
    """The sources by title, without the Ollama that nothing names."""
    return {it.title: it for it in sources(environ, HERE).found if not it.default}


def test_every_preferred_model_is_in_the_catalogue_with_a_price() -> None:
    priced = {(it.vendor, it.model) for it in Catalogue.load().entries}
    named = {(preset.vendor, name) for preset in presets() for names in preset.tiers.values() for name in names}
    assert named
    assert named <= priced


def test_every_vendor_of_the_catalogue_is_looked_for() -> None:
    assert {it.vendor for it in presets()} - {None} == set(Catalogue.load().vendors)


def test_a_key_is_enough() -> None:
    openai = found(OPENAI_API_KEY=" sk-1 ")["OpenAI"]
    assert (openai.base_url, openai.key, openai.origin) == ("https://api.openai.com/v1", "sk-1", "OPENAI_API_KEY")
    assert not openai.stated
    assert "sk-1" not in repr(openai)


def test_each_key_counts() -> None:
    assert set(found(OPENAI_API_KEY="a", ANTHROPIC_API_KEY="b", GROQ_API_KEY="c", OPENROUTER_API_KEY="d")) == {
        *("OpenAI", "Anthropic", "Groq", "OpenRouter")
    }


@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": ""}, {"GROQ_API_KEY": "  "}, {"AWS_REGION": "eu-west-1"}])
def test_nothing_is_named_by_empty_variables(environ: dict[str, str]) -> None:
    assert found(**environ) == {}


def test_the_second_variable_of_a_provider_counts_too() -> None:
    assert found(GOOGLE_API_KEY="g")["Gemini"].origin == "GOOGLE_API_KEY"


def test_an_address_of_its_own_needs_no_key_and_may_serve_any_model() -> None:
    server = found(OPENAI_BASE_URL="http://127.0.0.1:9100/v1/")["OpenAI"]
    assert (server.base_url, server.key, server.secret, server.stated) == ("http://127.0.0.1:9100/v1", None, None, True)
    assert "claude-opus-5-5" in server.tiers[Role.BEST]


def test_anthropics_address_ends_without_a_version() -> None:
    server = found(ANTHROPIC_BASE_URL="http://127.0.0.1:9100/v1")["Anthropic"]
    assert (server.base_url, server.dialect) == ("http://127.0.0.1:9100", Dialect.ANTHROPIC)


@pytest.mark.parametrize("url", ["http://localhost:8080/v1", "http://127.0.0.1:8080", "http://[::1]:9090/v1"])
def test_this_router_is_no_source_of_itself(url: str) -> None:
    """A shell that has the settings of `weir connect` starts a router, too."""
    looked = sources({"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "unused"}, HERE)
    assert [it.title for it in looked.found] == ["Ollama"]
    assert "this router itself" in looked.notes[0]


def test_an_address_that_is_none_is_said_to_be_none() -> None:
    looked = sources({"OPENAI_BASE_URL": "localhost:1234"}, HERE)
    assert looked.notes == ("OPENAI_BASE_URL is no http or https URL such as https://api.openai.com/v1: left out.",)


@pytest.mark.parametrize(
    ("stated", "url"),
    [
        ("", "http://127.0.0.1:11434/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("192.168.1.7:4000", "http://192.168.1.7:4000/v1"),
        ("http://box.local:11434/", "http://box.local:11434/v1"),
        ("https://ollama.example.com", "https://ollama.example.com/v1"),
    ],
)
def test_ollamas_address_may_lack_scheme_and_port(stated: str, url: str) -> None:
    (ollama,) = sources({"OLLAMA_HOST": stated}).found
    assert ollama.base_url == url
    assert ollama.default == (not stated)


def test_bedrock_is_in_a_region() -> None:
    assert ".eu-west-1." in found(AWS_BEARER_TOKEN_BEDROCK="k", AWS_REGION="eu-west-1")["Bedrock"].base_url
    assert ".us-east-1." in found(AWS_BEARER_TOKEN_BEDROCK="k")["Bedrock"].base_url
