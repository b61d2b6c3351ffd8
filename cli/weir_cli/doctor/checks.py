"""The usual mistakes of an installation, as a list of named checks. PURE; `weir_cli.doctor.look` gathers for them.

Each check gives its findings: good; bad or warnings, with what to do; or unknown where we were not allowed to look.
Never guess: "could not look" is not "is wrong". Two mistakes are two findings: neither hides the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from weir_cli.doctor.finding import Finding, Unseen, Verdict, bad, good, named, unknown, warning
from weir_cli.doctor.object_checks import backends, callers, credentials, objects, sidecars
from weir_cli.doctor.seen import Seen
from weir_operator.kinds import KINDS
from weir_operator.schemas import GROUP
from weir_operator.sidecar.expected import MADE_ANEW, MENDS, configuration_name

SKEW_SECONDS = 30.0
"""Seconds by which clocks may differ: half of the tolerance in verifying a token."""

OLDEST = (1, 30)
"""The chart's oldest Kubernetes."""

EXPIRY_DAYS = 7
"""Days for which an authority should still be valid: the operator renews its own long before."""

CRDS = tuple(f"{kind.plural}.{GROUP}" for kind in KINDS)

APPLY_CRDS = "kubectl apply --server-side --force-conflicts -f crds/"
"""The command for older CRDs. The flag takes the fields over from Helm 4 and from other tools."""

Check = Callable[[Seen], Iterator[Finding]]

NOT_ALONE = ("Kubernetes", "clock", "CRDs")
"""Checks that every user of a cluster can make: alone they say nothing of an installation."""


def examine(seen: Seen) -> list[Finding]:
    """Every check, in the order in which things depend on each other."""
    return [finding for check in CHECKS for finding in check(seen)]


def saw_nothing(findings: list[Finding]) -> bool:
    """Whether the user's rights allow no check that says something of the installation."""
    return all(it.verdict is Verdict.UNKNOWN for it in findings if it.check not in NOT_ALONE)


def kubernetes(seen: Seen) -> Iterator[Finding]:
    """Is it new enough?"""
    if isinstance(seen.version, Unseen):
        yield unknown("Kubernetes", seen.version)
        return
    text = ".".join(map(str, seen.version))
    if seen.version < OLDEST:
        yield bad("Kubernetes", f"{text} is too old", f"Weir needs {'.'.join(map(str, OLDEST))} or newer")
    else:
        yield good("Kubernetes", text)


def clock(seen: Seen) -> Iterator[Finding]:
    """Do this machine and the API server agree about the time?"""
    if isinstance(seen.skew, Unseen):
        yield unknown("clock", seen.skew)
    elif abs(seen.skew) > SKEW_SECONDS:
        way = "ahead of" if seen.skew > 0 else "behind"
        action = "If it is not this machine's that is wrong, tokens may be refused: see the nodes' time synchronisation"
        yield bad("clock", f"this machine is {abs(seen.skew):.0f} s {way} the API server", action)
    else:
        yield good("clock", "within a few seconds")


def crds(seen: Seen) -> Iterator[Finding]:
    """Are both kinds there?"""
    if isinstance(seen.crds, Unseen):
        yield unknown("CRDs", seen.crds)
        return
    missing = [name for name in CRDS if name not in seen.crds]
    if missing:
        yield bad("CRDs", f"not served: {', '.join(missing)}", "kubectl apply -f crds/, or crds.install=true")
    if isinstance(seen.lacking, Unseen):
        yield unknown("CRDs", seen.lacking)
    elif seen.lacking:
        action = f"{APPLY_CRDS} of the operator's version; Helm upgrades them with crds.install"
        yield bad("CRDs", f"older than this weir: they lack {named(seen.lacking)}", action)
    elif not missing:
        yield good("CRDs", "both kinds are served")


def pods(seen: Seen) -> Iterator[Finding]:
    """Do operator and gateway run?"""
    if isinstance(seen.workloads, Unseen):
        yield unknown("pods", seen.workloads)
        return
    found = seen.workloads
    wanted = (f"{seen.installation}-operator", f"{seen.installation}-gateway")
    absent = [name for name in wanted if name not in found]
    short = [f"{name} {it.ready}/{it.wanted}" for name, it in found.items() if it.ready < it.wanted]
    if absent:
        action = "say --system-namespace and --installation (the release's name), or install the chart"
        yield bad("pods", f"no Deployment {', '.join(absent)} in namespace {seen.namespace}", action)
    if short:
        yield bad("pods", f"not ready: {', '.join(short)}", f"kubectl describe pods --namespace {seen.namespace}")
    if not absent and not short:
        yield good("pods", ", ".join(f"{name} {it.ready}/{it.wanted}" for name, it in found.items()))


def services(seen: Seen) -> Iterator[Finding]:
    """Do the names that callers and routers use lead anywhere?"""
    if isinstance(seen.services, Unseen):
        yield unknown("Services", seen.services)
        return
    absent = [name for name, ready in seen.services.items() if ready is None]
    if absent:
        yield bad("Services", f"not there: {', '.join(absent)}", "the chart makes them: helm get manifest")
    empty = [name for name, ready in seen.services.items() if ready == 0]
    if empty:
        action = "see whether the pods that they select are ready: kubectl get endpointslices"
        yield bad("Services", f"without a ready endpoint: {', '.join(empty)}", action)
    if not absent and not empty:
        yield good("Services", ", ".join(f"{name} {ready}" for name, ready in seen.services.items()))


def rights(seen: Seen) -> Iterator[Finding]:
    """May the operator do what it has to?"""
    if isinstance(seen.rights, Unseen):
        yield unknown("rights", seen.rights)
        return
    missing = sorted(name for name, allowed in seen.rights.items() if not allowed)
    if missing:
        action = "let the chart make them (rbac.create), or see Rights in docs/install.md"
        yield bad("rights", f"the operator may not: {'; '.join(missing)}", action)
    else:
        yield good("rights", f"the operator has all {len(seen.rights)} that were asked about")


def authority(seen: Seen) -> Iterator[Finding]:
    """Do routers trust the certificate that the operator serves with?"""
    if isinstance(seen.bundle, Unseen):
        yield unknown("certificate", seen.bundle)
    elif seen.bundle is None:
        action = "the operator makes it: see its log, and that it may write ConfigMaps and Secrets in its namespace"
        yield bad("certificate", f"there is no ConfigMap {seen.installation}-ca", action)
    elif isinstance(seen.expires, Unseen):
        yield unknown("certificate", seen.expires)
    elif seen.expires is not None and seen.expires < EXPIRY_DAYS * 86_400:
        when = f"ends in {seen.expires / 3600:.0f} h" if seen.expires > 0 else "has ended"
        message = f"the authority in ConfigMap {seen.installation}-ca {when}"
        yield bad("certificate", message, "see the operator's log")
    else:
        yield good("certificate", "routers have the operator's authority")


def webhook(seen: Seen) -> Iterator[Finding]:
    """Do new pods get the sidecars that they are to have?"""
    for part in (seen.sidecars, seen.webhook_differs):
        if isinstance(part, Unseen):
            yield unknown("webhook", part)
            return
    if isinstance(seen.webhook, Unseen):
        yield unknown("webhook", seen.webhook)
    elif seen.webhook is not None:
        yield from list(_of_webhook(seen.webhook, seen)) or [good("webhook", "it has the operator's authority")]
    elif seen.sidecars:
        name = configuration_name(seen.installation, seen.namespace)
        message = f"there is no MutatingWebhookConfiguration {name}: new pods start without a sidecar"
        yield bad("webhook", message, MENDS)
    else:
        yield good("webhook", "sidecars are switched off")


def _of_webhook(bundles: frozenset[str], seen: Seen) -> Iterator[Finding]:
    if seen.webhook_differs:
        yield bad("webhook", "; ".join(seen.webhook_differs), MADE_ANEW)  # type: ignore[arg-type]
    if "" in bundles:
        action = "the operator puts it there: see its log, and its right to patch the configuration"
        yield bad("webhook", "it has no caBundle: no pod gets a sidecar", action)
    elif isinstance(seen.bundle, str) and bundles != {seen.bundle}:
        action = "the operator puts it there: see its log, and that no other tool writes caBundle"
        yield bad("webhook", "its caBundle is not the operator's present authority: no pod gets a sidecar", action)


def config(seen: Seen) -> Iterator[Finding]:
    """Do routers run what is published?"""
    if isinstance(seen.published, Unseen):
        yield unknown("config", seen.published)
        return
    if seen.published is None:
        yield bad("config", "nothing is published", "see the operator's /readyz and log, which name the missing part")
        return
    if isinstance(seen.routers, Unseen):
        yield unknown("config", seen.routers)
        return
    refused = [f"{name}: {why}" for name, (_, why) in seen.routers.items() if why]
    if refused:
        yield bad("config", f"refused by {'; '.join(refused)}", "upgrade routers together with the operator")
    behind = [name for name, (revision, why) in seen.routers.items() if (revision or 0) < seen.published and not why]
    if behind:
        action = "they poll the operator: see their logs for config server, certificate and token"
        yield bad("config", f"older than revision {seen.published}: {', '.join(sorted(behind))}", action)
    if not refused and not behind:
        yield good("config", f"revision {seen.published} runs on {len(seen.routers)} routers")


def network(seen: Seen) -> Iterator[Finding]:
    """Are metrics and the config server closed to pods that have no business there?"""
    if isinstance(seen.left_open, Unseen):
        yield unknown("network", seen.left_open)
    elif seen.left_open:
        action = (
            "networkPolicy.enabled, networkPolicy.monitoring with the namespace that scrapes, and "
            "networkPolicy.apiServer with the API server's addresses"
        )
        yield warning("network", f"every pod can reach {'; '.join(seen.left_open)}", action)
    else:
        yield good("network", "metrics and the config server are not open to every pod")


def tls(seen: Seen) -> Iterator[Finding]:
    """Do prompts and tokens cross the cluster encrypted?"""
    if isinstance(seen.tls, Unseen):
        yield unknown("TLS", seen.tls)
    elif not seen.tls:
        message = "callers send prompts and tokens to the gateway without TLS"
        yield warning("TLS", message, "gateway.tls.secretName, unless a service mesh encrypts")
    else:
        yield good("TLS", "the gateway serves callers over TLS")


CHECKS: tuple[Check, ...] = (
    kubernetes,
    clock,
    crds,
    pods,
    services,
    rights,
    authority,
    webhook,
    config,
    credentials,
    objects,
    backends,
    callers,
    sidecars,
    network,
    tls,
)
