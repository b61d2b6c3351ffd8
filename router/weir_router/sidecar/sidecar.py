"""A pod's own router: serves requests to tiers of its namespace, and relays all others. Made by `app`.

The sidecar serves a request if every tier of its policy belongs to the pod's own namespace: then the config server has
sent all that it needs. Other requests go to the gateway, as all do while the sidecar has no config. The gateway keeps
the credentials of other namespaces, knows every policy and key, and refuses forbidden requests with the right error.

Requests to the Responses API that use or leave state at a provider go to the gateway, too. It alone has the keys that
seal ids, since a tenant can read what its pods hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weir_router.config.store import ConfigStore
from weir_router.contract import CompiledConfig, Policy, Secrets, Tier
from weir_router.contract.caller import Caller
from weir_router.decide.policy import PolicyIndex, find_policy
from weir_router.dialects.base import ConversationRecord, FormatRecord
from weir_router.dialects.registry import pairings_of
from weir_router.errors import WeirError
from weir_router.identify.identifier import Identifier
from weir_router.serve import bodies
from weir_router.serve.http import Answer, Request
from weir_router.serve.routes import Complete
from weir_router.sidecar.relay import Relay


@dataclass(frozen=True)
class Pod:
    """The pod of a sidecar."""

    caller: Caller  # caller of unauthenticated requests, since only localhost can send any
    gateway: str  # URL without a path
    token_file: Path  # file of the token for the gateway; read for each request
    ca_file: Path | None = None  # file of the gateway's authorities, for as long as no config says newer ones

    def authorities(self, config: CompiledConfig | None) -> str:
        """The authorities (PEM) of the gateway's certificate, besides the public ones. Raises `OSError`."""
        if config is not None and config.gateway_authorities:
            return config.gateway_authorities
        return "" if self.ca_file is None else self.ca_file.read_text("ascii", "ignore")


class Sidecar:
    """Serves requests itself or relays them to the gateway."""

    def __init__(
        self, serve: Complete, count: Complete, relay: Relay, store: ConfigStore, identifier: Identifier, namespace: str
    ) -> None:
        """`serve` and `count` handle a request here."""
        self._serve = serve
        self._count = count
        self._relay = relay
        self._identifier = identifier
        self._namespace = namespace
        self._index: PolicyIndex | None = None
        self._tiers: dict[str, Tier] = {}
        self._here: frozenset[str] = frozenset()
        store.subscribe(self._configured)

    def _configured(self, config: CompiledConfig, _: Secrets) -> None:
        self._index = PolicyIndex(config)
        self._tiers = config.tiers
        self._here = frozenset(policy.key for policy in config.policies if policy.is_complete(self._namespace))

    async def complete(self, request: Request, format: FormatRecord) -> Answer | None:
        """Handles `POST /v1/chat/completions` and `POST /v1/messages`."""
        if await self._is_ours(request, format):
            return await self._serve(request, format)
        return await self._relay.complete(request, format)

    async def count(self, request: Request, format: FormatRecord) -> Answer | None:
        """Handles a request to count tokens."""
        if await self._is_ours(request, format):
            return await self._count(request, format)
        return await self._relay.complete(request, format)

    def knows(self, headers: dict[str, str]) -> str | None:
        """The pod's namespace: a body may be read at once, since only the pod itself reaches its sidecar."""
        return self._namespace

    async def _is_ours(self, request: Request, format: FormatRecord) -> bool:
        if self._index is None or "content-encoding" in request.headers:
            return False
        try:
            caller = await self._identifier.identify(request.headers)
            body = await bodies.read(request)
            model = format.look(bodies.named(body, request.deployment) if request.deployment else body).model
        except WeirError:
            return False  # the gateway may know better; and if not, it says what is wrong
        policy = find_policy(self._index, caller, model)
        if policy is None or policy.key not in self._here:
            return False
        needs_state = format.needs_state if isinstance(format, ConversationRecord) else None
        return needs_state is None or not self._may_leave_state(format, policy) or not needs_state(body)

    def _may_leave_state(self, format: FormatRecord, policy: Policy) -> bool:
        """Whether a backend of the policy takes the format itself, and so may keep state."""
        tiers = self._tiers
        backends = [it for ref in policy.references() if ref.tier in tiers for it in tiers[ref.tier].backends]
        return any(pairings_of(format.format, it)[0].same for it in backends)
