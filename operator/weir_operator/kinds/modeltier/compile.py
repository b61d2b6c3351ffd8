"""ModelTier → `contract.Tier`, its grants, and the credentials that it uses. Pure; the step of one tier.

A backend that is a Service is one backend here, called by its name; `CompiledTier.expanded` puts its endpoints in its
place. So compiled tiers, and the policies that use them, stay the same while pods come and go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import msgspec
from msgspec.structs import replace as replaced

from weir_operator.compile.callers import limit, resolve
from weir_operator.compile.catalogue import Entry
from weir_operator.compile.report import Report
from weir_operator.compile.room import MAX_CREDENTIAL, MAX_ENDPOINTS_OF_TIER, MAX_TIER, size, too_large
from weir_operator.compile.step import Around, Lookup
from weir_operator.kinds.modeltier import schema
from weir_operator.kinds.modeltier.checks import BACKEND_CHECKS, TIER_CHECKS, BackendFacts, TierFacts
from weir_operator.kinds.modeltier.classes import OtherClasses
from weir_operator.kinds.modeltier.dialects import OWN_FORMATS, account_of
from weir_operator.kinds.modeltier.price import PriceSpec
from weir_operator.kinds.modeltier.request import ParametersSpec, default_of, extra_of
from weir_operator.kinds.modeltier.services import Services, base_url_of, path_of
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import Observed, SecretKey
from weir_operator.problems.finding import findings, removed
from weir_operator.schemas.common import From, ObjectivesSpec, RateLimits, seconds
from weir_operator.schemas.rules import unstated
from weir_router import contract
from weir_router.contract import BackendState

T = TypeVar("T")

SERVICE, ENDPOINTS, OTHER_CLASS = "Service", "Endpoints of a Service", "Class of a tier that is not served here"
"""Sorts of questions to `Around.look`: facts of a Service, the endpoints that it has now, and `OtherClasses`."""

MAX_ENDPOINT = 128
"""Bytes by which an endpoint's address, which stands there twice, makes a backend larger, at most."""

WEIGHT_SCALE = 1_000
"""Factor of weights before endpoints share them, since they are whole numbers."""


@dataclass(frozen=True)
class Grant:
    """A grant with its namespaces resolved; None: all."""

    namespaces: frozenset[str] | None
    limits: RateLimits | None
    priority: contract.Priority = contract.Priority.NORMAL


@dataclass(frozen=True)
class CompiledTier:
    """A tier, who may route to it, and what it needs to be called."""

    tier: contract.Tier
    grants: tuple[Grant, ...]
    credentials: Mapping[str, str] = field(repr=False)  # hash -> value
    references: Mapping[str, schema.BackendSpec] = field(default_factory=dict)  # backends that are Services, by name

    def expanded(self, endpoints_of: Callable[..., tuple[str, ...]]) -> contract.Tier:
        """The tier with a backend per endpoint."""
        if not self.references:
            return self.tier
        # Endpoints of one backend have its weight together: each of the others gets so much more.
        scale = WEIGHT_SCALE if self.tier.selection is contract.Selection.WEIGHTED else 1
        backends: list[contract.Backend] = []
        most = self._endpoints_of_each
        for backend in self.tier.backends:
            stated = self.references.get(backend.name)
            endpoints = endpoints_of(stated.backend_ref, self.tier.namespace)[:most] if stated else ()
            if scale > 1:
                backend = replaced(backend, weight=max(1, backend.weight * scale // max(1, len(endpoints))))
            if stated is None or not endpoints:
                backends.append(backend)
            else:
                backends += (
                    replaced(
                        backend,
                        base_url=f"http://{it}{path_of(stated)}",
                        endpoint=it,
                        account=backend.account and account_of(backend.account, it),
                    )
                    for it in endpoints
                )
        return replaced(self.tier, backends=tuple(backends))

    @cached_property
    def _endpoints_of_each(self) -> int:
        """The endpoints that each Service may have here: all of them together stay within a bound."""
        together = sum(size(it) + MAX_ENDPOINT for it in self.tier.backends if it.name in self.references)
        return max(1, MAX_ENDPOINTS_OF_TIER // together)

    @cached_property
    def size(self) -> int:
        """Bytes of the tier as JSON, without endpoints."""
        return size(self.tier)

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.tier.namespace}/{self.tier.name}"

    def reference(self, namespace: str) -> contract.TierRef | None:
        """The tier for policies of `namespace`, with the limits of every grant that lets them in, and the highest
        priority; None: none does.
        """
        matching = [
            (number, grant)
            for number, grant in enumerate(self.grants)
            if grant.namespaces is None or namespace in grant.namespaces
        ]
        if not matching:
            return None
        limits = (limit(f"grant/{self.key}/{number}/{namespace}", grant.limits) for number, grant in matching)
        high = any(grant.priority is contract.Priority.HIGH for _, grant in matching)
        return contract.TierRef(
            tier=self.key,
            limits=tuple(it for it in limits if it is not None),
            priority=contract.Priority.HIGH if high else contract.Priority.NORMAL,
        )


def facts(observed: Observed) -> Mapping[str, Lookup]:
    """The questions that a tier may ask about Services, and a policy about tiers of other classes."""
    services = Services.of(observed)
    others = OtherClasses(observed)
    return {SERVICE: services.facts, ENDPOINTS: services.endpoints, OTHER_CLASS: others.granting}


def compile_one(spec: schema.ModelTierSpec, report: Report, around: Around) -> CompiledTier | None:
    """The tier; None if it is too large."""
    tier = compile_tier(spec, report, around)
    if tier.size <= MAX_TIER:
        return tier
    too_large(report, tier.size, MAX_TIER, "Make several tiers of it.")
    return None


def compile_tier(spec: schema.ModelTierSpec, report: Report, around: Around) -> CompiledTier:
    """The tier with the backends that can be used; problems go to `report`."""
    manifest = report.manifest
    backends: list[contract.Backend] = []
    credentials: dict[str, str] = {}
    references: dict[str, schema.BackendSpec] = {}
    for number, stated in enumerate(spec.backends):
        stated_url = stated.base_url or base_url_of(stated, manifest.namespace)
        known = around.catalogue.find(stated.provider, stated.base_model or stated.model, stated_url)
        facts = _facts(stated, stated_url, manifest.namespace, around, known)
        found = findings(BACKEND_CHECKS, facts)
        report.add(f"spec.backends[{number}]", found)
        if removed(found):
            continue
        credential = None
        if facts.value is not None:
            credential = contract.digest(facts.value.encode())
            credentials[credential] = facts.value
        backends.append(_backend(stated, spec, facts, credential, known))
        if facts.service is not None:
            references[stated.name] = stated
    tier = contract.Tier(
        namespace=manifest.namespace, name=manifest.name, selection=spec.selection, backends=tuple(backends)
    )
    namespaces = around.namespaces
    unknown = namespaces is None and any(it.namespaces.from_ is From.SELECTOR for it in spec.grants)
    report.add("spec", findings(TIER_CHECKS, TierFacts(tier, unknown)))
    grants = (
        Grant(
            resolve(grant.namespaces, manifest.namespace, namespaces),
            grant.limits,
            contract.Priority((grant.priority or schema.GrantPriority.NORMAL).value),
        )
        for grant in spec.grants
    )
    return CompiledTier(tier, tuple(grants), credentials, references)


def _facts(
    stated: schema.BackendSpec,
    stated_url: str | None,
    namespace: str,
    around: Around,
    known: Entry | None,
) -> BackendFacts:
    observed = around.observed
    reference = stated.credentials.secret_ref if stated.credentials else None
    secret, value = None, None
    if reference is not None:
        secret = observed.secrets.get(ObjectName(namespace, reference.name))
        if secret is None:
            value = observed.environment.get(SecretKey(namespace, reference.name, reference.key))
        elif reference.key in secret.data:
            # `echo key | base64` leaves a line end that no header could carry.
            value = secret.data[reference.key].rstrip(b"\r\n")[: MAX_CREDENTIAL + 1].decode("utf-8", "replace")
    return BackendFacts(
        namespace=namespace,
        base_url=(stated_url or schema.DEFAULT_BASE_URL[stated.provider]).rstrip("/"),
        model=stated.model,
        price=_price(stated.price or unstated(PriceSpec), known),
        reference=reference,
        secret=secret,
        value=value,
        service=around.look(SERVICE, stated.backend_ref, namespace) if stated.backend_ref is not None else None,
        hosts=observed.hosts,
        gateway=observed.gateway,
    )


def _backend(
    stated: schema.BackendSpec,
    spec: schema.ModelTierSpec,
    facts: BackendFacts,
    credential: str | None,
    known: Entry | None,
) -> contract.Backend:
    capabilities = known.capabilities if known else None
    formats, secret = _formats(stated, facts.base_url), facts.reference
    holder = () if secret is None else (facts.namespace, secret.name, secret.key)
    return contract.Backend(
        name=stated.name,
        provider=stated.provider,
        base_url=facts.base_url,
        model=stated.model,
        credential=credential,
        price=facts.price,
        limits=_limits(stated.limits or unstated(schema.BackendLimitsSpec), known),
        capabilities=frozenset(stated.capabilities) if stated.capabilities is not None else capabilities,
        objectives=_objectives(
            stated.objectives or unstated(ObjectivesSpec), spec.objectives or unstated(ObjectivesSpec)
        ),
        timeouts=_timeouts(
            stated.timeouts or unstated(schema.TimeoutsSpec), spec.timeouts or unstated(schema.TimeoutsSpec)
        ),
        breaker=_breaker(spec.breaker or unstated(schema.Breaker)),
        parameters=_parameters(stated.parameters or unstated(ParametersSpec), known),
        labels=dict(stated.labels or {}),
        state=BackendState.DISABLED if facts.service is not None and facts.service.idle else stated.state,
        weight=stated.weight or 1,
        transport=stated.transport,
        traits=known.traits if known else contract.Traits(),
        extra=extra_of(stated.headers, stated.query, stated.credentials.header if stated.credentials else None),
        formats=formats,
        endpoints=tuple([endpoint.value for endpoint in stated.endpoints or ()]),
        base_model=stated.base_model if stated.base_model != stated.model else None,
        account=account_of(facts.base_url, *holder) if contract.WireFormat.RESPONSES in formats else "",
    )


def _formats(stated: schema.BackendSpec, base_url: str) -> tuple[str, ...]:
    """The wire formats of a backend; empty: its provider's first one."""
    formats = stated.dialects
    if formats is None and base_url == schema.DEFAULT_BASE_URL[stated.provider]:
        formats = OWN_FORMATS[stated.provider]
    return tuple([format.value for format in dict.fromkeys(formats or ())])


def _either(first: T | None, second: T | None) -> T | None:
    return second if first is None else first


def _price(stated: PriceSpec, known: Entry | None) -> contract.Price | None:
    """Figure by figure; without both input and output there is no price."""
    ours = {name: None if text is None else float(text) for name, text in stated if name != "steps"}
    theirs = msgspec.structs.asdict(known.price) if known else {}
    both: dict[str, float | None] = {name: _either(figure, theirs.get(name)) for name, figure in ours.items()}
    if both["input"] is None or both["output"] is None:
        return None
    borrowed = any(both[name] is not None and ours[name] is None for name in ours)
    own = any(figure is not None for figure in ours.values())
    return contract.Price(
        input=both["input"],
        output=both["output"],
        cached_input=both["cached_input"],
        cache_write=both["cache_write"],
        source=" and ".join(["spec"] * own + [theirs.get("source", "")] * borrowed),
        cache_write_long=both["cache_write_long"],
        steps=_steps(stated, known),
    )


def _steps(stated: PriceSpec, known: Entry | None) -> tuple[contract.PriceStep, ...]:
    """The steps for long prompts. The catalogue's go with its own prices only."""
    if stated.steps is None:
        return known.price.steps if known and stated.input is None and stated.output is None else ()
    steps = (
        contract.PriceStep(
            above=step.above,
            **{name: float(value) for name, value in step if name != "above" and value is not None},
        )
        for step in stated.steps
    )
    return tuple(sorted(steps, key=lambda step: step.above))


def _limits(stated: schema.BackendLimitsSpec, known: Entry | None) -> contract.BackendLimits:
    theirs = known.limits if known else contract.BackendLimits()
    return contract.BackendLimits(
        context_tokens=_either(stated.context_tokens, theirs.context_tokens),
        effective_context_tokens=_either(stated.effective_context_tokens, theirs.effective_context_tokens),
        output_tokens=_either(stated.output_tokens, theirs.output_tokens),
        concurrency=_either(stated.concurrency, theirs.concurrency),
    )


def _objectives(own: ObjectivesSpec, tier: ObjectivesSpec) -> contract.Objectives:
    speed = _either(own.tokens_per_second, tier.tokens_per_second)
    return contract.Objectives(
        ttft=_clock(own.ttft, tier.ttft), tokens_per_second=None if speed is None else float(speed)
    )


def _timeouts(own: schema.TimeoutsSpec, tier: schema.TimeoutsSpec) -> contract.Timeouts:
    return contract.Timeouts(
        connect=_clock(own.connect, tier.connect),
        ttft=_clock(own.ttft, tier.ttft),
        idle=_clock(own.idle, tier.idle),
        total=_clock(own.total, tier.total),
    )


def _breaker(stated: schema.Breaker) -> contract.BreakerKnobs:
    return contract.BreakerKnobs(
        consecutive_failures=stated.consecutive_failures,
        failure_percent=stated.failure_percent,
        minimum_requests=stated.minimum_requests,
        open_for=_clock(stated.open_for, None),
        max_open_for=_clock(stated.max_open_for, None),
        max_retry_after=_clock(stated.max_retry_after, None),
        probes=stated.probes,
        slow_start=_clock(stated.slow_start, None),
    )


def _clock(own: str | None, tier: str | None) -> float | None:
    text = _either(own, tier)
    return None if text is None else seconds(text)


def _parameters(stated: ParametersSpec, known: Entry | None) -> contract.Parameters:
    theirs = known.parameters if known else contract.Parameters()
    return contract.Parameters(
        drop=theirs.drop if stated.drop is None else stated.drop,
        rename=theirs.rename if stated.rename is None else stated.rename,
        defaults={name: default_of(text) for name, text in (stated.defaults or {}).items()},
    )
