"""Manifests from sources and their models: tiers for `auto`, and a policy for each real name. Pure.

Called by `keys` for `weir up` without a directory. Example: a key for OpenAI gives the tiers `cheap`, `mid` and `best`
with a model each, the policy `auto` over them, and for `gpt-4o` a tier and a policy `gpt-4o` of one model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from weir_cli.shared.manifests import slug, unique
from weir_cli.up.probe import Listed, Listing
from weir_cli.up.sources import Role, Source
from weir_operator.compile.catalogue import Catalogue, Entry
from weir_operator.kinds.modeltier.schema import DEFAULT_BASE_URL, MAX_BACKENDS
from weir_operator.schemas import GROUP, VERSION

AUTO = "auto"
"""Name of the model that is routed. Every other name is that of a real model."""

ONLY = "any"
"""Name of the tier where no model has a known price: nothing says which of them is cheap."""

MAX_OF_ONLY = 8
"""Models of the tier `any`: enough for failover, and few enough to be read."""

ROUTES = (
    ("quick", {"complexity": ["Simple"]}, (Role.CHEAP, Role.MID, Role.BEST)),
    ("everyday", {"complexity": ["Moderate"]}, (Role.MID, Role.BEST, Role.CHEAP)),
    ("everything-else", None, (Role.BEST, Role.MID, Role.CHEAP)),
)
"""Routes of `auto`: name, condition and tiers in order."""

_DATED = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|20\d{6})$")


class Choice(NamedTuple):
    """A model of a source, with its price."""

    source: Source
    model: Listed
    entry: Entry | None  # of the catalogue

    @property
    def price(self) -> tuple[Decimal, Decimal] | None:
        """US dollars per million tokens of input and output; None: unknown."""
        if self.model.price is not None:
            return self.model.price
        if self.entry is None:
            return None
        return Decimal(f"{self.entry.price.input:g}"), Decimal(f"{self.entry.price.output:g}")

    @property
    def backend(self) -> dict[str, Any]:
        """The backend of a manifest. Figures of the catalogue are left out, since the compiler fills them in."""
        source, own = self.source, DEFAULT_BASE_URL[self.source.dialect]
        stated = self.model.price if self.entry is None else None
        fields = {
            "name": slug(f"{source.title}-{self.model.name}"),
            "provider": source.dialect.value,
            "baseURL": None if source.base_url == own else source.base_url,
            "model": self.model.name,
            "credentials": source.secret.reference if source.secret else None,
            "price": {"input": _dollars(stated[0]), "output": _dollars(stated[1])} if stated else None,
        }
        return {name: value for name, value in fields.items() if value is not None}


class Made(NamedTuple):
    """Manifests made of sources."""

    tiers: Mapping[str, tuple[Choice, ...]]  # of `auto`, the cheapest first
    routed: tuple[dict[str, Any], ...]  # manifests of `auto`
    named: tuple[dict[str, Any], ...]  # manifests of real names


def make(found: Sequence[tuple[Source, Listing]]) -> Made:
    """The manifests; without any model there are none."""
    catalogue = Catalogue.load()
    choices = {
        source: tuple(
            Choice(source, it, catalogue.find(source.dialect, it.name, source.base_url)) for it in each.models
        )
        for source, each in found
    }
    tiers = _tiers(choices)
    return Made(tiers, tuple(_routed(tiers)), tuple(_named([it for each in choices.values() for it in each])))


def _tiers(choices: Mapping[Source, tuple[Choice, ...]]) -> dict[str, tuple[Choice, ...]]:
    """Preferred models; where no source has any, models by price; where none has a price, all in one tier."""
    hosted = [(source, each) for source, each in choices.items() if not source.local]
    preferred = [_preferred(source, each) for source, each in hosted]
    if not any(preferred):
        preferred = [_by_price(each) for _, each in hosted]
    if any(preferred):
        found = {role: tuple(it[role] for it in preferred if role in it) for role in Role}
        return {role.value: each for role, each in found.items() if each}
    every = [it for _, each in hosted for it in each] or [it for each in choices.values() for it in each]
    return {ONLY: tuple(every[:MAX_OF_ONLY])} if every else {}


def _preferred(source: Source, choices: Sequence[Choice]) -> dict[Role, Choice]:
    """The first model of each list that the key may use: by its own name, else by that of the catalogue's entry."""
    named = {it.model.name: it for it in choices}
    known = {it.entry.model: it for it in reversed(choices) if it.entry is not None}
    found = {}
    for role, names in source.tiers.items():
        first = next((it for name in names if (it := named.get(name) or known.get(name))), None)
        if first is not None:
            found[role] = first
    return found


def _by_price(choices: Sequence[Choice]) -> dict[Role, Choice]:
    """The cheapest, the dearest and the one in the middle."""
    priced = sorted((it for it in choices if it.price), key=lambda it: (sum(it.price or ()), it.model.name))
    match len(priced):
        case 0:
            return {}
        case 1:
            return {Role.CHEAP: priced[0]}
        case 2:
            return {Role.CHEAP: priced[0], Role.BEST: priced[1]}
        case many:
            return {Role.CHEAP: priced[0], Role.MID: priced[many // 2], Role.BEST: priced[-1]}


def _routed(tiers: Mapping[str, tuple[Choice, ...]]) -> list[dict[str, Any]]:
    if not tiers:
        return []
    routes: list[dict[str, Any]] = []
    for name, when, roles in ROUTES:
        order = [{"name": role.value} for role in roles if role.value in tiers] or [{"name": ONLY}]
        routes.append({"name": name, **({"when": when} if when else {}), "tiers": order})
    if len(tiers) == 1:
        routes = routes[-1:]
    spec = {"models": [{"name": AUTO}], "baseline": {"name": list(tiers)[-1]}, "routes": routes}
    return [*(_tier(name, each) for name, each in tiers.items()), _manifest("RoutingPolicy", AUTO, spec)]


def _named(choices: Sequence[Choice]) -> list[dict[str, Any]]:
    """A tier and a policy for each real name. A dated name is also served without its date, its newest one."""
    by_name: dict[str, list[Choice]] = {}
    for it in choices:
        by_name.setdefault(it.model.name, []).append(it)
    undated = {_DATED.sub("", name): name for name in sorted(by_name)}
    taken = {AUTO, ONLY, *(role.value for role in Role)}
    manifests: list[dict[str, Any]] = []
    for name, each in by_name.items():
        if name == AUTO:
            continue
        short = _DATED.sub("", name)
        also = [short] if short not in by_name and undated[short] == name and short != AUTO else []
        title = unique(slug(name), taken)
        spec = {
            "models": [{"name": it} for it in (name, *also)],
            "routes": [{"name": "only", "tiers": [{"name": title}]}],
        }
        manifests += [_tier(title, each), _manifest("RoutingPolicy", title, spec)]
    return manifests


def _tier(name: str, choices: Sequence[Choice]) -> dict[str, Any]:
    taken: set[str] = set()
    backends = [it.backend | {"name": unique(it.backend["name"], taken)} for it in choices[:MAX_BACKENDS]]
    return _manifest("ModelTier", name, {"backends": backends})


def _manifest(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}


def _dollars(figure: Decimal) -> str:
    return f"{figure:f}".rstrip("0").rstrip(".") if "." in f"{figure:f}" else f"{figure:f}"
