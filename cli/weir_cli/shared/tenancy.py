"""Options of the rules between tenants, as the chart's values `tenancy.*`; shared by commands that compile."""

from __future__ import annotations

from typing import Annotated

import typer

from weir_operator.observe.tenancy import Consent, Tenancy, names_of

SYSTEM_NAMESPACE = "weir-system"
"""Namespace of an installation, unless an option names another."""

Offering = Annotated[
    str | None,
    typer.Option(
        "--offering-namespaces",
        envvar="WEIR_OFFERING_NAMESPACES",
        help="Namespaces whose policies may serve callers of all others, as a,b, the first goes first; *: all.",
    ),
]
UserTierNamespaces = Annotated[
    str,
    typer.Option(
        envvar="WEIR_USER_TIER_NAMESPACES",
        help="Namespaces whose user tiers count in policies of all others, as a,b; *: all.",
    ),
]
ConsentOption = Annotated[
    Consent,
    typer.Option(
        "--consent",
        envvar="WEIR_CONSENT",
        help="Enforce: policies serve callers of other namespaces only with consent; Warn: they serve, and say so.",
    ),
]


ConsentOrDefault = Annotated[
    Consent | None,
    typer.Option("--consent", envvar="WEIR_CONSENT", help="As for weir up and the operator, whose defaults differ."),
]


def tenancy(consent: Consent, offering: str | None, user_tiers: str, own: str) -> Tenancy:
    """The rules. Without `offering`, policies of namespace `own` are offered to all."""
    names = (own,) if offering is None else names_of(offering)
    return Tenancy(consent, names, frozenset(names_of(user_tiers)))
