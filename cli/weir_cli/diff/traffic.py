"""Routers' metrics → what recent requests were like, by policy and route. PURE; used by `weir diff`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from weir_cli.status.figures import Page, sums
from weir_router.contract import Complexity
from weir_router.dialects.usage import Usage


@dataclass
class Flow:
    """Requests and tokens that a policy's route has sent to one backend since the routers started."""

    requests: float = 0
    tokens: dict[str, float] = field(default_factory=dict)  # by the label `type`
    dollars: float = 0

    @property
    def usage(self) -> Usage:
        """All its tokens, as one answer."""
        count = {name: int(number) for name, number in self.tokens.items()}.get
        return Usage(
            count("input", 0),
            count("cached_input", 0),
            count("cache_write", 0),
            count("output", 0),
            cache_write_long=count("cache_write_long", 0),
        )


@dataclass(frozen=True)
class Traffic:
    """The traffic of all routers."""

    flows: Mapping[tuple[str, str], Mapping[str, Flow]]  # (policy, route) -> "namespace/tier/backend" -> flow
    classes: Mapping[tuple[str, Complexity], float]  # (policy, class) -> requests

    @property
    def requests(self) -> float:
        """Those that went to a backend."""
        return sum(flow.requests for flows in self.flows.values() for flow in flows.values())


def traffic(pages: Iterable[Page]) -> Traffic:
    """The sum of what the routers' pages have counted."""
    flows: dict[tuple[str, str], dict[str, Flow]] = defaultdict(lambda: defaultdict(Flow))
    classes: dict[tuple[str, Complexity], float] = {}
    for (name, pairs), value in sums(pages).items():
        labels = dict(pairs)
        if name == "weir_classifications_total" and labels["complexity"] in set(Complexity):
            key = labels["policy"], Complexity(labels["complexity"])
            classes[key] = classes.get(key, 0) + value
        if not labels.get("backend") or not labels.get("policy"):
            continue
        place = (labels["policy"], labels.get("route", ""))
        backend = f"{labels['tier']}/{labels['backend']}"
        if name == "weir_requests_total":
            flows[place][backend].requests += value
        elif name == "weir_tokens_total":
            tokens = flows[place][backend].tokens
            tokens[labels["type"]] = tokens.get(labels["type"], 0) + value
        elif name == "weir_cost_dollars_total":
            flows[place][backend].dollars += value
    return Traffic(flows, classes)
