"""docs/config.md and the code have the same problems."""

from __future__ import annotations

import re
from pathlib import Path

from weir_operator.observe.environment import variable
from weir_operator.observe.observed import SecretKey
from weir_operator.problems.problem import ConditionType, Reason

TEXT = (Path(__file__).parents[3] / "docs" / "config.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| (\w+) \| (\w+)", TEXT, re.MULTILINE)


def test_every_reason_is_explained_once_and_none_that_does_not_exist():
    assert sorted(reason for reason, *_ in ROWS) == sorted(Reason)


def test_conditions_are_those_of_the_code():
    assert {condition for _, condition, _ in ROWS} <= set(ConditionType)


def test_the_variable_of_a_secret_is_as_documented():
    assert f"`{variable(SecretKey('llm', 'openai', 'api-key'))}`" in TEXT
