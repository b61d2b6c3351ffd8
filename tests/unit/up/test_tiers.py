"""Sources and their models as manifests: tiers of `auto`, and a policy for each real name."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from weir_cli.shared.manifests import render
from weir_cli.shared.workspace import open_workspace
from weir_cli.up.probe import Listed, Listing
from weir_cli.up.sources import Source, sources
from weir_cli.up.tiers import MAX_OF_ONLY, Made, make

KEYS = {"OPENAI_API_KEY": "a", "ANTHROPIC_API_KEY": "b", "GROQ_API_KEY": "c", "OPENROUTER_API_KEY": "d"}


def made(names: dict[str, list[str]], **environ: str) -> Made:
    """The manifests of sources by title, each with these models."""
    found = {it.title: it for it in sources(environ or KEYS).found}
    return make([(found[title], Listing(tuple(map(Listed, models)))) for title, models in names.items()])


def tiers(it: Made) -> dict[str, list[str]]:
    """Models by tier."""
    return {name: [choice.model.name for choice in choices] for name, choices in it.tiers.items()}


def compiled(it: Made, folder: Path) -> Any:
    """The config that the compiler makes of the manifests; nothing may be wrong with them."""
    (folder / "all.yaml").write_text(render([*it.routed, *it.named], compact=True))
    environ = {f"WEIR_SECRET_DEFAULT_{name}": key for name, key in KEYS.items()}
    workspace = open_workspace(folder, environ=environ)
    assert workspace.errors == []
    return workspace.config


def test_each_provider_gives_its_first_preferred_model_of_each_tier(tmp_path: Path) -> None:
    it = made(
        {
            "OpenAI": ["gpt-4o", "gpt-5-nano", "gpt-6-luna", "gpt-6.1-sol", "gpt-6.1-terra"],
            "Anthropic": ["claude-haiku-4-5", "claude-opus-5-5"],
        }
    )
    assert tiers(it) == {
        "cheap": ["gpt-6-luna", "claude-haiku-4-5"],
        "mid": ["gpt-6.1-terra"],
        "best": ["gpt-6.1-sol", "claude-opus-5-5"],
    }
    policies = {policy.name: policy for policy in compiled(it, tmp_path).policies}
    order = {route.name: [ref.tier for ref in route.tiers] for route in policies["auto"].routes}
    assert order == {
        "quick": ["default/cheap", "default/mid", "default/best"],
        "everyday": ["default/mid", "default/best", "default/cheap"],
        "everything-else": ["default/best", "default/mid", "default/cheap"],
    }
    assert policies["auto"].baseline is not None


def test_a_real_name_gets_that_model_and_only_that(tmp_path: Path) -> None:
    config = compiled(made({"OpenAI": ["gpt-4o", "gpt-6-luna"]}), tmp_path)
    (policy,) = (it for it in config.policies if it.models == ("gpt-4o",))
    (route,) = policy.routes
    (backend,) = config.tiers[route.tiers[0].tier].backends
    assert (backend.model, len(route.tiers)) == ("gpt-4o", 1)
    assert backend.price is not None


def test_a_dated_name_is_served_without_its_date_by_the_newest(tmp_path: Path) -> None:
    names = ["claude-sonnet-4-5-20250929", "claude-sonnet-4-5-20260101", "claude-opus-5"]
    config = compiled(made({"Anthropic": names}), tmp_path)
    by_name = {name: policy.name for policy in config.policies for name in policy.models}
    assert by_name["claude-sonnet-4-5"] == "claude-sonnet-4-5-20260101"
    assert set(by_name) == {*names, "claude-sonnet-4-5", "auto"}


def test_names_that_differ_by_signs_only_and_the_names_of_tiers_stay_apart(tmp_path: Path) -> None:
    config = compiled(made({"OpenAI": ["a.b", "a-b", "A/b", "auto", "best", "cheap", "---", "x" * 200]}), tmp_path)
    assert {name for policy in config.policies for name in policy.models} == {
        *("a.b", "a-b", "A/b", "auto", "best", "cheap", "---", "x" * 200)
    }


def test_a_name_that_two_providers_have_is_one_tier_of_both(tmp_path: Path) -> None:
    config = compiled(made({"Groq": ["openai/gpt-oss-120b"], "OpenRouter": ["openai/gpt-oss-120b"]}), tmp_path)
    (policy,) = (it for it in config.policies if it.name != "auto")
    backends = config.tiers[policy.routes[0].tiers[0].tier].backends
    assert {it.name for it in backends} == {"groq-openai-gpt-oss-120b", "openrouter-openai-gpt-oss-120b"}


def test_without_preferred_models_prices_decide() -> None:
    priced = [Listed("c", (Decimal(9), Decimal(9))), Listed("a", (Decimal(1), Decimal(1)))]
    source = next(it for it in sources(KEYS).found if it.title == "OpenRouter")
    assert tiers(make([(source, Listing(tuple(priced)))])) == {"cheap": ["a"], "best": ["c"]}
    priced.append(Listed("b", (Decimal(2), Decimal(2))))
    assert tiers(make([(source, Listing(tuple(priced)))])) == {"cheap": ["a"], "mid": ["b"], "best": ["c"]}


def test_a_cheap_model_of_unknown_quality_does_not_answer_in_the_place_of_the_best() -> None:
    it = made({"OpenAI": ["gpt-6.1-sol"], "Groq": ["qwen/qwen3.8-27b"]})
    assert tiers(it) == {"best": ["gpt-6.1-sol"]}


def test_models_without_any_price_are_one_tier(tmp_path: Path) -> None:
    it = made({"OpenAI": [f"own-{number}" for number in range(20)]}, OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    assert tiers(it) == {"any": [f"own-{number}" for number in range(MAX_OF_ONLY)]}
    config = compiled(it, tmp_path)
    (auto,) = (policy for policy in config.policies if policy.name == "auto")
    assert [route.name for route in auto.routes] == ["everything-else"]
    assert len(config.policies) == 21


def test_local_models_are_for_their_names_unless_there_are_no_others() -> None:
    assert tiers(made({"OpenAI": ["gpt-4o"], "Ollama": ["llama4"]})) == {"best": ["gpt-4o"]}
    assert tiers(made({"Ollama": ["llama4"]})) == {"any": ["llama4"]}


def test_hundreds_of_models_are_served(tmp_path: Path) -> None:
    names = [f"maker-{number % 7}/model-{number}" for number in range(400)]
    assert len(compiled(made({"OpenRouter": names}), tmp_path).policies) == 401


def test_no_models_are_no_manifests() -> None:
    assert made({"OpenAI": []}) == ({}, (), ())


def test_a_manifest_never_holds_a_key() -> None:
    source: Source = next(it for it in sources({"OPENAI_API_KEY": "sk-very-secret"}).found if it.title == "OpenAI")
    it = make([(source, Listing((Listed("gpt-4o"),)))])
    assert "sk-very-secret" not in render([*it.routed, *it.named]) + repr(it)
