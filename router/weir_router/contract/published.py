"""A config as files that pods mount: their names, and how they become a config again. Pure.

The operator publishes the files (in ConfigMaps and Secrets); routers and the operator's followers read them. The name
of each file holds the hash of its content (see `Index`), so old and new files may lie side by side. An index can be
used when every file that it names is there and has that hash. Otherwise the whole config is refused, since a mix of two
revisions could send requests to the wrong tier.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from weir_router.contract.addresses import HostPolicy
from weir_router.contract.base import Wire, prepare
from weir_router.contract.caller import CallerKey, TokenTrust
from weir_router.contract.config import CompiledConfig
from weir_router.contract.policy import Policy
from weir_router.contract.secrets import Secrets, StateKey
from weir_router.contract.tier import Tier
from weir_router.contract.version import API_VERSION, ConfigRejected, check_version, digest

T = TypeVar("T")

INDEX_FILE = "index.json"
"""Name of the index. It is the only file with a fixed name; all others are named by the hash of their content."""


def shard_file(shard: str, hashed: str) -> str:
    """Name of a shard's file: a gzipped `Shard`, whose JSON has the hash `hashed`."""
    return f"shard-{shard}.{hashed.removeprefix('sha256:')}.json.gz"


def credential_file(hashed: str) -> str:
    """Name of a credential's file, which holds the bare value."""
    return f"credential.{hashed.removeprefix('sha256:')}"


def caller_keys_file(hashed: str) -> str:
    """Name of the file of all callers' keys: gzipped `Secrets.caller_keys`, whose JSON has the hash `hashed`."""
    return f"caller-keys.{hashed.removeprefix('sha256:')}.json.gz"


def state_keys_file(hashed: str) -> str:
    """Name of the file of the keys that seal ids: gzipped `Secrets.state_keys`, whose JSON has the hash `hashed`."""
    return f"state-keys.{hashed.removeprefix('sha256:')}.json.gz"


class Shard(Wire, frozen=True):
    """A part of a `CompiledConfig`. Generations are here and not in the index, which stays small that way."""

    tiers: dict[str, Tier] = {}
    policies: tuple[Policy, ...] = ()
    generations: dict[str, int] = {}


class Index(Wire, frozen=True, omit_defaults=False):
    """The list of files that together are one config. Everything but `revision` follows from the content."""

    api_version: str = API_VERSION
    revision: int = 0
    class_name: str = "weir"
    anonymous_namespace: str | None = None
    tokens: TokenTrust | None = None
    routers: int = 1
    catalogue_date: str | None = None
    hosts: HostPolicy = HostPolicy()
    gateway_authorities: str | None = None
    shards: dict[str, str] = {}  # "07" -> hash; an empty shard has no file and is left out
    credentials: tuple[str, ...] = ()  # hashes of the credentials that the shards name
    caller_keys: str | None = None  # hash; None: no caller has a key
    state_keys: str | None = None  # hash; None: there are none

    @property
    def files(self) -> frozenset[str]:
        """The name of every file that this index needs."""
        shards = (shard_file(shard, hashed) for shard, hashed in self.shards.items())
        keys = () if self.caller_keys is None else (caller_keys_file(self.caller_keys),)
        seals = () if self.state_keys is None else (state_keys_file(self.state_keys),)
        return frozenset((*shards, *map(credential_file, self.credentials), *keys, *seals))


def parse_index(data: bytes) -> Index:
    """An index from its JSON. Raises `ConfigRejected` for another major version, and for data that is not an index."""
    try:
        check_version(msgspec.json.decode(data, type=_Version).api_version)
        return msgspec.json.decode(data, type=Index)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigRejected(f"{INDEX_FILE} is not an index: {error}") from error


class _Version(msgspec.Struct, rename="camel"):
    api_version: str = "missing"


def assemble(
    index: Index, files: Mapping[str, bytes], known: dict[str, Shard] | None = None
) -> tuple[CompiledConfig, Secrets]:
    """The config of `index`. Raises `ConfigRejected`, which names the missing or damaged file.

    `known` holds shards by hash that need not be read again; the call updates it for the next one.
    """
    source, known = _Files(index.revision, files), {} if known is None else known
    for shard, hashed in index.shards.items():
        file = shard_file(shard, hashed)
        if hashed not in known or file not in files:  # a known shard whose file is gone is missing, too
            known[hashed] = source.decoded(f"shard {shard}", file, hashed, Shard)
    for old in known.keys() - set(index.shards.values()):
        del known[old]
    shards = [known[hashed] for _, hashed in sorted(index.shards.items())]
    config = CompiledConfig(
        api_version=index.api_version,
        revision=index.revision,
        class_name=index.class_name,
        tiers=_merged(shard.tiers for shard in shards),
        policies=tuple(sorted((policy for shard in shards for policy in shard.policies), key=lambda it: it.precedence)),
        generations=_merged(shard.generations for shard in shards),
        anonymous_namespace=index.anonymous_namespace,
        tokens=index.tokens,
        routers=index.routers,
        catalogue_date=index.catalogue_date,
        hosts=index.hosts,
        gateway_authorities=index.gateway_authorities,
    )
    keys, seals = source.caller_keys(index), source.state_keys(index)
    return config, Secrets(credentials=source.credentials(index), caller_keys=keys, state_keys=seals)


def _merged(parts: Iterable[dict[str, T]]) -> dict[str, T]:
    whole = {key: value for part in parts for key, value in part.items()}
    return {key: whole[key] for key in sorted(whole)}


class _Files:
    """The files of one revision. Their content never enters an error."""

    def __init__(self, revision: int, files: Mapping[str, bytes]) -> None:
        self._revision = revision
        self._files = files

    def credentials(self, index: Index) -> dict[str, str]:
        found: dict[str, str] = {}
        for hashed in index.credentials:
            name = credential_file(hashed)
            value = self._file("a credential", name)
            self._check("a credential", name, value, hashed)
            found[hashed] = value.decode("utf-8", "replace")  # as the compiler reads it
        return found

    def caller_keys(self, index: Index) -> dict[str, CallerKey]:
        if index.caller_keys is None:
            return {}
        name = caller_keys_file(index.caller_keys)
        return self.decoded("the file of callers' keys", name, index.caller_keys, dict[str, CallerKey])

    def state_keys(self, index: Index) -> tuple[StateKey, ...]:
        if index.state_keys is None:
            return ()
        name = state_keys_file(index.state_keys)
        return self.decoded("the file of keys that seal ids", name, index.state_keys, tuple[StateKey, ...])

    def decoded(self, what: str, name: str, hashed: str, type_: type[T]) -> T:
        try:
            content = gzip.decompress(self._file(what, name))
        except (OSError, EOFError, zlib.error) as error:
            raise self._damaged(what, name) from error
        self._check(what, name, content, hashed)
        try:
            return msgspec.json.decode(content, type=type_)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ConfigRejected(f"{what} of revision {self._revision} cannot be read: {error}") from error

    def _file(self, what: str, name: str) -> bytes:
        try:
            return self._files[name]
        except KeyError:
            raise ConfigRejected(f"{what} of revision {self._revision} is not there yet: {name}") from None

    def _check(self, what: str, name: str, content: bytes, hashed: str) -> None:
        if digest(content) != hashed:
            raise self._damaged(what, name)

    def _damaged(self, what: str, name: str) -> ConfigRejected:
        return ConfigRejected(
            f"{what} of revision {self._revision} is damaged: the content of {name} is not what its name says"
        )


prepare(Shard, Index, _Version)
