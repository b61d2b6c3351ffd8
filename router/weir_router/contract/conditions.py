"""The conditions of a route, one value for each field of `When`: the meaning of `when` in one table, `CONDITIONS`.

The router matches with it, the compiler finds routes that are never reached, `weir explain` says why a route was
passed over, and `weir diff` makes up a request that a route takes. So a new field of `When` needs one more entry here,
and no place can forget it. Pure.

Example: `OneOf("complexity", ...)` holds for a `Simple` request under `when: {complexity: [Simple, Moderate]}`, covers
every condition with `complexity: [Simple]`, and is explained as "complexity is Complex, not Moderate or Simple".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from weir_router.contract import hours
from weir_router.contract.caller import Caller, CallerKind, CallerRule
from weir_router.contract.facts import Facts
from weir_router.contract.policy import CONVERSATIONS, Complexity, HeaderMatch, Operation, When

KEEPS_OLDER_OUT = HeaderMatch(name=":operation")
"""A header that no request can have, for routes without `Chat`. A router of an older version does not know
`when.operations`, and would send chats into them; this one does not look at the header.
"""


class Condition:
    """The meaning of one field of `When`."""

    def __init__(self, field: str) -> None:
        self.field = field
        first, *rest = field.split("_")
        self.name = first + "".join([word.capitalize() for word in rest])  # in a manifest: `userTiers`

    def is_set(self, when: When) -> bool:
        """Whether the field asks for anything. One that is not set holds for every request."""
        value = getattr(when, self.field)
        return value is not None and value != frozenset() and value != ()

    def matches(self, when: When, facts: Facts) -> bool:
        """Whether the condition, which is set, holds."""
        raise NotImplementedError

    def covers(self, earlier: When, later: When) -> bool:
        """Whether it holds in `earlier` for every request for which it holds in `later`. False: undecided."""
        raise NotImplementedError

    def unmet(self, when: When, facts: Facts) -> str:
        """Why the condition, which is set, does not hold: "complexity is Simple, not Complex"."""
        raise NotImplementedError

    def met(self, when: When, facts: Facts) -> Facts:
        """`facts`, changed as little as it takes for the condition, which is set, to hold."""
        raise NotImplementedError


class OneOf(Condition):
    """A set: the request's value must be one of it."""

    def __init__(
        self,
        field: str,
        value: Callable[[Facts], str | None],
        instead: Callable[[Facts, Any], Facts],
        every: frozenset[Any] = frozenset(),
    ) -> None:
        """`value` is that of a request, `instead` the request with another, `every` all values where they are few."""
        super().__init__(field)
        self._value = value
        self._instead = instead
        self._every = every

    def matches(self, when: When, facts: Facts) -> bool:
        values: frozenset[Any] = getattr(when, self.field)
        return self._value(facts) in values

    def covers(self, earlier: When, later: When) -> bool:
        wide: frozenset[Any] = getattr(earlier, self.field)
        narrow: frozenset[Any] = getattr(later, self.field)
        return not wide or wide == self._every or (bool(narrow) and narrow <= wide)

    def unmet(self, when: When, facts: Facts) -> str:
        return f"{self.name} is {self._value(facts) or 'not given'}, not {_either(getattr(when, self.field))}"

    def met(self, when: When, facts: Facts) -> Facts:
        values: frozenset[Any] = getattr(when, self.field)
        return facts if self._value(facts) in values else self._instead(facts, min(values))


class AtLeast(Condition):
    """`minPromptTokens`."""

    def matches(self, when: When, facts: Facts) -> bool:
        return facts.prompt_tokens >= (when.min_prompt_tokens or 0)

    def covers(self, earlier: When, later: When) -> bool:
        return (earlier.min_prompt_tokens or 0) <= (later.min_prompt_tokens or 0)

    def unmet(self, when: When, facts: Facts) -> str:
        return f"{facts.prompt_tokens} prompt tokens are fewer than {when.min_prompt_tokens}"

    def met(self, when: When, facts: Facts) -> Facts:
        return facts.but(prompt_tokens=max(facts.prompt_tokens, when.min_prompt_tokens or 0))


class AtMost(Condition):
    """`maxPromptTokens`."""

    def matches(self, when: When, facts: Facts) -> bool:
        return when.max_prompt_tokens is None or facts.prompt_tokens <= when.max_prompt_tokens

    def covers(self, earlier: When, later: When) -> bool:
        widest, wide = earlier.max_prompt_tokens, later.max_prompt_tokens
        return widest is None or (wide is not None and wide <= widest)

    def unmet(self, when: When, facts: Facts) -> str:
        return f"{facts.prompt_tokens} prompt tokens are more than {when.max_prompt_tokens}"

    def met(self, when: When, facts: Facts) -> Facts:
        most = facts.prompt_tokens if when.max_prompt_tokens is None else when.max_prompt_tokens
        return facts.but(prompt_tokens=min(facts.prompt_tokens, most))


class Needs(Condition):
    """`capabilities`: the request must need all of them."""

    def matches(self, when: When, facts: Facts) -> bool:
        return when.capabilities <= facts.needs

    def covers(self, earlier: When, later: When) -> bool:
        return earlier.capabilities <= later.capabilities

    def unmet(self, when: When, facts: Facts) -> str:
        return f"the request does not need {', '.join(sorted(when.capabilities - facts.needs))}"

    def met(self, when: When, facts: Facts) -> Facts:
        return facts.but(needs=facts.needs | when.capabilities)


class Headers(Condition):
    """`headers`: every match must hold."""

    def is_set(self, when: When) -> bool:
        return bool(_stated(when))

    def matches(self, when: When, facts: Facts) -> bool:
        return all(header_matches(match, facts.headers) for match in _stated(when))

    def covers(self, earlier: When, later: When) -> bool:
        names = {it.name for it in later.headers}
        return all(
            wants.name in names and any(_header_implies(has, wants) for has in later.headers)
            for wants in _stated(earlier)
        )

    def unmet(self, when: When, facts: Facts) -> str:
        missed = [match for match in _stated(when) if not header_matches(match, facts.headers)]
        return "; ".join(_header_missed(match) for match in missed)

    def met(self, when: When, facts: Facts) -> Facts:
        missed = [match for match in _stated(when) if not header_matches(match, facts.headers)]
        given = {match.name: match.exact or match.prefix or "" for match in missed}
        return facts.but(headers={**facts.headers, **given})


class Callers(Condition):
    """`callers`: any of the rules must name the caller."""

    def matches(self, when: When, facts: Facts) -> bool:
        return named(when.callers, facts.caller)

    def covers(self, earlier: When, later: When) -> bool:
        if not earlier.callers:
            return True
        wide, narrow = earlier.callers, later.callers
        return bool(narrow) and all(any(_rule_covers(one, other) for one in wide) for other in narrow)

    def unmet(self, when: When, facts: Facts) -> str:
        return f"the route does not name the caller {facts.caller.namespace}/{facts.caller.name}"

    def met(self, when: When, facts: Facts) -> Facts:
        if named(when.callers, facts.caller):
            return facts
        return facts.but(caller=one_of(when.callers[0], facts.caller))


class Times(Condition):
    """`times`: the moment must be within any of the windows."""

    def matches(self, when: When, facts: Facts) -> bool:
        return any(hours.holds(window, facts.wall) for window in when.times)

    def covers(self, earlier: When, later: When) -> bool:
        if not earlier.times:
            return True
        wide, narrow = earlier.times, later.times
        return bool(narrow) and all(any(hours.covers(one, other) for one in wide) for other in narrow)

    def unmet(self, when: When, facts: Facts) -> str:
        now = hours.told_now(when.times[0], facts.wall)
        return f"it is {now} in {when.times[0].zone}, not {' or '.join([hours.told(it) for it in when.times])}"

    def met(self, when: When, facts: Facts) -> Facts:
        if self.matches(when, facts):
            return facts
        return facts.but(wall=hours.next_in(when.times[0], facts.wall))


class WithinBudget(Condition):
    """`latencyBudget`: the request must have a latency budget of its own, and a small one."""

    def matches(self, when: When, facts: Facts) -> bool:
        most, budget = when.max_latency_budget, facts.latency_budget
        return most is None or (budget is not None and budget <= most)

    def covers(self, earlier: When, later: When) -> bool:
        widest, wide = earlier.max_latency_budget, later.max_latency_budget
        return widest is None or (wide is not None and wide <= widest)

    def unmet(self, when: When, facts: Facts) -> str:
        if facts.latency_budget is None:
            return "the request has no latency budget (x-weir-ttft)"
        return f"the latency budget of {facts.latency_budget:g} s is more than {when.max_latency_budget:g} s"

    def met(self, when: When, facts: Facts) -> Facts:
        return facts if self.matches(when, facts) else facts.but(latency_budget=when.max_latency_budget)


class Operations(Condition):
    """`operations`: the request must ask for one of them; a route that names none serves conversations."""

    def matches(self, when: When, facts: Facts) -> bool:
        return facts.operation in (when.operations or CONVERSATIONS)

    def covers(self, earlier: When, later: When) -> bool:
        return (later.operations or CONVERSATIONS) <= (earlier.operations or CONVERSATIONS)

    def unmet(self, when: When, facts: Facts) -> str:
        return f"the operation is {facts.operation}, not {_either(when.operations or CONVERSATIONS)}"

    def met(self, when: When, facts: Facts) -> Facts:
        known = [it for it in Operation if it in (when.operations or CONVERSATIONS)]
        return facts if not known or self.matches(when, facts) else facts.but(operation=known[0])


def _stated(when: When) -> tuple[HeaderMatch, ...]:
    return tuple([match for match in when.headers if match.name != KEEPS_OLDER_OUT.name])


def _complexity(facts: Facts) -> str | None:
    return facts.complexity


def _user_tier(facts: Facts) -> str | None:
    return facts.caller.user_tier


def _feature(facts: Facts) -> str | None:
    return facts.feature


OPERATIONS = Operations("operations")

CONDITIONS: tuple[Condition, ...] = (
    OPERATIONS,
    OneOf("complexity", _complexity, lambda facts, it: facts.but(complexity=it), frozenset(Complexity)),
    AtLeast("min_prompt_tokens"),
    AtMost("max_prompt_tokens"),
    Needs("capabilities"),
    Headers("headers"),
    Callers("callers"),
    OneOf("user_tiers", _user_tier, lambda facts, it: facts.but(caller=replace(facts.caller, user_tier=it))),
    OneOf("features", _feature, lambda facts, it: facts.but(feature=it)),
    Times("times"),
    WithinBudget("max_latency_budget"),
)
"""One for each field of `When`, in the order in which they are looked at."""


def conditions_of(when: When) -> tuple[Condition, ...]:
    """Those that are set. Worked out once per `When`, since a router needs them for every request."""
    kept: dict[str, tuple[Condition, ...]] = when.__dict__
    found = kept.get("conditions")
    if found is None:
        found = kept["conditions"] = tuple([it for it in CONDITIONS if it.is_set(when)])
    return found


def conditions_for(when: When, facts: Facts) -> tuple[Condition, ...]:
    """Those that can fail for this request: those that are set, and `operations` if the default does not hold."""
    found = conditions_of(when)
    return found if when.operations or facts.operation in CONVERSATIONS else (OPERATIONS, *found)


def matches(when: When, facts: Facts) -> bool:
    """Whether all conditions hold."""
    return all(it.matches(when, facts) for it in conditions_for(when, facts))


def covers(earlier: When, later: When) -> bool:
    """Whether every request that meets `later` also meets `earlier`. False if that cannot be decided."""
    return all(it.covers(earlier, later) for it in CONDITIONS)


def unmet(when: When, facts: Facts) -> list[str]:
    """Why the conditions do not all hold: one reason for each that does not."""
    if not OPERATIONS.matches(when, facts):
        return [OPERATIONS.unmet(when, facts)]  # the others are about requests of another kind
    return [it.unmet(when, facts) for it in conditions_of(when) if not it.matches(when, facts)]


def met(when: When, facts: Facts) -> Facts:
    """`facts`, changed until all conditions hold, where they can hold together."""
    for it in conditions_for(when, facts):
        facts = it.met(when, facts)
    return facts


def named(rules: Iterable[CallerRule], caller: Caller) -> bool:
    """Whether any rule names the caller; within a rule every field that is set must."""
    return any(_names(rule, caller) for rule in rules)


def one_of(rule: CallerRule, caller: Caller) -> Caller:
    """A caller that the rule names; where it leaves something open, as `caller` has it."""
    namespace = min(rule.namespaces) if rule.namespaces else caller.namespace
    if rule.service_accounts:
        return replace(caller, namespace=namespace, name=min(rule.service_accounts), kind=CallerKind.SERVICE_ACCOUNT)
    if rule.api_keys:
        return replace(caller, namespace=namespace, name=min(rule.api_keys), kind=CallerKind.API_KEY)
    return replace(caller, namespace=namespace)


def header_matches(match: HeaderMatch, headers: Mapping[str, str]) -> bool:
    """Whether `headers`, with names in lower case, has what `match` wants."""
    value = headers.get(match.name)
    if value is None:
        return False
    if match.exact is not None:
        return value == match.exact
    return match.prefix is None or value.startswith(match.prefix)


def _names(rule: CallerRule, caller: Caller) -> bool:
    return (
        (rule.namespaces is None or caller.namespace in rule.namespaces)
        and _is_one_of(rule.service_accounts, CallerKind.SERVICE_ACCOUNT, caller)
        and _is_one_of(rule.api_keys, CallerKind.API_KEY, caller)
    )


def _is_one_of(names: frozenset[str] | None, kind: CallerKind, caller: Caller) -> bool:
    # The kind counts too: a key's Secret and a ServiceAccount of the same name are different callers.
    return names is None or (caller.kind is kind and caller.name in names)


def _rule_covers(wide: CallerRule, narrow: CallerRule) -> bool:
    return (
        _within(wide.namespaces, narrow.namespaces)
        and _within(wide.service_accounts, narrow.service_accounts)
        and _within(wide.api_keys, narrow.api_keys)
    )


def _within(wide: frozenset[str] | None, narrow: frozenset[str] | None) -> bool:
    return wide is None or (narrow is not None and narrow <= wide)


def _header_implies(has: HeaderMatch, wants: HeaderMatch) -> bool:
    if has.name != wants.name:
        return False
    if wants.exact is not None:
        return has.exact == wants.exact
    return wants.prefix is None or (has.exact or has.prefix or "").startswith(wants.prefix)


def _header_missed(match: HeaderMatch) -> str:
    if match.exact is not None:
        return f"header {match.name} is not {match.exact!r}"
    if match.prefix is not None:
        return f"header {match.name} does not begin with {match.prefix!r}"
    return f"there is no header {match.name}"


def _either(values: Iterable[str]) -> str:
    *others, last = sorted(values)
    return f"{', '.join(others)} or {last}" if others else last
