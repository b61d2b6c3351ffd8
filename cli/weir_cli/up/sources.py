"""Sources of models that the environment names: providers with a key, and servers of this machine. Pure.

Called by `keys` for `weir up` without a directory. The presets file says which variables count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml

from weir_cli.shared.manifests import SECRET_KEY, SecretSource, slug
from weir_operator.compile.catalogue import Catalogue
from weir_operator.kinds.modeltier.schema import BASE_URL
from weir_router.contract import Dialect
from weir_router.dialects.registry import host_of
from weir_router.serve.browsers import is_loopback


class Role(StrEnum):
    """A tier of `weir up` without a directory, the cheapest first."""

    CHEAP = "cheap"
    MID = "mid"
    BEST = "best"


class Preset(NamedTuple):
    """A provider as the presets file describes it."""

    title: str
    vendor: str | None  # in the catalogue
    dialect: Dialect
    base_url: str
    keys: tuple[str, ...]  # variables
    address: str | None  # variable
    regions: tuple[str, ...]
    tiers: Mapping[Role, tuple[str, ...]]  # preferred models
    local: bool  # a server of this machine


@dataclass(frozen=True, eq=False)  # a key of mappings
class Source:
    """A place that may serve models to this machine."""

    title: str
    dialect: Dialect
    base_url: str
    origin: str  # the variable that named it, or the address
    secret: SecretSource | None
    variable: str = ""  # that may hold its key
    key: str | None = field(default=None, repr=False)
    tiers: Mapping[Role, tuple[str, ...]] = field(default_factory=dict)
    stated: bool = False  # its address is not the provider's own
    local: bool = False  # a server of this machine: it is not named unless it answers, and has no price
    default: bool = False  # nothing names it: its absence is no news


class Sources(NamedTuple):
    """The sources of one environment."""

    found: tuple[Source, ...]
    notes: tuple[str, ...]  # what was set and cannot be used


@cache
def presets() -> tuple[Preset, ...]:
    """The presets that come with Weir, in their order."""
    text = files("weir_cli.up").joinpath("presets.yaml").read_text(encoding="utf-8")
    return tuple(_preset(shape) for shape in yaml.safe_load(text)["providers"])


def _preset(shape: Mapping[str, Any]) -> Preset:
    vendor = Catalogue.load().vendors.get(shape.get("vendor", ""))
    return Preset(
        title=shape["title"],
        vendor=vendor.name if vendor else None,
        dialect=vendor.provider if vendor else Dialect(shape["provider"]),
        base_url=vendor.base_url if vendor else shape["baseURL"],
        keys=vendor.keys if vendor else tuple(shape["keys"]),
        address=shape.get("address"),
        regions=tuple(shape.get("regions", ())),
        tiers={Role(role): tuple(models) for role, models in shape.get("tiers", {}).items()},
        local=shape.get("local", False),
    )


def variables() -> list[str]:
    """Every variable that can name a source, for messages."""
    keys = [preset.keys[0] for preset in presets() if preset.keys]
    return [*keys, *(it.address for it in presets() if it.address)]


def versioned(dialect: Dialect) -> bool:
    """Whether paths of this dialect hold the version, so that a base URL ends without it."""
    return any(path.startswith("/v1/") for path in host_of(dialect).paths.values())


def sources(environ: Mapping[str, str], own: Sequence[tuple[str, int]] = ()) -> Sources:
    """The sources that `environ` names. `own`: addresses of this router, which is no source of itself."""
    notes: list[str] = []
    made = (_local if preset.local else _source for preset in presets())
    found = [it for preset, make in zip(presets(), made, strict=True) if (it := make(preset, environ, own, notes))]
    return Sources(tuple(found), tuple(notes))


def _source(
    preset: Preset, environ: Mapping[str, str], own: Sequence[tuple[str, int]], notes: list[str]
) -> Source | None:
    variable = next((name for name in preset.keys if environ.get(name, "").strip()), None)
    key = environ[variable].strip() if variable else None
    stated = environ.get(preset.address or "", "").strip().rstrip("/")
    if not stated and key is None:
        return None
    if stated and not re.fullmatch(BASE_URL, stated):
        notes.append(f"{preset.address} is no http or https URL such as {preset.base_url}: left out.")
        return None
    if stated and _is_own(stated, own):
        why = f"{preset.address} is the address of this router itself"
        notes.append(f"{preset.title} left out: {why}; unset it here, and set it for clients only.")
        return None
    other = bool(stated) and stated.removesuffix("/v1") != preset.base_url.removesuffix("/v1")
    if versioned(preset.dialect):
        stated = stated.removesuffix("/v1")
    return Source(
        title=preset.title,
        dialect=preset.dialect,
        base_url=stated or _in_region(preset, environ),
        origin=", ".join(it for it in (variable, preset.address if stated else None) if it),
        secret=SecretSource(slug(preset.title), SECRET_KEY, variable) if variable else None,
        key=key,
        tiers=_every_preference() if other or not preset.vendor else preset.tiers,
        variable=preset.keys[0],
        stated=other,
    )


def _every_preference() -> Mapping[Role, tuple[str, ...]]:
    """Preferred models of all providers, for a place that may serve any of them."""
    return {role: tuple(name for preset in presets() for name in preset.tiers.get(role, ())) for role in Role}


def _in_region(preset: Preset, environ: Mapping[str, str]) -> str:
    if not preset.regions:
        return preset.base_url
    *names, default = preset.regions
    region = next((environ[name] for name in names if environ.get(name)), default)
    return preset.base_url.replace("{region}", slug(region))


def _is_own(url: str, own: Sequence[tuple[str, int]]) -> bool:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return False
    return any(port == its and (host == name or (is_loopback(host) and is_loopback(name))) for name, its in own)


def _local(
    preset: Preset, environ: Mapping[str, str], own: Sequence[tuple[str, int]], notes: list[str]
) -> Source | None:
    """A server of this machine, at its variable's address, which may lack scheme and port, or at its default one."""
    default = preset.base_url.removesuffix("/v1")
    stated = environ.get(preset.address or "", "").strip().rstrip("/")
    address = stated if "://" in stated else f"http://{stated}" if stated else default
    address = address.replace("://0.0.0.0", "://127.0.0.1")
    if not re.fullmatch(BASE_URL, address):
        notes.append(f"{preset.address} is no address such as {default.partition('://')[2]}: left out.")
        return None
    if not re.search(r":\d+$", address) and address.startswith("http://"):
        address += f":{urlsplit(default).port}"
    if _is_own(address, own):
        notes.append(f"{preset.title} left out: {preset.address} is the address of this router itself.")
        return None
    origin = preset.address if stated else address.partition("://")[2]
    return Source(preset.title, preset.dialect, f"{address}/v1", origin or "", None, local=True, default=not stated)
