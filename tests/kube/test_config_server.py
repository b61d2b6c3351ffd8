"""The config server with a real API server behind it: real tokens, real audiences, and changes of the config."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from apiserver import ApiServer
from kubernetes.client import ApiClient

from support.config_server import serving
from support.kube import Requests, client_of, run
from support.published import compiled, policy
from weir_operator.distribute.reviews import CachedReviewer
from weir_operator.identity.trust import config_audience
from weir_operator.kube.accounts import ServiceAccount
from weir_operator.kube.token_reviews import KubernetesReviewer, ReviewUnavailable, TokenRefused
from weir_router.config.access import Access
from weir_router.config.longpoll import LongPoll
from weir_router.config.store import ConfigStore
from weir_router.contract import RouterReport

CHANGES = 100


@pytest.fixture(scope="module")
def api(apiserver: ApiServer) -> Iterator[ApiClient]:
    with client_of(apiserver) as api:
        yield api


@pytest.fixture
def account(apiserver: ApiServer, namespace: str) -> ServiceAccount:
    """An existing ServiceAccount."""
    run(apiserver, "-n", namespace, "create", "serviceaccount", "router")
    return ServiceAccount(namespace, "router")


def token_of(server: ApiServer, account: ServiceAccount, for_whom: str) -> str:
    """A new token, by TokenRequest."""
    return run(server, "-n", account.namespace, "create", "token", account.name, f"--audience={for_whom}").strip()


async def test_a_token_of_our_audience_is_that_of_its_service_account(
    apiserver: ApiServer, api: ApiClient, account: ServiceAccount
):
    token = token_of(apiserver, account, config_audience("weir"))
    assert await KubernetesReviewer(api, config_audience("weir")).review(token) == account


@pytest.mark.parametrize("other", ["weir", "weir-config/other", "https://kubernetes.default.svc"])
async def test_a_token_of_another_audience_is_refused(
    apiserver: ApiServer, api: ApiClient, account: ServiceAccount, other: str
):
    token = token_of(apiserver, account, other)
    with pytest.raises(TokenRefused, match="audience") as refused:
        await KubernetesReviewer(api, config_audience("weir")).review(token)
    assert token not in str(refused.value)


async def test_a_token_of_a_deleted_account_and_no_token_at_all_are_refused(
    apiserver: ApiServer, api: ApiClient, account: ServiceAccount
):
    token = token_of(apiserver, account, config_audience("weir"))
    run(apiserver, "-n", account.namespace, "delete", "serviceaccount", account.name)
    for bad in (token, token[:-4] + "AAAA", "garbage"):
        with pytest.raises(TokenRefused, match="does not accept"):
            await KubernetesReviewer(api, config_audience("weir")).review(bad)


async def test_a_person_is_no_router(apiserver: ApiServer, api: ApiClient):
    """The test's administrator has a static token, which the API server accepts for its own audience."""
    with pytest.raises(TokenRefused):
        await KubernetesReviewer(api, config_audience("weir")).review(apiserver.token)


async def test_a_missing_right_is_named(apiserver: ApiServer, account: ServiceAccount):
    token = token_of(apiserver, account, config_audience("weir"))
    ours = token_of(apiserver, account, "https://kubernetes.default.svc")
    with (
        client_of(apiserver, token=ours) as powerless,
        pytest.raises(ReviewUnavailable, match="create on tokenreviews"),
    ):
        await KubernetesReviewer(powerless, config_audience("weir")).review(token)


async def test_an_api_server_that_is_away_refuses_nobody(apiserver: ApiServer):
    with (
        client_of(apiserver, url="https://127.0.0.1:9") as nobody,
        pytest.raises(ReviewUnavailable, match=r"TokenReview failed: \w+Error$"),
    ):
        await KubernetesReviewer(nobody, config_audience("weir")).review("any")


async def test_a_hundred_changes_reach_the_router_and_its_token_is_reviewed_once(
    apiserver: ApiServer, api: ApiClient, account: ServiceAccount, tmp_path: Path
):
    token_file = tmp_path / "token"
    token_file.write_text(token_of(apiserver, account, config_audience("weir")))
    store, swaps = ConfigStore(), asyncio.Queue[str]()
    store.subscribe(lambda config, _: swaps.put_nowait(config.policies[0].models[0]))
    requests = Requests(api)
    async with serving(CachedReviewer(KubernetesReviewer(api, config_audience("weir")))) as stand, asyncio.timeout(60):
        poll = LongPoll(Access(stand.url, token_file), store, lambda: RouterReport(router="r"))
        running = asyncio.create_task(poll.run())
        for revision in range(1, CHANGES + 1):
            stand.publish(compiled(policy(models=(f"m{revision}",))), revision)
            assert await swaps.get() == f"m{revision}"
        running.cancel()
    assert len(requests.urls) == 1
