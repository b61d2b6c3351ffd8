"""Backends that can serve a request at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from weir_router.contract import Backend, BackendLimits, Capability
from weir_router.decide.fit import ROOM, falls_short, unfit
from weir_router.decide.request import RouteRequest

Make = Callable[..., Any]
EU = {"region": "eu"}


def test_an_undescribed_backend_fits_everything(backend: Make, request_of: Make) -> None:
    assert unfit(backend(), request_of(10**7, needs=frozenset(Capability)), {}) is None


def test_thought_is_preferred_and_not_demanded(backend: Make, request_of: Make) -> None:
    plain, asked = backend(capabilities=frozenset({Capability.TOOLS})), request_of(needs=frozenset(Capability))
    assert unfit(plain, asked, {}) == "does not offer Audio, Documents, JSONSchema, Vision"
    assert falls_short(plain, asked) == "does not offer Reasoning"
    assert falls_short(backend(), asked) is None
    assert falls_short(plain, request_of(needs=frozenset({Capability.TOOLS}))) is None


def test_missing_capabilities_are_named(backend: Make, request_of: Make) -> None:
    plain = backend(capabilities=frozenset({Capability.TOOLS}))
    needs = frozenset({Capability.TOOLS, Capability.VISION, Capability.AUDIO})
    assert unfit(plain, request_of(needs=needs), {}) == "does not offer Audio, Vision"
    assert unfit(plain, request_of(needs=frozenset({Capability.TOOLS})), {}) is None


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"region": "eu", "x": "y"}, None),
        ({"region": "us"}, "label region=eu is required, it has us"),
        ({}, "label region=eu is required, it has none"),
    ],
)
def test_required_labels_must_be_there(backend: Make, request_of: Make, labels: dict[str, str], reason: str) -> None:
    assert unfit(backend(labels=labels), request_of(), EU) == reason


@pytest.mark.parametrize(
    ("max_output", "own_limit", "fits"),
    [(None, None, True), (100, None, True), (101, None, False), (5_000, 100, True), (5_000, 101, False)],
)
def test_prompt_and_output_must_fit_the_context(
    backend: Make, request_of: Make, max_output: int | None, own_limit: int | None, fits: bool
) -> None:
    """A longer output is clamped to the model's limit before the request is sent, so only the limit must fit."""
    small = backend(limits=BackendLimits(context_tokens=1_000, output_tokens=own_limit))
    assert (unfit(small, request_of(900, max_output=max_output), {}) is None) is fits


@pytest.mark.parametrize(("prompt", "fits"), [(4_000 - ROOM, True), (4_001 - ROOM, False)])
def test_of_a_long_output_only_a_page_must_fit(backend: Make, request_of: Make, prompt: int, fits: bool) -> None:
    """`max_tokens` is lowered to the rest of the context before the request is sent."""
    small = backend(limits=BackendLimits(context_tokens=4_000))
    assert (unfit(small, request_of(prompt, max_output=64_000), {}) is None) is fits


def test_the_context_is_named(backend: Make, request_of: Make) -> None:
    small = backend(limits=BackendLimits(context_tokens=1_000))
    assert unfit(small, request_of(1_001), {}) == "1001 tokens exceed its context of 1000"


def test_the_hook_may_refuse(backend: Make, request_of: Make) -> None:
    def hook(candidate: Backend) -> str | None:
        return "cannot be translated" if candidate.name == "b" else None

    request: RouteRequest = request_of(unable=hook)
    assert unfit(backend("b"), request, {}) == "cannot be translated"
    assert unfit(backend("a"), request, {}) is None


@pytest.mark.parametrize(("tokens", "beyond"), [(500, False), (501, True)])
def test_the_effective_context_bounds_the_prompt(backend: Make, request_of: Make, tokens: int, beyond: bool) -> None:
    good_to_500 = backend(limits=BackendLimits(effective_context_tokens=500))
    assert (falls_short(good_to_500, request_of(tokens, max_output=9_000)) is not None) is beyond


def test_without_an_effective_context_none_is_exceeded(backend: Make, request_of: Make) -> None:
    assert falls_short(backend(), request_of(10**7)) is None
