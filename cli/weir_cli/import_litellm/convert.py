"""A LiteLLM proxy config as ModelTiers and RoutingPolicies. Used by `command`; pure: no file, no environment.

1. A model group (what callers ask for) becomes a ModelTier; deployments with an `order` become one tier per order.
2. A model group becomes a RoutingPolicy, too: it answers to the group's name and its aliases, and its one route tries
   the group's tiers, then those of its fallbacks, each fallback followed by its own, as LiteLLM walks them.
3. `context_window_fallbacks` come last: Weir sends what is too long only to backends with a larger context anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import Any

from weir_cli.import_litellm.backend import Deployment, deployment
from weir_cli.import_litellm.findings import TOKEN, Finding, Findings, mapping, number, text
from weir_cli.import_litellm.settings import note_unsupported
from weir_cli.import_litellm.traits import Defaults
from weir_cli.shared.manifests import SecretSource, slug, unique
from weir_operator.kinds.modeltier.schema import MAX_BACKENDS
from weir_operator.kinds.routingpolicy.schema import MAX_ATTEMPTS, MAX_MODELS, MAX_TIERS
from weir_router.contract import BackendState, Selection

API_VERSION = "weir.dev/v1alpha1"
MAX_WEIGHT = 1000  # the schema's bound
ATTEMPTS = 3  # Weir's default, and LiteLLM's: two retries

DEFAULT_STRATEGY = "simple-shuffle"
_SELECTIONS = {
    "simple-shuffle": Selection.WEIGHTED,
    "usage-based-routing": Selection.WEIGHTED,
    "usage-based-routing-v2": Selection.WEIGHTED,
    "least-busy": Selection.LEAST_LATENCY,
    "latency-based-routing": Selection.LEAST_LATENCY,
    "cost-based-routing": Selection.CHEAPEST,
}
_APPROXIMATE = {
    "usage-based-routing": "Weir does not count a provider's tokens per minute; shares follow weight, rpm or tpm",
    "usage-based-routing-v2": "Weir does not count a provider's tokens per minute; shares follow weight, rpm or tpm",
    "least-busy": "Weir orders by latency, which grows where much is in flight",
}


class NotLiteLLM(ValueError):
    """The input is not a LiteLLM proxy config."""


@dataclass(frozen=True)
class Imported:
    """Manifests and findings of one config."""

    manifests: list[dict[str, Any]]  # ModelTiers, then RoutingPolicies
    secrets: tuple[SecretSource, ...]  # what the manifests' secretRefs need
    unsupported: list[Finding]


def convert(config: Any, *, namespace: str | None = None, environ: Mapping[str, str] | None = None) -> Imported:
    """The manifests and what could not be carried over. `environ` resolves addresses, never keys.

    Raises `NotLiteLLM` for something without a `model_list`; everything below it that is odd becomes a finding.
    """
    if not isinstance(config, Mapping) or not isinstance(config.get("model_list"), list):
        raise NotLiteLLM("there is no model_list in it, so it is no config of the LiteLLM proxy")
    findings = Findings()
    stated = _Settings(mapping(config), findings)
    defaults = Defaults(stated.timeout, stated.stream_timeout, _credentials(config), environ or {})
    found = (deployment(raw, f"model_list[{at}]", defaults, findings) for at, raw in enumerate(config["model_list"]))
    secrets: dict[str, SecretSource] = {}
    groups: dict[str, list[Deployment]] = {}
    for it in found:
        if it is not None:
            groups.setdefault(it.group, []).append(_settled(it, secrets))
    tiers, names = _tiers(groups, stated.selection, findings)
    policies = _policies(groups, names, stated, findings)
    note_unsupported(mapping(config), findings)
    manifests = [*tiers, *policies]
    for manifest in manifests:
        manifest["metadata"] |= {"namespace": namespace} if namespace else {}
    return Imported(manifests, tuple(secrets.values()), findings)


def _settled(made: Deployment, secrets: dict[str, SecretSource]) -> Deployment:
    """Two keys never share a Secret's name, or one provider would get the other's."""
    if made.secret is None:
        return made
    source = made.secret.named(next((it.name for it in secrets.values() if _same_key(it, made.secret)), ""))
    if not source.name:
        source = source.named(unique(made.secret.name, set(secrets)))
    secrets[source.name] = source
    return made.with_secret(source)


def _same_key(one: SecretSource, other: SecretSource) -> bool:
    return (one.variable, one.literal) == (other.variable, other.literal)


class _Settings:
    """`router_settings` and `litellm_settings` together; the former wins, as in LiteLLM."""

    def __init__(self, config: dict[str, Any], findings: Findings) -> None:
        router, module = mapping(config.get("router_settings")), mapping(config.get("litellm_settings"))
        self.findings = findings
        self.timeout = router.get("timeout", module.get("request_timeout"))
        self.stream_timeout = router.get("stream_timeout")
        self.retries = number(router.get("num_retries", module.get("num_retries")))
        self.fallbacks = self._lists(router, module, "fallbacks")
        self.for_context = self._lists(router, module, "context_window_fallbacks")
        default = router.get("default_fallbacks") or module.get("default_fallbacks")
        if isinstance(default, list):
            self.fallbacks.setdefault("*", [str(group) for group in default])
        self.aliases = {**mapping(module.get("model_alias_map")), **mapping(router.get("model_group_alias"))}
        self.selection = self._selection(router.get("routing_strategy", DEFAULT_STRATEGY))

    def _selection(self, stated: Any) -> Selection:
        strategy, where = str(stated), "router_settings.routing_strategy"
        if strategy not in _SELECTIONS:
            why = "Weir selects Cheapest, LeastLatency or Weighted"
            self.findings.note(where, "unknown strategy", why, "set selection of the tiers; it is Cheapest now")
        elif strategy in _APPROXIMATE:
            instead = "set selection of the tiers if another suits better"
            self.findings.note(where, strategy, _APPROXIMATE[strategy], instead)
        return _SELECTIONS.get(strategy, Selection.CHEAPEST)

    def _lists(self, router: dict[str, Any], module: dict[str, Any], name: str) -> dict[str, list[str]]:
        """`[{group: [fallback, ...]}, ...]` as one mapping."""
        section, stated = (
            ("router_settings", router.get(name)) if router.get(name) else ("litellm_settings", module.get(name))
        )
        chains: dict[str, list[str]] = {}
        for at, item in enumerate(stated if isinstance(stated, list) else ()):
            for group, chain in mapping(item).items():
                chains[group] = list(self._targets(chain, f"{section}.{name}[{at}].{group}"))
        return chains

    def _targets(self, chain: Any, where: str) -> Iterator[str]:
        for target in chain if isinstance(chain, list) else ():
            if isinstance(target, str):
                yield target
            elif isinstance(model := mapping(target).get("model"), str):
                self.findings.note(
                    where,
                    f"only the model of the fallback {model}",
                    "a fallback gets the caller's request, without changes",
                    "nothing",
                )
                yield model


def _credentials(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    stated = config.get("credential_list")
    entries = [mapping(item) for item in stated] if isinstance(stated, list) else []
    return {str(entry.get("credential_name")): mapping(entry.get("credential_values")) for entry in entries}


def _tiers(
    groups: dict[str, list[Deployment]], selection: Selection, findings: Findings
) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """The ModelTiers, and the names of each group's, first choice first."""
    manifests: list[dict[str, Any]] = []
    names: dict[str, list[str]] = {}
    taken: set[str] = set()
    for group, members in groups.items():
        for order in sorted({it.order for it in members}):
            name = unique(slug(group), taken)
            names.setdefault(group, []).append(name)
            backends = _backends(
                [it for it in members if it.order == order], selection, f"model group {group}", findings
            )
            manifests.append(_manifest("ModelTier", name, {"selection": selection.value, "backends": backends}))
    return manifests, names


def _backends(members: list[Deployment], selection: Selection, where: str, findings: Findings) -> list[dict[str, Any]]:
    if len(members) > MAX_BACKENDS:
        findings.note(
            where,
            f"{len(members) - MAX_BACKENDS} deployments left out",
            f"a tier has {MAX_BACKENDS} backends at most",
            "spread them over two tiers",
        )
    taken: set[str] = set()
    kept = members[:MAX_BACKENDS]
    weights = _weights(kept) if selection is Selection.WEIGHTED else [None] * len(kept)
    backends = []
    for it, weight in zip(kept, weights, strict=True):
        backend = it.backend | {"name": unique(it.backend["name"], taken)}
        if weight == 0:
            findings.note(
                where,
                f"{backend['name']} disabled",
                "a weight of 0 gets no requests; a weight is at least 1",
                "set state: Active to bring it back",
            )
            backend["state"] = BackendState.DISABLED.value
        elif weight not in (None, 1):
            backend["weight"] = weight
        backends.append(backend)
    return backends


def _weights(members: list[Deployment]) -> list[int]:
    """Whole weights from 1 to 1000 in the same ratio; 0 stays 0. One that states none shares as the smallest does."""
    stated = [it.share for it in members if it.share]
    if not stated:
        return [0 if it.share == 0 else 1 for it in members]
    shares = [Fraction(min(stated) if it.share is None else it.share) for it in members]
    whole_shares = [int(share * lcm(*(it.denominator for it in shares))) for share in shares]
    weights = [share // gcd(*whole_shares) for share in whole_shares]
    if max(weights) <= MAX_WEIGHT:
        return weights
    return [0 if weight == 0 else max(1, round(Fraction(weight * MAX_WEIGHT, max(weights)))) for weight in weights]


def _policies(
    groups: dict[str, list[Deployment]], names: dict[str, list[str]], stated: _Settings, findings: Findings
) -> list[dict[str, Any]]:
    aliases = _aliases(groups, stated, findings)
    taken: set[str] = set()
    policies = []
    for group in groups:
        chain = _chain(group, groups, stated, findings)
        tiers = [{"name": name} for it in chain for name in names[it]]
        if len(tiers) > MAX_TIERS:
            findings.note(
                f"model group {group}",
                f"{len(tiers) - MAX_TIERS} fallbacks left out",
                f"a route has {MAX_TIERS} tiers at most",
                "shorten the chain",
            )
        spec: dict[str, Any] = {
            "models": [{"name": name} for name in (group, *aliases.get(group, ()))][:MAX_MODELS],
            "routes": [{"name": "all", "tiers": tiers[:MAX_TIERS]}],
        }
        # Every tier of the chain gets its turn; LiteLLM retries within a group before it leaves it.
        tries = ATTEMPTS if stated.retries is None else 1 + int(stated.retries)
        attempts = min(MAX_ATTEMPTS, tries + len(tiers) - 1)
        if attempts != ATTEMPTS:
            spec["failover"] = {"attempts": attempts}
        policies.append(_manifest("RoutingPolicy", unique(slug(group), taken), spec))
    return policies


def _aliases(groups: Mapping[str, Any], stated: _Settings, findings: Findings) -> dict[str, list[str]]:
    """Other names of each group."""
    aliases: dict[str, list[str]] = {}
    for alias, target in stated.aliases.items():
        group, where = text(mapping(target).get("model", target)), f"router_settings.model_group_alias.{alias}"
        if group is None or group not in groups or alias in groups or not TOKEN.fullmatch(alias):
            why = "it stands for no imported model group, or is one itself"
            findings.note(where, "left out", why, "correct it and import again")
            continue
        if mapping(target).get("hidden"):
            findings.note(where, "not hidden", "GET /v1/models lists every name that a caller may ask for", "nothing")
        aliases.setdefault(group, []).append(alias)
    return aliases


def _chain(group: str, groups: Mapping[str, Any], stated: _Settings, findings: Findings) -> list[str]:
    """The group, its fallbacks depth first, then what LiteLLM asks only when the context is too long."""
    chain: list[str] = []
    _walk(group, stated, chain)
    for target in stated.for_context.get(group, stated.for_context.get("*", ())):
        if target not in chain:
            chain.append(target)
            findings.note(
                f"context_window_fallbacks of {group}",
                f"{target} also takes over when everything before it fails",
                "a tier is not for one kind of error; what is too long goes to the larger contexts of the route anyway",
                "take the tier out of the route if it is too dear for that",
            )
    for target in chain:
        if target not in groups:
            findings.note(
                f"fallbacks of {group}",
                f"{target} left out",
                "there is no imported model group of that name",
                "add it to model_list",
            )
    return [it for it in chain if it in groups]


def _walk(group: str, stated: _Settings, chain: list[str]) -> None:
    pending = [group]
    while pending:
        current = pending.pop(0)
        if current not in chain:
            chain.append(current)
            pending = [*stated.fallbacks.get(current, stated.fallbacks.get("*", ())), *pending]


def _manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
