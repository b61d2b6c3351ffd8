"""Runs hack/catalogue on a wheel made here."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from weir_operator.compile.catalogue import Catalogue, Entry, parse
from weir_router.contract import Capability

ROOT = Path(__file__).parents[3]
GPT = {
    "input_cost_per_token": 1.5e-07,
    "output_cost_per_token": 6e-07,
    "cache_read_input_token_cost": 7.5e-08,
    "cache_creation_input_token_cost": 0.0,
    "max_input_tokens": 128000,
    "max_output_tokens": 16384,
    "supports_function_calling": True,
    "supports_pdf_input": True,
}


def run(
    tmp_path: Path, facts: dict[str, object], shape: dict[str, object] | None = None
) -> subprocess.CompletedProcess:
    """Runs the script on a table with one model, `gpt`."""
    wheel = tmp_path / "litellm-9.8.7-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("litellm/model_prices_and_context_window_backup.json", json.dumps({"gpt": facts}))
    base = {
        "provider": "OpenAI",
        "baseURL": "https://a.example/v1",
        "hosts": ["a.example"],
        "aliases": ["a"],
        "prefix": "",
    }
    vendor = base | {"models": ["gpt"]} | (shape or {})
    models = tmp_path / "models.yaml"
    models.write_text(json.dumps({"vendors": {"openai": vendor}}))
    options = ["--models", models, "--out", tmp_path / "out.yaml", "--date", "2026-01-02"]
    return subprocess.run([sys.executable, ROOT / "hack/catalogue", wheel, *options], capture_output=True, text=True)


def made(tmp_path: Path, facts: dict[str, object], shape: dict[str, object] | None = None) -> Entry:
    """The entry that the script writes for a model."""
    done = run(tmp_path, facts, shape)
    assert done.returncode == 0, done.stderr
    return parse((tmp_path / "out.yaml").read_text()).entries[0]


def test_prices_per_token_become_exact_prices_per_million(tmp_path):
    price = made(tmp_path, GPT).price
    assert (price.input, price.cached_input, price.output) == (0.15, 0.075, 0.6)


def test_a_cache_price_of_zero_means_that_it_is_not_charged_apart(tmp_path):
    assert made(tmp_path, GPT).price.cache_write is None


def test_source_version_and_date_stand_in_the_file(tmp_path):
    made(tmp_path, GPT)
    catalogue = parse((tmp_path / "out.yaml").read_text())
    assert catalogue.date == "2026-01-02"
    assert "litellm 9.8.7" in catalogue.source


def test_capabilities_are_those_that_the_table_claims_and_the_endpoint_has(tmp_path):
    assert made(tmp_path, GPT, {"without": ["Documents"]}).capabilities == {Capability.TOOLS}


def test_a_model_without_sampling_refuses_temperature_beside_what_its_endpoint_refuses(tmp_path):
    entry = made(tmp_path, GPT | {"supports_sampling_params": False}, {"parameters": {"drop": ["user", "top_p"]}})
    assert entry.parameters.drop == ("user", "top_p", "temperature", "top_k")


@pytest.mark.parametrize(
    ("facts", "complaint"),
    [
        ({"mode": "chat"}, "no price for gpt"),
        (GPT | {"output_cost_per_token": 0.0}, "no price for gpt"),
        (GPT | {"deprecation_date": "2025-12-31"}, "was retired on 2025-12-31"),
    ],
)
def test_a_model_without_price_or_future_is_an_error_that_names_it(tmp_path, facts, complaint):
    done = run(tmp_path, facts)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_the_table_does_not_know_is_an_error(tmp_path):
    done = run(tmp_path, GPT, {"models": ["gpt-7"]})
    assert done.returncode == 1
    assert "no gpt-7" in done.stderr


def test_the_packaged_file_lists_exactly_what_is_kept_by_hand():
    kept = yaml.safe_load((ROOT / "hack/catalogue-models.yaml").read_text())["vendors"]
    listed = {(it.vendor, it.model) for it in Catalogue.load().entries}
    assert listed == {(vendor, model) for vendor, shape in kept.items() for model in shape["models"]}
