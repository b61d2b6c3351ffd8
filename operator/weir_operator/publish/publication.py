"""`Compiled` → the objects that carry it into pods. PURE; `weir_operator.publish.publisher` writes what this makes.

Routers mount the objects as one directory, see `weir_router.contract.published`: an index, and files named by the hash
of their content. Because names follow from content, an object can hold the files of the last revision beside those of
the next, and the index decides which of them count.
"""

from __future__ import annotations

import gzip
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import msgspec

from weir_operator.compile import Compiled
from weir_operator.compile.room import (
    CREDENTIAL_SECRETS,
    MAX_OBJECT_BYTES,
    SHARDS,
    credential_shard,
    shard_name,
    shard_of,
)
from weir_operator.kube.encoding import encoded
from weir_operator.kube.store import Kind, ObjectId, PublishFailed
from weir_router.contract import CompiledConfig, Policy, Secrets, Tier, digest
from weir_router.contract.published import (
    INDEX_FILE,
    Index,
    Shard,
    caller_keys_file,
    credential_file,
    shard_file,
    state_keys_file,
)

_INSTALLATION = re.compile(r"[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?")


class ConfigTooLarge(PublishFailed):
    """Nothing was written. `compile.room` leaves out what would come to that: only a bug of ours does."""


class Names:
    """The names of one installation's objects; a pod's volumes name all of them."""

    def __init__(self, installation: str) -> None:
        """Raises `ValueError` for a name that is no start of an object's name or no value of a label."""
        if not _INSTALLATION.fullmatch(installation):
            raise ValueError(
                f"installation {installation!r} is not a name of at most 50 lower-case letters, digits and dashes"
            )
        self.index = ObjectId(Kind.CONFIG_MAP, f"{installation}-index")
        self.credentials = {
            shard: ObjectId(Kind.SECRET, f"{installation}-credentials-{shard}")
            for shard in map(shard_name, range(CREDENTIAL_SECRETS))
        }
        self.old_credentials = ObjectId(Kind.SECRET, f"{installation}-credentials")  # of all namespaces, until 0.1
        self.caller_keys = ObjectId(Kind.SECRET, f"{installation}-caller-keys")
        self.state_keys = ObjectId(Kind.SECRET, f"{installation}-state-keys")
        self.shards = {
            shard: ObjectId(Kind.CONFIG_MAP, f"{installation}-shard-{shard}")
            for shard in map(shard_name, range(SHARDS))
        }

    @property
    def all(self) -> tuple[ObjectId, ...]:
        """The objects in the order of writing: the index, which names the others, is the last."""
        return (*self.credentials.values(), self.caller_keys, self.state_keys, *self.shards.values(), self.index)


@dataclass(frozen=True)
class Publication:
    """The wanted objects: one index, and every file that it names, in the object that holds it."""

    index: Index
    names: Names
    contents: Mapping[ObjectId, Mapping[str, bytes]] = field(repr=False)  # without the index; an empty one is absent

    @property
    def objects(self) -> Iterator[tuple[ObjectId, Mapping[str, bytes]]]:
        """The objects with their files, in the order of writing: the index last."""
        for name in self.names.all:
            if name == self.names.index:
                yield name, {INDEX_FILE: encoded(self.index)}
            elif name in self.contents:
                yield name, self.contents[name]

    @property
    def files(self) -> dict[str, bytes]:
        """The files of a pod that mounts all objects as one directory."""
        return {name: content for _, files in self.objects for name, content in files.items()}

    def at(self, revision: int) -> Publication:
        """The same content as another revision."""
        return replace(self, index=msgspec.structs.replace(self.index, revision=revision))


def publication(compiled: Compiled, revision: int, *, names: Names) -> Publication:
    """The publication of `compiled`; equal configs give equal bytes. Raises `ConfigTooLarge`."""
    config, secrets = compiled.config, compiled.secrets
    shards = {shard: encoded(content) for shard, content in _split(config).items()}
    used = _used(config)
    keys = encoded(secrets.caller_keys) if secrets.caller_keys else None
    seals = encoded(secrets.state_keys) if secrets.state_keys else None
    index = Index(
        api_version=config.api_version,
        revision=revision,
        class_name=config.class_name,
        anonymous_namespace=config.anonymous_namespace,
        tokens=config.tokens,
        routers=config.routers,
        catalogue_date=config.catalogue_date,
        hosts=config.hosts,
        gateway_authorities=config.gateway_authorities,
        shards={shard: digest(content) for shard, content in shards.items()},
        credentials=tuple(sorted({hashed for hashes in used.values() for hashed in hashes})),
        caller_keys=None if keys is None else digest(keys),
        state_keys=None if seals is None else digest(seals),
    )
    contents: dict[ObjectId, Mapping[str, bytes]] = {
        names.shards[shard]: {shard_file(shard, digest(content)): _packed(content)} for shard, content in shards.items()
    }
    contents |= {names.credentials[shard]: _credentials(hashes, secrets) for shard, hashes in used.items()}
    if keys is not None:
        contents[names.caller_keys] = {caller_keys_file(digest(keys)): _packed(keys)}
    if seals is not None:
        contents[names.state_keys] = {state_keys_file(digest(seals)): _packed(seals)}
    result = Publication(index, names, contents)
    for name, files in result.objects:
        if not fits(files):
            raise ConfigTooLarge(_too_large(name, files))
    return result


def fits(files: Mapping[str, bytes]) -> bool:
    """Whether one object can hold `files`."""
    return _weight(files) <= MAX_OBJECT_BYTES


def _weight(files: Mapping[str, bytes]) -> int:
    # Names count twice: etcd's bound of 1.5 MiB holds for the whole object, whose managedFields repeat every name.
    return sum(len(content) + 2 * len(name) for name, content in files.items())


def _too_large(name: ObjectId, files: Mapping[str, bytes]) -> str:
    return (
        f"{name} would need {_weight(files):,} bytes of the {MAX_OBJECT_BYTES:,} that one object may have; nothing was "
        "published and routers keep what they have. This is a bug of Weir: the compiler leaves out what does not fit. "
        "Spread the objects over several installations (spec.className), or remove some."
    )


def _split(config: CompiledConfig) -> dict[str, Shard]:
    tiers: dict[str, dict[str, Tier]] = defaultdict(dict)
    policies: dict[str, list[Policy]] = defaultdict(list)
    generations: dict[str, dict[str, int]] = defaultdict(dict)
    for key, tier in config.tiers.items():
        tiers[shard_of(key)][key] = tier
    for policy in config.policies:
        policies[shard_of(policy.key)].append(policy)
    for name, generation in config.generations.items():
        _kind, _, key = name.partition("/")
        generations[shard_of(key)][name] = generation
    return {
        shard: Shard(tiers=tiers[shard], policies=tuple(policies[shard]), generations=generations[shard])
        for shard in sorted({*tiers, *policies, *generations})
    }


def _used(config: CompiledConfig) -> dict[str, set[str]]:
    """The hashes of the credentials that tiers use, by the shard of their namespace. A key that two namespaces have
    is in both of theirs.
    """
    used: dict[str, set[str]] = defaultdict(set)
    for key, tier in config.tiers.items():
        for backend in tier.backends:
            if backend.credential is not None:
                used[credential_shard(key.partition("/")[0])].add(backend.credential)
    return used


@lru_cache(2 * SHARDS)  # one of the shards changes; to pack the others again would cost more than everything else
def _packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)  # without the time of day, which would make equal configs differ


def _credentials(used: Iterable[str], secrets: Secrets) -> dict[str, bytes]:
    return {credential_file(hashed): secrets.credentials[hashed].encode() for hashed in sorted(used)}
