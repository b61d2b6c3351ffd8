"""The checks of ModelTiers, RoutingPolicies and applications' pods, which tenants can see too. PURE; see `checks`."""

from __future__ import annotations

from collections.abc import Iterator

from weir_cli.doctor.finding import Finding, Unseen, bad, good, named, unknown
from weir_cli.doctor.seen import Seen, Unready


def credentials(seen: Seen) -> Iterator[Finding]:
    """Are the Secrets there that tiers refer to, and do they consent?"""
    if isinstance(seen.credentials, Unseen):
        yield unknown("credentials", seen.credentials)
        return
    absent = [f"{it.secret} (of {it.tier})" for it in seen.credentials if not it.exists]
    if absent:
        yield bad("credentials", f"no Secret {', '.join(absent)}", "create it in the tier's namespace")
    silent = sorted({it.secret for it in seen.credentials if it.exists and not it.consents})
    if silent:
        namespace, _, name = silent[0].partition("/")
        action = f"kubectl label secret --namespace {namespace} {name} weir.dev/credential=true"
        yield bad("credentials", f"without the label weir.dev/credential: {', '.join(silent)}", action)
    if not absent and not silent:
        message = f"all {len(seen.credentials)} that tiers{seen.where} refer to are there and labelled"
        yield good("credentials", message)


def objects(seen: Seen) -> Iterator[Finding]:
    """Do all ModelTiers and RoutingPolicies do what they are there for?"""
    for part in (seen.unready, seen.unjudged):
        if isinstance(part, Unseen):
            yield unknown("objects", part)
            return
    if seen.unready:
        message = f"not ready: {named(_in_words(seen.unready))}"  # type: ignore[arg-type]
        yield bad("objects", message, "kubectl describe tells each condition")
    if seen.unserved:
        action = "see className: an installation serves the class of its value className (weir operator --class)"
        yield bad("objects", f"no operator of this cluster serves {named(seen.unserved)}", action)
    if seen.unjudged:
        action = "does the operator run, and look at their namespaces? Is their className this installation's?"
        yield bad("objects", f"no operator has looked at {named(seen.unjudged)}", action)  # type: ignore[arg-type]
    if not seen.unready and not seen.unserved and not seen.unjudged:
        yield good("objects", f"every ModelTier and RoutingPolicy{seen.where} is ready")


def backends(seen: Seen) -> Iterator[Finding]:
    """Do backends answer, and do policies feel those that do not?"""
    if isinstance(seen.ill, Unseen):
        yield unknown("backends", seen.ill)
    elif seen.ill:
        action = "kubectl describe tells the provider's answer; kubectl weir status shows each router's view"
        yield bad("backends", f"not well: {named(_in_words(seen.ill))}", action)
    else:
        yield good("backends", f"routers leave none{seen.where} alone")


def callers(seen: Seen) -> Iterator[Finding]:
    """Can anybody use each policy?"""
    if isinstance(seen.unused, Unseen):
        yield unknown("callers", seen.unused)
    elif seen.unused:
        action = "see spec.callers: it names or selects no namespace that is there"
        yield bad("callers", f"no caller can use RoutingPolicy {named(seen.unused)}", action)
    else:
        yield good("callers", "every RoutingPolicy has callers")


def sidecars(seen: Seen) -> Iterator[Finding]:
    """Does every pod have the sidecar that it should have?"""
    found = seen.without_sidecar
    if isinstance(found, Unseen):
        yield unknown("sidecars", found)
    elif found:
        pods = f"{len(found)} pod{'s' if len(found) != 1 else ''}"
        message = f"{pods} should have a sidecar and have none: {named([str(it) for it in found])}"
        commands = list(dict.fromkeys(it.command for it in found))
        yield bad("sidecars", message, named(commands, "; "))
    else:
        yield good("sidecars", f"no pod{seen.where} lacks one")


def _in_words(found: tuple[Unready, ...]) -> list[str]:
    return [f"{it.object} ({it.reason}: {it.message})" if it.message else f"{it.object} ({it.reason})" for it in found]
