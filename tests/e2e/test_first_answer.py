"""The README's commands lead from an empty cluster to the first answer."""

from __future__ import annotations

import pytest
from world import Application, Weir, kubectl

PROMPTS = {
    "Simple": ("What is the capital of Portugal?", "quick", "llm/budget"),
    "Moderate": ("Summarise the differences between TCP and UDP in a table.", "everyday", "llm/mid-range"),
    "Complex": ("Prove that there are infinitely many primes, step by step.", "everything-else", "llm/premium"),
}
"""A prompt of each class, with the route and the tier of examples/cluster that are for it."""


def test_the_readme_s_commands_lead_to_an_answer_within_a_minute(weir: Weir) -> None:
    # When the README's commands are run as they stand, the image being there
    # Then the last of them show an answer to a simple and to a hard prompt, each of its own tier
    assert len(weir.answers) == 2
    for answer, tier in zip(weir.answers, ("llm/budget", "llm/premium"), strict=True):
        assert "HTTP/1.1 200" in answer
        assert f"x-weir-tier: {tier}" in answer.splitlines()
    assert weir.seconds < 60
    print(f"helm install to first answer: {weir.seconds:.1f} s")


def test_an_application_needs_no_key(weir: Weir, application: Application) -> None:
    # Given a pod with the unchanged OpenAI SDK and a token of its own ServiceAccount
    # When it asks something simple
    answer = application.ask()
    # Then the cheap tier answers
    assert (answer["status"], answer["tier"], answer["route"]) == (200, "llm/budget", "quick")
    assert answer["text"]


@pytest.mark.parametrize("complexity", PROMPTS)
def test_each_class_of_prompts_is_answered_by_its_own_tier_at_once(
    weir: Weir, application: Application, complexity: str
) -> None:
    prompt, route, tier = PROMPTS[complexity]
    # When a prompt of the class is sent
    answer = application.ask("auto", prompt)
    # Then the first tier of its route answers the first attempt: no other one stood in silently
    assert answer["status"] == 200, answer
    assert (answer["complexity"], answer["route"], answer["tier"]) == (complexity, route, tier)
    assert answer["attempts"] == "1"
    assert answer["text"]


def test_what_kubectl_shows_is_ready(weir: Weir, application: Application) -> None:
    # When a policy has served
    # Then its conditions say so
    for kind in ("modeltiers", "routingpolicies"):
        kubectl("wait", "--for=condition=Ready", kind, "--all", "--all-namespaces", "--timeout=60s")
