"""Whether a caller is one of those that a policy or a route names. Pure; used by `decide.policy` and `decide.route`."""

from __future__ import annotations

from collections.abc import Iterable

from weir_router.contract import CallerKind, CallerRule
from weir_router.identify.caller import Caller


def named(rules: Iterable[CallerRule], caller: Caller) -> bool:
    """Whether any rule matches; within a rule every field that is set must."""
    return any(_matches(rule, caller) for rule in rules)


def _matches(rule: CallerRule, caller: Caller) -> bool:
    return (
        (rule.namespaces is None or caller.namespace in rule.namespaces)
        and _is_one_of(rule.service_accounts, CallerKind.SERVICE_ACCOUNT, caller)
        and _is_one_of(rule.api_keys, CallerKind.API_KEY, caller)
    )


def _is_one_of(names: frozenset[str] | None, kind: CallerKind, caller: Caller) -> bool:
    # The kind counts too: a key's Secret and a ServiceAccount of the same name are different callers.
    return names is None or (caller.kind is kind and caller.name in names)
