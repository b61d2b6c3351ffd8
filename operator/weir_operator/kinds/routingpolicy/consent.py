"""Callers of other namespaces: a policy serves them if they, or the installation, have consented. Pure.

Used by the compile step of policies. A rule without consent is cut down to the namespaces that have consented; under
`Consent.WARN` it stays whole for one release. Either way the owner of the policy reads what mends it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from weir_operator.observe.tenancy import ACCEPT_ANNOTATION, Consent, Consents
from weir_operator.problems.finding import Finding, Verdict
from weir_operator.problems.problem import ConditionType, Reason
from weir_router.contract import CallerRule

MAX_NAMED = 3
"""Namespaces that a message names: the first show what is meant."""


class Served(NamedTuple):
    """The caller rules of a policy after consent, and the findings about its `callers`."""

    rules: tuple[CallerRule, ...]
    findings: tuple[Finding, ...]


def served(rules: Iterable[CallerRule], own: str, stated: Iterable[bool], consents: Consents) -> Served:
    """The rules of a policy of namespace `own`. `stated`: for each, whether its namespaces are written by name.

    Only names that the policy itself has appear in a message, since others would tell what exists elsewhere.
    """
    agreed = consents.agreed(own)
    rules = tuple(rules)
    if agreed is None:
        return Served(rules, ())
    enforced = consents.tenancy.consent is Consent.ENFORCE
    kept: list[CallerRule] = []
    found: list[Finding] = []
    for number, (rule, by_name) in enumerate(zip(rules, stated, strict=True)):
        missing = None if rule.namespaces is None else rule.namespaces - agreed
        if missing is None or missing:
            found.append(_not_consented(own, sorted(missing or ()) if by_name else [], number, enforced=enforced))
        within = restricted(rule, agreed) if enforced else rule
        if within.namespaces is None or within.namespaces or not rule.namespaces:
            kept.append(within)
    return Served(tuple(kept), tuple(found))


def restricted(rule: CallerRule, namespaces: frozenset[str]) -> CallerRule:
    """The rule for callers of these namespaces only."""
    return CallerRule(
        namespaces=namespaces if rule.namespaces is None else rule.namespaces & namespaces,
        service_accounts=rule.service_accounts,
        api_keys=rule.api_keys,
    )


def with_tiers(rules: tuple[CallerRule, ...], own: str, consents: Consents) -> tuple[CallerRule, ...]:
    """The callers of a route that asks for user tiers: those whose user tiers count. No rule: any caller."""
    trusted = consents.trusted(own)
    if trusted is None or consents.tenancy.consent is Consent.WARN:
        return rules
    return tuple(restricted(rule, trusted) for rule in rules or (CallerRule(),))


def foreign_tiers(callers: Iterable[CallerRule], own: str, consents: Consents) -> Iterator[Finding]:
    """Warns of a route that asks for user tiers, in a policy for callers whose user tiers do not count."""
    trusted = consents.trusted(own)
    if trusted is None or all(it.namespaces is not None and it.namespaces <= trusted for it in callers):
        return
    if consents.tenancy.consent is Consent.ENFORCE:
        message = f"user tiers that other namespaces state do not count in namespace {own}"
    else:
        message = (
            f"user tiers that other namespaces state count here, although they may give themselves any; "
            f"with tenancy.consent: {Consent.ENFORCE} they do not count"
        )
    action = "The installation names the namespaces whose tiers count everywhere: tenancy.userTierNamespaces."
    field = ".when.userTiers"
    yield Finding(Reason.NOT_CONSENTED, message, Verdict.WARN, ConditionType.ACCEPTED, action, field)


def _not_consented(own: str, names: list[str], number: int, *, enforced: bool) -> Finding:
    who = ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")
    who = f"callers of namespace {who}" if names else "callers of other namespaces"
    message = f"{who} are served only with consent; those without it are left out"
    if not enforced:
        message = f"{who} are served without consent; with tenancy.consent: {Consent.ENFORCE} they are left out"
    action = (
        f"An editor of that Namespace consents: kubectl annotate namespace {names[0] if names else 'NAME'} "
        f"{ACCEPT_ANNOTATION}={own}; or the installation lists {own} in tenancy.offeringNamespaces."
    )
    field = f".callers[{number}].namespaces"
    return Finding(Reason.NOT_CONSENTED, message, Verdict.WARN, ConditionType.ACCEPTED, action, field)
