"""The README's commands lead from an empty cluster to the first answer."""

from __future__ import annotations

from world import Application, Weir, kubectl


def test_the_readme_s_commands_lead_to_an_answer_within_a_minute(weir: Weir) -> None:
    # When the README's commands are run as they stand, the image being there
    # Then the last of them shows an answer, and how it was routed
    assert "HTTP/1.1 200" in weir.first_answer
    assert "x-weir-tier: llm/budget" in weir.first_answer
    assert weir.seconds < 60
    print(f"helm install to first answer: {weir.seconds:.1f} s")


def test_an_application_needs_no_key(weir: Weir, application: Application) -> None:
    # Given a pod with the unchanged OpenAI SDK and a token of its own ServiceAccount
    # When it asks something simple
    answer = application.ask()
    # Then the cheap tier answers
    assert (answer["status"], answer["tier"], answer["route"]) == (200, "llm/budget", "quick")
    assert answer["text"]


def test_what_kubectl_shows_is_ready(weir: Weir, application: Application) -> None:
    # When a policy has served
    # Then its conditions say so
    for kind in ("modeltiers", "routingpolicies"):
        kubectl("wait", "--for=condition=Ready", kind, "--all", "--all-namespaces", "--timeout=60s")
