"""The gateway soon follows changes in the cluster."""

from __future__ import annotations

import json
import subprocess

import pytest
import stage
from world import TEAM, Application, Weir, apply, kubectl, until

SOON = 15.0
"""Seconds within which repeated requests must show a change. The first test measures that it takes less than one."""


@pytest.fixture(scope="module", autouse=True)
def models(weir: Weir) -> None:
    """The models of the stage."""
    stage.simulator()


def test_a_changed_policy_is_effective_on_every_gateway_pod_within_a_second(
    weir: Weir, application: Application
) -> None:
    gateways = weir.gateways()
    assert len(gateways) >= 2
    assert stage.follow(application, *gateways, to="budget") < 1.0


def test_a_rotated_secret_is_what_the_provider_gets_next(weir: Weir, application: Application) -> None:
    def secret(value: str) -> None:
        metadata = {"name": "vault", "namespace": stage.PLATFORM, "labels": {"weir.dev/credential": "true"}}
        apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"key": value}})

    def shown() -> str:
        application.ask("vault")
        headers = {name.lower(): value for name, value in stage.asked("vault")[-1]["headers"].items()}
        return str(headers["authorization"])

    # Given a backend with a credential that its provider gets
    secret("sk-first")
    apply(stage.tier("vault", credentials={"type": "APIKey", "secretRef": {"name": "vault", "key": "key"}}))
    apply(stage.policy("vault", "vault", to="vault"))
    until(lambda: application.ask("vault")["status"] == 200)
    assert shown() == "Bearer sk-first"
    # When the Secret gets another value
    secret("sk-second")
    # Then the provider gets that one, and nobody was restarted
    until(lambda: shown() == "Bearer sk-second", SOON)
    assert restarts(weir) == 0


def restarts(weir: Weir) -> int:
    return sum(it["restartCount"] for pod in weir.pods("gateway") for it in pod["status"]["containerStatuses"])


def test_a_rotated_api_key_works_and_the_old_one_no_longer(weir: Weir, application: Application) -> None:
    def key() -> str:
        """A new key under the same name, as `weir key create` makes it."""
        command = ["weir", "key", "create", "ci", "--namespace", TEAM, "--output", "json"]
        made = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        apply(made["secret"])
        return str(made["key"])

    def status(value: str) -> int:
        program = (
            "import sys, openai\n"
            "client = openai.OpenAI(base_url='http://weir.weir-system/v1', api_key=sys.stdin.read(), max_retries=0)\n"
            "try:\n"
            "    print(client.models.with_raw_response.list().status_code)\n"
            "except openai.APIStatusError as error:\n"
            "    print(error.status_code)\n"
        )
        place = ["--namespace", TEAM, f"deployment/{application.name}"]
        return int(kubectl("exec", "--stdin", *place, "--", "/app/venv/bin/python", "-c", program, input=value))

    # Given an application with an API key
    first = key()
    until(lambda: status(first) == 200, SOON)
    # When the key is made anew under the same name
    second = key()
    # Then the new one works, and the old one does not
    until(lambda: status(second) == 200, SOON)
    until(lambda: status(first) == 401, SOON)


def test_a_policy_that_goes_is_no_longer_served(weir: Weir, application: Application) -> None:
    # Given a policy that serves
    apply(stage.policy("passing", "passing", to="budget"))
    until(lambda: application.ask("passing")["status"] == 200, SOON)
    # When it is deleted
    kubectl("delete", "routingpolicy", "passing", "--namespace", TEAM)
    # Then its model is unknown
    until(lambda: application.ask("passing")["status"] == 404, SOON)
