"""Statuses from manifests in YAML: observed, compiled, published and reported without a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from weir_operator.compile import Compiled, compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.distribute.reports import Reported
from weir_operator.kinds import KINDS
from weir_operator.kube.accounts import ServiceAccount
from weir_operator.observe.convert import manifest
from weir_operator.observe.observed import Observed, by_kind
from weir_operator.status.rollout import Rollout
from weir_operator.status.statuses import statuses
from weir_router.contract import BackendReport, RouterReport

GATEWAY = ServiceAccount("weir-system", "weir-router")
ANY_REVISION = 1_000_000
"""Revision of a router that is always up to date."""
NOW = 1_800_000_000.0
NOW_TEXT = "2027-01-15T08:00:00Z"

TIER = """
kind: ModelTier
metadata: {name: budget, namespace: llm, generation: 1, uid: t1}
spec:
  grants: [{namespaces: {from: All}}]
  backends:
  - {name: one, provider: OpenAI, model: gpt-4o-mini}
  - {name: two, provider: OpenAI, model: gpt-4o-mini}
"""
POLICY = """
kind: RoutingPolicy
metadata: {name: auto, namespace: team-a, generation: 1, uid: p1}
spec:
  models: [{name: auto}]
  routes: [{name: all, tiers: [{name: budget, namespace: llm}]}]
"""

KEYED = TIER.replace("name: one,", "name: one, credentials: {secretRef: {name: k, key: k}},")
"""Manifest of a tier whose first backend names a Secret that does not exist."""


def changed(text: str, old: str, new: str) -> str:
    """`text` with `new` in the place of `old`, which it must contain."""
    assert old in text
    return text.replace(old, new)


def gateway(name: str = "gw-0", *, current: bool = True, **fields: Any) -> Reported:
    """One of the gateway's routers; `states` are breakers' states, or whole reports, by backend."""
    return router(GATEWAY, name, current, **fields)


def sidecar(namespace: str = "team-a", name: str = "app-0", *, current: bool = True, **fields: Any) -> Reported:
    """A router of a tenant."""
    return router(ServiceAccount(namespace, "default"), name, current, **fields)


def router(
    account: ServiceAccount, name: str, current: bool, states: Mapping[str, str | BackendReport] = {}, **fields: Any
) -> Reported:
    """Any router."""
    backends = {key: it if isinstance(it, BackendReport) else _backend(it) for key, it in states.items()}
    report = RouterReport(router=name, backends=backends, **({"revision": 1} | fields))
    return Reported(account, account == GATEWAY, report, ANY_REVISION if current else None)


def _backend(state: str) -> BackendReport:
    return BackendReport(state=state, reason=None if state == "closed" else "timeout")


UNTRIED = BackendReport(state="closed", tried=False)
"""The report of a router that has sent a backend nothing lately."""

REFUSED = BackendReport(state="open", reason="connect", failing=5, words="connect: Connection refused")
"""The report of a router that cannot connect to a backend."""

DENIED = BackendReport(state="closed", failing=3, words="credential: Incorrect API key provided")
"""The report of a router whose breaker is still closed, though each attempt failed."""


def observed(*texts: str, **fields: Any) -> Observed:
    """The input of the compiler from a cluster with these objects."""
    bodies = [yaml.safe_load(text) for text in texts]
    found = [manifest(body["kind"], body) for body in bodies]
    return Observed(**({"manifests": by_kind(found), "namespaces": {}} | fields))


@dataclass
class Case:
    """A cluster at one moment; `of` gives a status."""

    observed: Observed
    compiled: Compiled
    rollout: Rollout
    present: Mapping[str, Any]
    now: float = NOW

    def of(self, kind: str = "ModelTier") -> dict[str, Any]:
        """The status of the only object of its kind."""
        found = statuses(self.observed, KINDS, self.compiled, self.rollout, self.present, self.now)
        ((_, status),) = [it for it in found if it[0].kind == kind]
        return dict(status)

    def condition(self, type: str, kind: str = "ModelTier") -> tuple[str, str, str]:
        """Status, reason and message."""
        (found,) = [it for it in self.of(kind)["conditions"] if it["type"] == type]
        return found["status"], found["reason"], found["message"]


def case(
    *texts: str,
    present: Mapping[str, Any] | None = None,
    now: float = NOW,
    around: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Case:
    """`texts` compiled and published as revision 1; `around` are fields of `Observed`, further ones of `Rollout`."""
    seen = observed(*(texts or (TIER, POLICY)), **(around or {}))
    compiled = compile_config(seen, KINDS, catalogue=Catalogue.load(), now=NOW)
    since = dict.fromkeys(compiled.config.generations, 1)
    rollout = replace(Rollout(revision=1, since=since, routers=(gateway(),)), **fields)
    return Case(seen, compiled, rollout, present or {}, now)
