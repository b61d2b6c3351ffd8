"""Keys: the places where they are written, and those where they must not be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from weir_cli.import_litellm import convert

HERE = Path(__file__).parent
PRODUCTION = yaml.safe_load((HERE / "production.yaml").read_text())
LITERALS = [
    *("sk-ant-literal-key-in-the-file", "sk-master-key-in-the-file", "redis-password-in-the-file"),
    *("cache-password-in-the-file", "database-password", "langfuse-secret-in-the-file"),
]


def keys(*stated: str) -> dict[str, Any]:
    """A config with a deployment for each key."""
    entries = [{"model_name": "m", "litellm_params": {"model": "gpt-4o", "api_key": key}} for key in stated]
    return {"model_list": entries}


def references(config: dict[str, Any]) -> list[str]:
    """Names of the Secrets that the backends refer to."""
    backends = convert(config).manifests[0]["spec"]["backends"]
    return [it["credentials"]["secretRef"]["name"] for it in backends]


@pytest.mark.parametrize("literal", LITERALS)
def test_no_value_of_the_config_stands_in_a_manifest_a_finding_or_a_repr(literal):
    imported = convert(PRODUCTION)
    assert literal not in repr(imported)
    assert literal not in yaml.safe_dump(imported.manifests)


def test_a_key_in_the_environment_is_a_reference_and_stays_there():
    imported = convert(keys("os.environ/OPENAI_API_KEY"))
    (source,) = imported.secrets
    assert (source.name, source.key, source.variable, source.literal) == ("openai", "api-key", "OPENAI_API_KEY", None)
    assert imported.unsupported == []


def test_a_key_in_the_config_is_kept_for_a_secret_and_told():
    imported = convert(keys("sk-1"))
    assert [source.literal for source in imported.secrets] == ["sk-1"]
    assert [it.what for it in imported.unsupported] == ["a key in clear text"]


def test_one_key_used_twice_is_one_secret():
    assert references(keys("os.environ/A_KEY", "os.environ/A_KEY")) == ["a-key", "a-key"]
    assert len(set(references(keys("sk-1", "sk-1")))) == 1


def test_two_keys_whose_names_look_alike_never_share_a_secret():
    assert references(keys("os.environ/A__API_KEY", "os.environ/A_API_KEY", "os.environ/A__API_KEY")) == [
        "a",
        "a-2",
        "a",
    ]


@pytest.mark.parametrize(
    "key", ["os.environ/", "os.environ/A B", "os.environ/A\nkind: Secret", "os.environ/$(id)", 7, ["sk"]]
)
def test_a_key_that_is_none_gets_no_reference(key):
    imported = convert(keys(key))
    assert imported.secrets == ()
    assert [it.what for it in imported.unsupported] == ["key left out"]


def test_shared_credentials_are_resolved_by_name():
    config = yaml.safe_load((HERE / "balanced.yaml").read_text())
    assert references(config) == ["groq", "cerebras", "fireworks"]


def test_a_local_server_needs_no_key():
    entry = {"model_name": "m", "litellm_params": {"model": "ollama/llama3"}}
    assert convert({"model_list": [entry]}).secrets == ()
