"""A pod's sidecar before the gateway of a `Stand`, and the pod's token between them."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from support.stand import NAMESPACE, Stand, backend, config_for, stand
from support.tokens import NOW, RSA, trust
from weir_cli.sim import SimModel
from weir_router.app import Router
from weir_router.clock import ManualClock
from weir_router.contract import CallerKind, CompiledConfig, Route, Secrets, TierRef
from weir_router.contract.caller import Caller
from weir_router.sidecar.sidecar import Pod

CALLER = Caller(NAMESPACE, "web", CallerKind.SERVICE_ACCOUNT)


@dataclass
class Side:
    """A pod with its sidecar, for a test: `url` is the sidecar's, which the application uses."""

    gateway: Stand
    router: Router
    token_file: Path

    @property
    def url(self) -> str:
        return self.router.url

    @property
    def relayed(self) -> list[dict[str, Any]]:
        """The gateway's lines of the request log."""
        return [line for line in self.gateway.log.lines if line.get("backend") != "gateway"]

    @property
    def own(self) -> list[dict[str, Any]]:
        """The sidecar's log lines about relayed requests."""
        return [line for line in self.gateway.log.lines if line.get("backend") == "gateway"]

    def knows(self, config: CompiledConfig) -> None:
        """Applies `config`, as if the config server had sent it."""
        self.router.store.apply(config, Secrets(credentials={"upstream": "sk-of-the-namespace"}))

    def local(self, model: SimModel, namespace: str = NAMESPACE) -> CompiledConfig:
        """A config for the model `auto` whose only tier belongs to `namespace`."""
        config = config_for([[backend(self.gateway.sim, model)]])
        key = f"{namespace}/t0"
        tier = msgspec.structs.replace(config.tiers["llm/t0"], namespace=namespace)
        routes = (Route(name="all", tiers=(TierRef(tier=key),)),)
        policy = msgspec.structs.replace(config.policies[0], routes=routes)
        return msgspec.structs.replace(config, tiers={key: tier}, policies=(policy,))


@contextlib.asynccontextmanager
async def sidecar(
    folder: Path, *models: SimModel, gateway_url: str | None = None, **policy: Any
) -> AsyncIterator[Side]:
    """A gateway that trusts the pod's token, and the pod's sidecar, without a config."""
    token_file = folder / "token"
    token_file.write_text(RSA.token(NAMESPACE, "web"))
    clock = ManualClock(wall=NOW)
    async with stand(list(models or (SimModel("m"),)), clock=clock, **policy) as gateway:
        gateway.apply(msgspec.structs.replace(gateway.config, tokens=trust(RSA)))
        pod = Pod(CALLER, gateway_url or gateway.url, token_file)
        async with Router(port=0, admin_port=0, clock=clock, rng=random.Random(0), grace=1.0, pod=pod) as router:
            yield Side(gateway, router, token_file)
