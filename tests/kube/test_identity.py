"""Callers' tokens of a real API server, sent to a real router by the real SDKs."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import anthropic
import msgspec
import openai
import pytest
from anthropic.lib.credentials import AccessToken
from apiserver import ApiServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from kubernetes.client import ApiClient

from support.callers import request_for
from support.config_server import GATEWAY, KnownTokens
from support.kube import Requests, client_of, run
from support.stand import NAMESPACE, Stand, stand
from support.tokens import Signer
from weir_cli.sim import SimModel
from weir_operator.distribute.reviews import CachedReviewer
from weir_operator.distribute.server import ConfigServer, listen
from weir_operator.identity.trust import Known, audience, learned
from weir_operator.identity.trust import config_audience as routers_audience
from weir_operator.kube import oidc
from weir_operator.kube.oidc import ClusterKeys, FetchFailed
from weir_operator.kube.token_reviews import KubernetesReviewer
from weir_router.clock import SystemClock
from weir_router.config.access import Access
from weir_router.contract import CallerKind, CompiledConfig, Dialect, Secrets, TokenTrust
from weir_router.contract.caller import Caller
from weir_router.errors import Unauthenticated
from weir_router.identify.identifier import Identifier
from weir_router.identify.review_client import ReviewClient

OURS = audience("weir")
HI = [{"role": "user", "content": "hi"}]
PLACE = """{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "%(namespace)s"}},
  {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web", "namespace": "%(namespace)s"}}]}"""
POD = """{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "namespace": "%s"},
  "spec": {"serviceAccountName": "web", "containers": [{"name": "app", "image": "app"}]}}"""


@pytest.fixture(scope="module")
def api(apiserver: ApiServer) -> Iterator[ApiClient]:
    with client_of(apiserver) as api:
        yield api


@pytest.fixture(scope="module")
def tenants(apiserver: ApiServer) -> None:
    """Two namespaces with a ServiceAccount and a pod each."""
    for namespace in (NAMESPACE, "team-b"):
        run(apiserver, "apply", "-f", "-", input=PLACE % {"namespace": namespace})  # other modules may have made it
        run(apiserver, "create", "-f", "-", input=POD % namespace)


def token_of(server: ApiServer, *, namespace: str = NAMESPACE, for_whom: str = OURS, pod: str | None = None) -> str:
    """A new token of the ServiceAccount web, by TokenRequest as the kubelet makes it."""
    bound = ("--bound-object-kind=Pod", f"--bound-object-name={pod}") if pod else ()
    return run(server, "-n", namespace, "create", "token", "web", f"--audience={for_whom}", *bound).strip()


def trust_of(api: ApiClient, **changes: bool) -> TokenTrust:
    """The trust that the operator derives from the API server's discovery document."""
    trust = learned(Known(), oidc.fetch(api), 0.0).trust(OURS, review=changes.get("review", False))
    assert trust is not None
    return trust


def trusting(trust: TokenTrust | None) -> CompiledConfig:
    return CompiledConfig(tokens=trust)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def written(path: Path, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> Path:
    """A file with `key`, as the API server reads it."""
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    return path


@dataclass
class Gateway:
    """A router that trusts the cluster's tokens; callers of team-a may ask it."""

    stand: Stand

    @property
    def url(self) -> str:
        return self.stand.url

    async def ask(self, token: str, **headers: str) -> tuple[int, str, dict[str, str]]:
        """Status, the error's message or nothing, and the answer's headers."""
        path, body, _ = request_for(Dialect.OPENAI, stream=False)
        sent = {"authorization": f"Bearer {token}", **headers}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url + path, json=body, headers=sent) as answer,
        ):
            content = await answer.json()
            return answer.status, content.get("error", {}).get("message", ""), dict(answer.headers)


@pytest.fixture
async def gateway(api: ApiClient, tenants: None) -> AsyncIterator[Gateway]:
    async with stand([SimModel("m")]) as it:
        it.apply(msgspec.structs.replace(it.config, tokens=trust_of(api)))
        yield Gateway(it)


async def test_the_openai_sdk_reads_a_rotating_token_for_each_request(
    apiserver: ApiServer, gateway: Gateway, tmp_path: Path
):
    token_file = tmp_path / "token"

    async def token() -> str:
        return token_file.read_text()

    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=token, max_retries=0) as client:
        for fresh in (token_of(apiserver, pod="web-0"), token_of(apiserver)):
            token_file.write_text(fresh)
            answer = await client.chat.completions.create(model="auto", messages=HI)  # type: ignore[call-overload]
            assert answer.choices[0].message.content
    assert [(line["caller"], line.get("caller_pod")) for line in gateway.stand.log.lines] == [
        (f"{NAMESPACE}/web", "web-0"),
        (f"{NAMESPACE}/web", None),
    ]


async def test_the_anthropic_sdk_does_so_too(apiserver: ApiServer, gateway: Gateway, tmp_path: Path):
    token_file = tmp_path / "token"

    async def token(*, force_refresh: bool = False) -> AccessToken:
        return AccessToken(token_file.read_text(), expires_at=0)  # 0: ask again for each request

    async with anthropic.AsyncAnthropic(base_url=gateway.url, credentials=token, max_retries=0) as client:
        for fresh in (token_of(apiserver), token_of(apiserver)):
            token_file.write_text(fresh)
            answer = await client.messages.create(model="auto", max_tokens=50, messages=HI)  # type: ignore[call-overload]
            assert answer.content[0].text
    assert {line["caller"] for line in gateway.stand.log.lines} == {f"{NAMESPACE}/web"}


@pytest.mark.parametrize("other", ["weir/other", routers_audience("weir"), "https://kubernetes.default.svc"])
async def test_a_token_for_somebody_else_is_refused(apiserver: ApiServer, gateway: Gateway, other: str):
    """Tokens for another installation, for the config server, and for the API server itself."""
    status, message, _ = await gateway.ask(token_of(apiserver, for_whom=other))
    assert status == 401
    assert f"its audience is '{other}', and this installation's '{OURS}'" in message


async def test_a_token_with_somebody_else_s_claims_is_refused(apiserver: ApiServer, gateway: Gateway):
    mine, theirs = token_of(apiserver).split("."), token_of(apiserver, namespace="team-b").split(".")
    status, message, _ = await gateway.ask(".".join((mine[0], theirs[1], mine[2])))
    assert (status, "its signature does not fit its content" in message) == (401, True)


async def test_a_token_made_with_the_right_names_and_another_key_is_refused(apiserver: ApiServer, gateway: Gateway):
    """A token with all public facts of the cluster, but without its private key, is refused."""
    header = json.loads(base64.urlsafe_b64decode(token_of(apiserver).partition(".")[0] + "=="))
    now = time.time()
    forged = Signer(header["kid"]).token(NAMESPACE, "web", iat=now, nbf=now, exp=now + 600)
    status, message, _ = await gateway.ask(forged)
    assert (status, "its signature does not fit its content" in message) == (401, True)


async def test_a_token_is_no_way_into_another_namespace(apiserver: ApiServer, gateway: Gateway):
    """A replayed token still belongs to its own namespace, even with headers that claim another one."""
    stolen = token_of(apiserver, namespace="team-b")
    claims = {"x-weir-caller": f"{NAMESPACE}/web", "x-weir-namespace": NAMESPACE, "x-forwarded-user": "admin"}
    for headers in ({}, claims):
        status, message, _ = await gateway.ask(stolen, **headers)
        assert status == 404
        assert "No RoutingPolicy lets team-b/web ask for the model 'auto'" in message


async def test_a_deleted_pod_s_token_is_refused_at_once_where_it_is_reviewed(
    apiserver: ApiServer, api: ApiClient, tenants: None, tmp_path: Path
):
    run(apiserver, "create", "-f", "-", input=(POD % NAMESPACE).replace("web-0", "gone-0"))
    token = token_of(apiserver, pod="gone-0")
    run(apiserver, "-n", NAMESPACE, "delete", "pod", "gone-0", "--now")
    offline = Identifier(SystemClock())
    async with reviewing(api, tmp_path) as (reviewed, trust):
        offline.configure(trusting(trust_of(api)), Secrets())
        assert (await offline.identify(bearer(token))).pod == "gone-0"
        reviewed.configure(trusting(trust), Secrets())
        with pytest.raises(Unauthenticated, match="the API server does not accept the token"):
            await reviewed.identify(bearer(token))


async def test_a_good_token_is_reviewed_once(apiserver: ApiServer, api: ApiClient, tenants: None, tmp_path: Path):
    requests = Requests(api)
    token = token_of(apiserver, pod="web-0")
    async with reviewing(api, tmp_path) as (reviewed, trust):
        reviewed.configure(trusting(trust), Secrets())
        for _ in range(3):
            assert await reviewed.identify(bearer(token)) == Caller(
                NAMESPACE, "web", CallerKind.SERVICE_ACCOUNT, pod="web-0"
            )
    assert [url for url in requests.urls if "tokenreviews" in url] == [
        f"{apiserver.url}/apis/authentication.k8s.io/v1/tokenreviews"
    ]


async def test_any_service_account_may_read_the_keys_where_kubernetes_own_binding_is(
    apiserver: ApiServer, tenants: None
):
    with client_of(apiserver, token=token_of(apiserver, for_whom="https://kubernetes.default.svc")) as ordinary:
        assert oidc.fetch(ordinary).issuer == "https://kubernetes.default.svc"
    with client_of(apiserver) as nobody:
        nobody.configuration.api_key.clear()
        with pytest.raises(FetchFailed, match=r"bind .* to the ClusterRole system:service-account-issuer-discovery"):
            oidc.fetch(nobody)


async def test_an_api_server_that_is_away_is_said(apiserver: ApiServer):
    with (
        client_of(apiserver, url="https://127.0.0.1:9") as nobody,
        pytest.raises(FetchFailed, match=r"openid-configuration failed: \w+Error$"),
    ):
        oidc.fetch(nobody)


@pytest.mark.timeout(180)
async def test_the_cluster_changes_its_signing_key_and_no_router_restarts(apiserver: ApiServer, tmp_path: Path):
    """The key changes from RSA to elliptic, by restarts of the API server: old tokens work until their key goes."""
    old = written(tmp_path / "old.pem", rsa.generate_private_key(65537, 2048))
    new = written(tmp_path / "new.pem", ec.generate_private_key(ec.SECP256R1()))
    server = ApiServer(apiserver.assets)
    server.signing_keys = [old]
    now = 0.0
    with server, client_of(server) as api:
        run(server, "create", "namespace", NAMESPACE)
        run(server, "-n", NAMESPACE, "create", "serviceaccount", "web")
        router = Identifier(SystemClock())
        keys = ClusterKeys(
            lambda: oidc.fetch(api),
            "weir",
            lambda: router.configure(trusting(keys.trust), Secrets()),
            monotonic=lambda: now,
        )
        await keys.refresh()
        first = token_of(server)
        await router.identify(bearer(first))

        server.signing_keys = [new, old]
        await asyncio.to_thread(server.restart)
        second = token_of(server)
        with pytest.raises(Unauthenticated, match="the new one is known here within about a minute"):
            await router.identify(bearer(second))
        assert await keys.refresh()
        for token in (first, second):
            assert (await router.identify(bearer(token))).name == "web"

        server.signing_keys = [new]
        await asyncio.to_thread(server.restart)
        now = 1_000.0
        assert await keys.refresh()
        assert (await router.identify(bearer(second))).name == "web"
        with pytest.raises(Unauthenticated, match="does not publish"):
            await router.identify(bearer(first))


@contextlib.asynccontextmanager
async def reviewing(api: ApiClient, folder: Path) -> AsyncIterator[tuple[Identifier, TokenTrust]]:
    """The identifier of a router that asks a config server, and its trust."""
    callers = CachedReviewer(KubernetesReviewer(api, "weir/weir"))
    runner = await listen(ConfigServer(KnownTokens({"router": GATEWAY}), GATEWAY, callers=callers), "127.0.0.1", 0)
    (folder / "token").write_text("router")
    access = Access(f"http://127.0.0.1:{runner.addresses[0][1]}", folder / "token")
    client = ReviewClient(access)
    try:
        yield Identifier(SystemClock(), reviewer=client), trust_of(api, review=True)
    finally:
        await client.close()
        await runner.cleanup()
