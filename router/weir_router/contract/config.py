"""The whole config of a router, and the answer of the config server that carries it."""

from __future__ import annotations

from weir_router.contract.addresses import HostPolicy
from weir_router.contract.base import Wire, prepare
from weir_router.contract.caller import TokenTrust
from weir_router.contract.policy import Policy
from weir_router.contract.secrets import Secrets
from weir_router.contract.tier import Tier
from weir_router.contract.version import API_VERSION

POLL_PATH = "/v1/poll"
"""Path of the config server to which routers POST a `RouterReport`, with `If-None-Match` and
`Prefer: wait=<seconds>`."""


class CompiledConfig(Wire, frozen=True, omit_defaults=False):  # apiVersion must always be said
    """Everything that a router needs to know, except secrets."""

    api_version: str = API_VERSION
    revision: int = 0  # only grows
    class_name: str = "weir"
    tiers: dict[str, Tier] = {}
    policies: tuple[Policy, ...] = ()
    generations: dict[str, int] = {}  # "ModelTier/ns/name" -> metadata.generation that was compiled
    anonymous_namespace: str | None = None  # the namespace of an unauthenticated caller; None: 401
    tokens: TokenTrust | None = None  # None: no ServiceAccount token is accepted
    routers: int = 1  # live routers, to share out limits "of all routers together"
    catalogue_date: str | None = None
    hosts: HostPolicy = HostPolicy()  # where no backend may be
    gateway_authorities: str | None = None  # PEM: authorities of the gateway's certificate; None: public ones


class Delivery(Wire, frozen=True):
    """The config server's answer to a poll: all that the caller of `POLL_PATH` may see. Its ETag is a hash of
    everything but the revision, so a router hears only of changes that concern it.
    """

    config: CompiledConfig
    secrets: Secrets = Secrets()
    authorities: str | None = None  # PEM: authorities that sign, and soon will sign, the config server's certificate


prepare(Delivery)
