"""The command `weir catalogue`."""

from __future__ import annotations

import json

import pytest
import typer
import yaml
from typer.testing import CliRunner

from weir_cli.catalogue.command import catalogue, dollars
from weir_operator.compile.catalogue import Catalogue

APP = typer.Typer()
APP.command()(catalogue)


def run(*arguments: str):
    """Runs the command with a terminal wide enough for everything."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(APP, [*arguments])


def test_the_table_shows_price_limits_refusals_and_the_date_of_the_prices():
    output = run("gpt-5-mini").output
    for piece in (Catalogue.load().date, "litellm", "gpt-5-mini", "0.25", "272k", "Vision", "temperature"):
        assert piece in output


def test_without_a_pattern_everything_is_listed():
    assert f"{len(Catalogue.load().entries)} of {len(Catalogue.load().entries)} models" in run().output


@pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_machines_get_the_fields_of_a_backend(output, read):
    listing = read(run("openai/gpt-4o-mini", "-o", output).stdout)
    assert listing["date"] == Catalogue.load().date
    assert listing["models"][0]["price"] == {"input": "0.15", "cachedInput": "0.075", "output": "0.6"}
    assert listing["models"][0]["limits"] == {"contextTokens": 128000, "outputTokens": 16384}


def test_a_pattern_that_matches_nothing_says_so_and_fails():
    result = run("no-such-model")
    assert result.exit_code == 1
    assert "no-such-model" in result.stderr


@pytest.mark.parametrize(("amount", "text"), [(10.0, "10"), (0.15, "0.15"), (0.0042, "0.0042"), (0.0, "0")])
def test_dollars_are_decimal_strings_without_exponent_or_trailing_zeros(amount, text):
    assert dollars(amount) == text
