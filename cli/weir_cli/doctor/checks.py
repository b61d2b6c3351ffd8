"""The usual mistakes of an installation, as a list of named checks. PURE; `weir_cli.doctor.look` gathers for them.

Each check gives one finding: good; bad or a warning, with what to do; or unknown where we were not allowed to look.
Never guess: "could not look" is not "is wrong".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from weir_operator.kinds import KINDS
from weir_operator.schemas import GROUP

SKEW_SECONDS = 30.0
"""Seconds by which clocks may differ: half of the tolerance in verifying a token."""

OLDEST = (1, 30)
"""The chart's oldest Kubernetes."""

EXPIRY_DAYS = 7
"""Days for which an authority should still be valid: the operator renews its own long before."""

SHOWN = 5
"""Objects that one finding names; the hundredth only hides them."""

CRDS = tuple(f"{kind.plural}.{GROUP}" for kind in KINDS)


class Verdict(StrEnum):
    """Verdict of one check."""

    GOOD = "good"
    BAD = "bad"
    WARNING = "warning"  # it works, and could be safer
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    check: str
    verdict: Verdict
    message: str
    action: str = ""


@dataclass(frozen=True)
class Unseen:
    """We could not look; says why."""

    why: str


@dataclass(frozen=True)
class Workload:
    """A Deployment."""

    ready: int
    wanted: int


@dataclass(frozen=True)
class Credential:
    """A Secret that a backend refers to, without its values."""

    tier: str  # namespace/name
    secret: str  # namespace/name
    exists: bool
    consents: bool  # has the label


@dataclass(frozen=True)
class Unready:
    """An object that does not do what it is there for, in the words of its status."""

    object: str  # "ModelTier llm/budget"
    reason: str
    message: str


@dataclass(frozen=True)
class Seen:
    """Everything that was looked at; `Unseen` where that failed."""

    installation: str
    namespace: str
    version: tuple[int, int] | Unseen
    skew: float | Unseen  # seconds that this machine's clock is ahead of the API server's
    crds: frozenset[str] | Unseen  # those that are established
    workloads: Mapping[str, Workload] | Unseen  # by Deployment
    rights: Mapping[str, bool] | Unseen  # what the operator needs -> whether it may
    bundle: str | Unseen | None  # the authority that routers trust; None: absent
    webhook: frozenset[str] | Unseen | None  # caBundles of the sidecars' webhooks; None: there are none
    published: int | Unseen | None  # revision of the index; None: absent
    routers: Mapping[str, tuple[int | None, str | None]] | Unseen  # revision, and why a newer one is refused
    credentials: tuple[Credential, ...] | Unseen = field(default=())
    lacking: tuple[str, ...] | Unseen = ()  # fields that this command knows, and the CRDs do not
    services: Mapping[str, int | None] | Unseen = field(default_factory=dict)  # -> ready endpoints; None: absent
    expires: float | Unseen | None = None  # seconds until no authority of `bundle` is valid any more
    unready: tuple[Unready, ...] | Unseen = ()
    unjudged: tuple[str, ...] | Unseen = ()  # objects that no operator has written a status of
    left_open: tuple[str, ...] | Unseen = ()  # ports that every pod of the cluster can reach
    tls: bool | Unseen = True  # the gateway's Service has a port with TLS
    unused: tuple[str, ...] | Unseen = ()  # policies whose callers are of namespaces that are not there


Check = Callable[[Seen], Finding]


def examine(seen: Seen) -> list[Finding]:
    """Every check, in the order in which things depend on each other."""
    return [check(seen) for check in CHECKS]


def kubernetes(seen: Seen) -> Finding:
    """Is it new enough?"""
    if isinstance(seen.version, Unseen):
        return _unknown("Kubernetes", seen.version)
    text = ".".join(map(str, seen.version))
    if seen.version < OLDEST:
        return _bad("Kubernetes", f"{text} is too old", f"Weir needs {'.'.join(map(str, OLDEST))} or newer")
    return _good("Kubernetes", text)


def clock(seen: Seen) -> Finding:
    """Do this machine and the API server agree about the time?"""
    if isinstance(seen.skew, Unseen):
        return _unknown("clock", seen.skew)
    if abs(seen.skew) > SKEW_SECONDS:
        way = "ahead of" if seen.skew > 0 else "behind"
        action = "If it is not this machine's that is wrong, tokens may be refused: see the nodes' time synchronisation"
        return _bad("clock", f"this machine is {abs(seen.skew):.0f} s {way} the API server", action)
    return _good("clock", "within a few seconds")


def crds(seen: Seen) -> Finding:
    """Are both kinds there?"""
    if isinstance(seen.crds, Unseen):
        return _unknown("CRDs", seen.crds)
    missing = [name for name in CRDS if name not in seen.crds]
    if missing:
        return _bad("CRDs", f"not established: {', '.join(missing)}", "kubectl apply -f crds/, or crds.install=true")
    if isinstance(seen.lacking, Unseen):
        return _unknown("CRDs", seen.lacking)
    if seen.lacking:
        action = "kubectl apply --server-side -f crds/ of the operator's version; Helm upgrades them with crds.install"
        return _bad("CRDs", f"older than this weir: they lack {_named(seen.lacking)}", action)
    return _good("CRDs", "both kinds are served")


def pods(seen: Seen) -> Finding:
    """Do operator and gateway run?"""
    if isinstance(seen.workloads, Unseen):
        return _unknown("pods", seen.workloads)
    found = seen.workloads
    wanted = (f"{seen.installation}-operator", f"{seen.installation}-gateway")
    absent = [name for name in wanted if name not in found]
    if absent:
        action = "say --namespace and --installation (the release's name), or install the chart"
        return _bad("pods", f"no Deployment {', '.join(absent)} in namespace {seen.namespace}", action)
    short = [f"{name} {it.ready}/{it.wanted}" for name, it in found.items() if it.ready < it.wanted]
    if short:
        return _bad("pods", f"not ready: {', '.join(short)}", f"kubectl describe pods --namespace {seen.namespace}")
    return _good("pods", ", ".join(f"{name} {it.ready}/{it.wanted}" for name, it in found.items()))


def rights(seen: Seen) -> Finding:
    """May the operator do what it has to?"""
    if isinstance(seen.rights, Unseen):
        return _unknown("rights", seen.rights)
    missing = sorted(name for name, allowed in seen.rights.items() if not allowed)
    if missing:
        action = "let the chart make them (rbac.create), or see Rights in docs/install.md"
        return _bad("rights", f"the operator may not: {'; '.join(missing)}", action)
    return _good("rights", f"the operator has all {len(seen.rights)} that were asked about")


def authority(seen: Seen) -> Finding:
    """Do routers, and the API server, trust the certificate that the operator serves with?"""
    for part in (seen.bundle, seen.webhook):
        if isinstance(part, Unseen):
            return _unknown("certificate", part)
    if seen.bundle is None:
        action = "the operator makes it: see its log, and that it may write ConfigMaps and Secrets in its namespace"
        return _bad("certificate", f"there is no ConfigMap {seen.installation}-ca", action)
    if isinstance(seen.webhook, frozenset) and seen.webhook != {seen.bundle}:
        action = "the operator puts it there: see its log, and that no other tool writes caBundle"
        return _bad("certificate", "the sidecars' webhook does not have the present authority: no pod gets one", action)
    if isinstance(seen.expires, Unseen):
        return _unknown("certificate", seen.expires)
    if seen.expires is not None and seen.expires < EXPIRY_DAYS * 86_400:
        when = f"ends in {seen.expires / 3600:.0f} h" if seen.expires > 0 else "has ended"
        return _bad(
            "certificate", f"the authority in ConfigMap {seen.installation}-ca {when}", "see the operator's log"
        )
    return _good("certificate", "routers and webhook have the operator's authority")


def config(seen: Seen) -> Finding:
    """Do routers run what is published?"""
    if isinstance(seen.published, Unseen):
        return _unknown("config", seen.published)
    if isinstance(seen.routers, Unseen):
        return _unknown("config", seen.routers)
    if seen.published is None:
        return _bad("config", "nothing is published", "see the operator's /readyz and log, which name the missing part")
    refused = [f"{name}: {why}" for name, (_, why) in seen.routers.items() if why]
    if refused:
        return _bad("config", f"refused by {'; '.join(refused)}", "upgrade routers together with the operator")
    behind = [name for name, (revision, _) in seen.routers.items() if (revision or 0) < seen.published]
    if behind:
        action = "they poll the operator: see their logs for config server, certificate and token"
        return _bad("config", f"older than revision {seen.published}: {', '.join(sorted(behind))}", action)
    return _good("config", f"revision {seen.published} runs on {len(seen.routers)} routers")


def credentials(seen: Seen) -> Finding:
    """Are the Secrets there that tiers refer to, and do they consent?"""
    if isinstance(seen.credentials, Unseen):
        return _unknown("credentials", seen.credentials)
    absent = [f"{it.secret} (of {it.tier})" for it in seen.credentials if not it.exists]
    if absent:
        return _bad("credentials", f"no Secret {', '.join(absent)}", "create it in the tier's namespace")
    silent = sorted({it.secret for it in seen.credentials if not it.consents})
    if silent:
        namespace, _, name = silent[0].partition("/")
        action = f"kubectl label secret --namespace {namespace} {name} weir.dev/credential=true"
        return _bad("credentials", f"without the label weir.dev/credential: {', '.join(silent)}", action)
    return _good("credentials", f"all {len(seen.credentials)} that tiers refer to are there and labelled")


def services(seen: Seen) -> Finding:
    """Do the names that callers and routers use lead anywhere?"""
    if isinstance(seen.services, Unseen):
        return _unknown("Services", seen.services)
    absent = [name for name, ready in seen.services.items() if ready is None]
    if absent:
        return _bad("Services", f"not there: {', '.join(absent)}", "the chart makes them: helm get manifest")
    empty = [name for name, ready in seen.services.items() if ready == 0]
    if empty:
        action = "see whether the pods that they select are ready: kubectl get endpointslices"
        return _bad("Services", f"without a ready endpoint: {', '.join(empty)}", action)
    return _good("Services", ", ".join(f"{name} {ready}" for name, ready in seen.services.items()))


def objects(seen: Seen) -> Finding:
    """Do all ModelTiers and RoutingPolicies do what they are there for?"""
    for part in (seen.unready, seen.unjudged):
        if isinstance(part, Unseen):
            return _unknown("objects", part)
    if seen.unready:
        told = [f"{it.object} ({it.reason}: {it.message})" for it in seen.unready]  # type: ignore[union-attr]
        return _bad("objects", f"not ready: {_named(told)}", "kubectl describe tells each condition")
    if seen.unjudged:
        action = "is their className this installation's? Does the operator look at their namespaces?"
        return _bad("objects", f"no operator has looked at {_named(seen.unjudged)}", action)  # type: ignore[arg-type]
    return _good("objects", "every ModelTier and RoutingPolicy is ready")


def callers(seen: Seen) -> Finding:
    """Can anybody use each policy?"""
    if isinstance(seen.unused, Unseen):
        return _unknown("callers", seen.unused)
    if seen.unused:
        action = "see spec.callers: it names or selects no namespace that is there"
        return _bad("callers", f"no caller can use RoutingPolicy {_named(seen.unused)}", action)
    return _good("callers", "every RoutingPolicy has callers")


def network(seen: Seen) -> Finding:
    """Are metrics and the config server closed to pods that have no business there?"""
    if isinstance(seen.left_open, Unseen):
        return _unknown("network", seen.left_open)
    if seen.left_open:
        action = (
            "networkPolicy.enabled, networkPolicy.monitoring with the namespace that scrapes, and "
            "networkPolicy.apiServer with the API server's addresses"
        )
        return Finding("network", Verdict.WARNING, f"every pod can reach {'; '.join(seen.left_open)}", action)
    return _good("network", "metrics and the config server are not open to every pod")


def tls(seen: Seen) -> Finding:
    """Do prompts and tokens cross the cluster encrypted?"""
    if isinstance(seen.tls, Unseen):
        return _unknown("TLS", seen.tls)
    if not seen.tls:
        message = "callers send prompts and tokens to the gateway without TLS"
        return Finding("TLS", Verdict.WARNING, message, "gateway.tls.secretName, unless a service mesh encrypts")
    return _good("TLS", "the gateway serves callers over TLS")


CHECKS: tuple[Check, ...] = (
    kubernetes,
    clock,
    crds,
    pods,
    services,
    rights,
    authority,
    config,
    credentials,
    objects,
    callers,
    network,
    tls,
)


def _named(names: Sequence[str]) -> str:
    rest = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + rest


def _good(check: str, message: str) -> Finding:
    return Finding(check, Verdict.GOOD, message)


def _bad(check: str, message: str, action: str) -> Finding:
    return Finding(check, Verdict.BAD, message, action)


def _unknown(check: str, unseen: Unseen) -> Finding:
    return Finding(check, Verdict.UNKNOWN, unseen.why)
