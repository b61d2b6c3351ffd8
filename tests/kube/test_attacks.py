"""Attacks of a malicious tenant on a real API server with a real router: each attempt, and its answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from apiserver import ApiServer

from support.town import PLATFORM_KEY, Town
from weir_cli.sim import SimModel, Simulator
from weir_operator.distribute.reports import RELAY_PATH, Relay, Relayed
from weir_operator.kube.accounts import ServiceAccount
from weir_router.contract import BackendReport, Dialect, RouterReport


@pytest.fixture
async def town(cluster: ApiServer, namespace: str, tmp_path: Path) -> AsyncIterator[Town]:
    """The platform's tier is granted to the tenant, whose policy uses it; the enemy has a key, and no grant."""
    async with (
        Simulator([SimModel("sim-minnow", Dialect.OPENAI)]) as sim,
        Town(cluster, namespace, sim, tmp_path).open() as it,
    ):
        it.apply(
            it.credential(it.platform, PLATFORM_KEY),
            it.tier(it.platform, grants=grants(it.platform, it.tenant)),
            it.policy(it.tenant, premium(it)),
            *(it.key(namespace)[1] for namespace in (it.tenant, it.enemy)),
        )
        await it.until_asked(it.key(it.tenant)[0], 200)
        yield it


def grants(*namespaces: str, **limits: int) -> list[dict[str, Any]]:
    return [{"namespaces": {"from": "Names", "names": list(namespaces)}} | ({"limits": limits} if limits else {})]


def premium(town: Town) -> dict[str, str]:
    return {"name": "premium", "namespace": town.platform}


async def test_a_tier_without_a_grant_cannot_be_reached_and_looks_like_one_that_is_not_there(town: Town):
    there, nowhere = premium(town), {"name": "nonesuch", "namespace": town.platform}
    town.apply(town.policy(town.enemy, there), town.policy(town.enemy, nowhere, "other", models=[{"name": "other"}]))
    said = {}
    for name, tier in (("assistants", there), ("other", nowhere)):
        status, reason, message = await town.verdict(town.enemy, f"rp/{name}", "ResolvedRefs", "False")
        assert (status, reason) == ("False", "TierNotFoundOrNotGranted")
        said[name] = json.dumps(town.status(town.enemy, f"rp/{name}")).replace(tier["name"], "TIER")
        assert "TIER" in message.replace(tier["name"], "TIER")
    assert without_times(said["assistants"]) == without_times(said["other"])
    before = len(town.sim.requests("sim-minnow"))
    answers = [await town.until_asked(town.key(town.enemy)[0], 503, model) for model in ("auto", "other")]
    assert all("policy_not_ready" in it for it in answers)
    assert len(town.sim.requests("sim-minnow")) == before


def without_times(text: str) -> Any:
    status = json.loads(text)
    return [{key: value for key, value in it.items() if key != "lastTransitionTime"} for it in status["conditions"]]


@pytest.mark.parametrize("part", ["baseline", "override"])
async def test_neither_baseline_nor_break_glass_opens_a_tier(town: Town, part: str):
    value: Any = premium(town)
    if part == "override":
        value = {"tier": value, "until": "2099-01-01T00:00:00Z"}
    town.apply(town.policy(town.enemy, premium(town), mode="Observe", **{part: value}))
    assert (await town.verdict(town.enemy, "rp/assistants", "ResolvedRefs", "False"))[1] == "TierNotFoundOrNotGranted"
    assert "policy_not_ready" in await town.until_asked(town.key(town.enemy)[0], 503)


async def test_another_namespaces_secret_cannot_be_named_and_is_not_found_by_its_name(town: Town):
    stolen = town.tier(town.enemy, "mine")
    reference = stolen["spec"]["backends"][0]["credentials"]["secretRef"]
    reference["namespace"] = town.platform
    assert "unknown field" in town.refused(stolen)
    del reference["namespace"]
    reference["name"] = f"{town.platform}/openai"
    assert "should match" in town.refused(stolen)
    reference["name"] = "openai"
    never = town.tier(town.enemy, "never")
    never["spec"]["backends"][0]["credentials"]["secretRef"]["name"] = "nonesuch"
    town.apply(stolen, never)
    _, reason, message = await town.verdict(town.enemy, "mt/mine", "ResolvedRefs", "False")
    _, other, nowhere = await town.verdict(town.enemy, "mt/never", "ResolvedRefs", "False")
    assert reason == other == "SecretNotFound"
    assert message.replace("openai", "X") == nowhere.replace("nonesuch", "X")


async def test_a_secret_that_does_not_consent_is_not_sent_even_within_its_namespace(town: Town):
    town.apply(town.credential(town.enemy, "sk-not-for-models", app="payroll"), town.tier(town.enemy, "mine"))
    assert (await town.verdict(town.enemy, "mt/mine", "ResolvedRefs", "False"))[1] == "SecretNotFound"
    assert (await town.verdict(town.enemy, "mt/mine", "Ready", "False"))[1] == "NoUsableBackends"


@pytest.mark.parametrize("url", ["http://169.254.169.254/v1", "https://kubernetes.default.svc/v1"])
async def test_a_tier_cannot_send_a_key_to_the_metadata_service_or_the_api_server(town: Town, url: str):
    tier = town.tier(town.enemy, "mine")
    tier["spec"]["backends"][0]["baseURL"] = url
    town.apply(town.credential(town.enemy, "sk-enemy"), tier)
    assert (await town.verdict(town.enemy, "mt/mine", "Accepted", "False"))[1] == "HostForbidden"


async def test_a_policy_that_does_not_name_the_caller_is_not_there_for_it(town: Town):
    key = town.key(town.enemy)[0]
    secret, nonsense = await town.ask(key, "auto"), await town.ask(key, "no-such-model")
    assert secret[0] == nonsense[0] == 404
    told = [json.loads(body)["error"] for _, body in (secret, nonsense)]
    assert told[0]["code"] == told[1]["code"]
    assert told[0]["message"].replace("auto", "X") == told[1]["message"].replace("no-such-model", "X")


async def test_a_grants_limit_holds_over_every_policy_of_the_namespace(town: Town):
    town.apply(
        town.tier(town.platform, grants=grants(town.tenant, requestsPerMinute=3)),
        town.policy(town.tenant, premium(town), "second", models=[{"name": "second"}]),
        town.policy(
            town.tenant, premium(town), "third", models=[{"name": "third"}], limits={"requestsPerMinute": 1000}
        ),
    )
    key = town.key(town.tenant)[0]
    await town.verdict(town.tenant, "rp/third", "Ready", "True")
    answers = [(await town.ask(key, model))[0] for model in ("second", "third", "second", "third", "auto", "second")]
    assert answers.count(200) <= 3
    assert set(answers) == {200, 429}


async def test_naming_somebody_elses_callers_neither_takes_nor_reveals_them(town: Town):
    bait = town.tier(town.enemy, "bait")
    town.apply(
        town.credential(town.enemy, "sk-enemy"),
        bait,
        town.policy(
            town.enemy,
            {"name": "bait"},
            models=[{"name": "auto"}, {"name": "bait"}],
            callers=[{"namespaces": {"from": "All"}}],
        ),
    )
    await town.verdict(town.enemy, "rp/assistants", "Ready", "True")
    _, reason, message = await town.verdict(town.enemy, "rp/assistants", "Accepted", "True")
    assert reason == "NotConsented"
    assert "accept-policies-from" in message
    assert (await town.ask(town.key(town.tenant)[0], "bait"))[0] == 404
    assert (await town.ask(town.key(town.tenant)[0]))[0] == 200
    assert town.sim.requests("sim-minnow")[-1].headers["authorization"] == f"Bearer {PLATFORM_KEY}"
    assert town.tenant not in json.dumps(town.status(town.enemy, "rp/assistants"))


async def test_a_conflict_does_not_tell_whose_policy_goes_first_unless_it_is_for_us(town: Town):
    town.accepts(town.tenant, town.platform, town.enemy)
    town.apply(
        town.policy(
            town.platform,
            {"name": "premium"},
            "shared",
            models=[{"name": "shared"}],
            callers=[{"namespaces": {"from": "Names", "names": [town.tenant]}}],
        )
    )
    await town.verdict(town.platform, "rp/shared", "Ready", "True")
    await asyncio.sleep(1)  # the server's clock of creation has a grain of one second
    everybody = [{"namespaces": {"from": "All"}}]
    town.apply(town.policy(town.enemy, premium(town), "copy", models=[{"name": "shared"}], callers=everybody))
    _, reason, message = await town.verdict(town.enemy, "rp/copy", "Conflicted", "True")
    assert reason == "Conflicted"
    assert town.platform not in message
    assert "with a policy of another namespace, which is older" in message


async def test_the_view_of_a_namespace_holds_nothing_of_others(town: Town):
    town.apply(town.credential(town.enemy, "sk-enemy"), town.tier(town.enemy, "mine"))
    await town.verdict(town.enemy, "mt/mine", "ResolvedRefs", "True")
    for name in ("app", "router", "operator"):  # names like those of the platform's own accounts, too
        status, body = await town.poll(ServiceAccount(town.enemy, name))
        assert status == 200
        assert "sk-enemy" not in body  # none of its policies uses the tier
        for foreign in (PLATFORM_KEY, town.platform, town.tenant, "premium"):
            assert foreign not in body
    _, body = await town.poll(ServiceAccount(town.tenant, "app"))
    assert "assistants" in body
    for foreign in (PLATFORM_KEY, town.platform, "premium"):  # only the gateway serves the policy
        assert foreign not in body


async def test_a_tenants_router_can_neither_slander_a_tier_nor_hold_back_the_gateway(town: Town):
    await town.verdict(town.platform, "mt/premium", "Ready", "True")
    key = f"{town.platform}/premium/one"
    lie = RouterReport(router="gw-0", revision=0, rejected="all is lost", backends={key: BackendReport(state="open")})
    assert (await town.poll(ServiceAccount(town.enemy, "router"), data=msgspec.json.encode(lie)))[0] == 200
    assert (await town.poll(ServiceAccount(town.tenant, "app"), data=msgspec.json.encode(lie)))[0] == 200
    assert len([it for it in town.reports if it.report.rejected]) == 2
    town.apply(town.tier(town.platform, grants=grants(town.tenant), objectives={"ttft": "1s"}))
    await town.verdict(town.platform, "mt/premium", "Programmed", "True")
    status = town.status(town.platform, "mt/premium")
    (backend,) = status["backends"]
    assert backend["state"] in ("Healthy", "Unknown")  # whether the gateway has tried it, it is not sick
    assert "all is lost" not in json.dumps(status)


async def test_nobody_can_pose_as_another_replica_of_the_operator(town: Town):
    invented = Relayed(
        namespace=town.platform, account="router", router="gw-9", seen=None, report=RouterReport(router="gw-9"), age=0.0
    )
    relay = msgspec.json.encode(Relay(replica="x", whole=True, reports=(invented,)))
    for account in (ServiceAccount(town.enemy, "operator"), ServiceAccount(town.platform, "router")):
        status, body = await town.poll(account, path=RELAY_PATH, data=relay)
        assert (status, "only the operator" in body) == (403, True)
    assert "gw-9" not in {it.report.router for it in town.reports}


async def test_an_object_of_another_class_is_left_alone(town: Town):
    theirs = town.policy(town.enemy, premium(town), "theirs", className="other", models=[{"name": "theirs"}])
    town.apply(theirs, town.policy(town.enemy, premium(town)))
    await town.verdict(town.enemy, "rp/assistants", "ResolvedRefs", "False")
    assert town.status(town.enemy, "rp/theirs")["observedGeneration"] == -1  # the CRD's default: nobody has looked
    assert (await town.ask(town.key(town.enemy)[0], "theirs"))[0] == 404
