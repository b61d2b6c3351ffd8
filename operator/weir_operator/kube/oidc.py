"""Fetches the keys that the cluster signs ServiceAccount tokens with, again and again. Run by every replica.

Two requests to our own API server, never to the address that `jwks_uri` says: that may lie outside the cluster, and
what our API server lists is what our API server signs with. It needs `get` on the two paths, which Kubernetes' own
ClusterRole `system:service-account-issuer-discovery` gives to every ServiceAccount by default.

`weir_operator.identity.trust` decides what counts. A fetch that fails changes nothing: unknown is not empty.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import msgspec
import urllib3
from kubernetes import client

from weir_operator.identity.trust import Known, Listed, audience, learned, names, signing_keys, taken_over
from weir_router.contract import TokenTrust

DISCOVERY_PATH = "/.well-known/openid-configuration"
JWKS_PATH = "/openid/v1/jwks"

REFRESH_SECONDS = 60.0
"""Seconds between two fetches. Tokens of a new key may be refused that long. The API server answers from memory."""

RETRY_SECONDS = 10.0
"""Seconds between two fetches after a failure, or while tokens of an unknown key come."""

FETCH_SECONDS = 5.0
"""Seconds for one request."""

_log = logging.getLogger("weir.identity")


class FetchFailed(Exception):
    """The API server did not say what it signs with; the message says why, and what to do."""


def fetch(api_client: client.ApiClient) -> Listed:
    """Issuer and keys as the API server publishes them. Blocking. Raises `FetchFailed`."""
    discovery = _get(api_client, DISCOVERY_PATH)
    issuer = discovery.get("issuer") if isinstance(discovery, dict) else None
    keys = signing_keys(_get(api_client, JWKS_PATH))
    if not isinstance(issuer, str) or not issuer:
        raise FetchFailed(f"{DISCOVERY_PATH} names no issuer")
    if not keys:
        raise FetchFailed(f"{JWKS_PATH} has no key that tokens could be verified with")
    return Listed(issuer, keys)


def _get(api_client: client.ApiClient, path: str) -> object:
    try:
        response = api_client.call_api(
            *api_client.param_serialize("GET", path, auth_settings=["BearerToken"], header_params={"Accept": "*/*"}),
            _request_timeout=FETCH_SECONDS,
        )
        status, content = response.status, bytes(response.read())  # type: ignore[no-untyped-call]
    except urllib3.exceptions.HTTPError as error:
        raise FetchFailed(f"GET {path} failed: {type(error).__name__}") from None
    if status == 403:
        raise FetchFailed(
            f"GET {path} is forbidden: bind the operator's ServiceAccount to the ClusterRole "
            "system:service-account-issuer-discovery"
        )
    if status != 200:
        raise FetchFailed(f"GET {path} failed: HTTP {status}")
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise FetchFailed(f"GET {path} gave no JSON") from None


class ClusterKeys:
    """Keeps the `TokenTrust` of an installation. Used from one event loop."""

    def __init__(
        self,
        fetch: Callable[[], Listed],
        installation: str,
        on_change: Callable[[], None],
        *,
        review: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`fetch` blocks, and runs in a thread; `on_change` gets each new `trust`."""
        self._fetch = fetch
        self._audience = audience(installation)
        self._on_change = on_change
        self._review = review
        self._monotonic = monotonic
        self._sleep = sleep
        self._known = Known()
        self._failure: str | None = None
        self._unknown_key = False  # a token of an unknown key has come since the last fetch
        self.asked = asyncio.Event()
        """Set once the API server has answered, or refused to, for the first time: what is compiled before would
        withdraw tokens from routers that have them."""

    @property
    def trust(self) -> TokenTrust | None:
        """The trust that routers get; None: it is unknown, and ServiceAccount tokens are refused."""
        return self._known.trust(self._audience, review=self._review)

    def trust_for(self, audience: str) -> TokenTrust | None:
        """The trust in tokens of another audience of ours; None: it is unknown."""
        return self._known.trust(audience, review=False)

    def missed(self) -> bool:
        """Fetches early: a token names an unknown key, which may be new. Strangers can cause no more than a fetch
        every `RETRY_SECONDS`. Returns whether the known keys are those of the last fetch, so that the token is bad
        unless its key is that new.
        """
        self._unknown_key = True
        return self._failure is None

    @property
    def failure(self) -> str | None:
        """Why the last fetch failed; None: it did not."""
        return self._failure

    def take_over(self, published: TokenTrust | None) -> None:
        """Starts from the last publication, for the time before the first answer."""
        if not self.asked.is_set():
            self._known = taken_over(published, self._monotonic())

    async def run(self) -> None:
        """Fetches until cancelled."""
        while True:
            if not await self.refresh():
                await self._sleep(RETRY_SECONDS)
                continue
            self._unknown_key = False
            for _ in range(round(REFRESH_SECONDS / RETRY_SECONDS)):
                await self._sleep(RETRY_SECONDS)
                if self._unknown_key:
                    break

    async def refresh(self) -> bool:
        """Fetches once; whether it succeeded."""
        try:
            listed = await asyncio.to_thread(self._fetch)
        except FetchFailed as error:
            self._failed(str(error))
            return False
        if self._failure is not None:
            _log.info("the API server's signing keys can be read again")
        self._failure = None
        before = self.trust
        self._known = learned(self._known, listed, self._monotonic())
        self.asked.set()
        if self.trust != before:
            _log.info("tokens of issuer %s are verified with keys: %s", listed.issuer, names(self.trust))
            self._on_change()
        return True

    def _failed(self, why: str) -> None:
        if why != self._failure:
            keeps = "the last known ones stay" if self.trust else "ServiceAccount tokens are refused until then"
            _log.warning("the API server's signing keys cannot be read, %s: %s", keeps, why)
        self._failure = why
        self.asked.set()
