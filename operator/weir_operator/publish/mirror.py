"""The published config, as the API server has it: kept by two watches, and put together. Run by every replica.

All replicas serve this and nothing else, the leader too: so all serve the same revisions, and a leader that goes or
comes changes nothing for routers. A part of a revision is never served: the last whole one stays.
"""

from __future__ import annotations

from collections.abc import Callable

from weir_operator.kube.client import ApiClient
from weir_operator.kube.informers import WATCH_SECONDS, Source, stop_all
from weir_operator.kube.unknowns import Resource, Unknown
from weir_operator.observe import convert
from weir_operator.publish.publisher import selector
from weir_router.contract import CompiledConfig, ConfigRejected, Secrets, StateKey
from weir_router.contract.published import INDEX_FILE, Index, Shard, assemble, parse_index


class Mirror:
    """The published objects of one installation."""

    def __init__(
        self,
        api_client: ApiClient,
        namespace: str,
        installation: str,
        on_change: Callable[[], None],
        *,
        watch_seconds: float = WATCH_SECONDS,
    ) -> None:
        """`on_change` is called from threads of the mirror, several at a time; it must be quick and not raise."""
        resources = (
            Resource(kind, "", "v1", plural, selector(installation))
            for kind, plural in (("ConfigMap", "configmaps"), ("Secret", "secrets"))
        )
        self._sources = [
            Source(api_client, it, namespace, convert.files, on_change, watch_seconds=watch_seconds) for it in resources
        ]
        self._last: tuple[Index, CompiledConfig, Secrets] | None = None
        self._shards: dict[str, Shard] = {}  # of `_last`, by hash: one changes, fifteen are what they were
        self._files: dict[str, bytes] = {}  # of `_last`
        self.trouble: str | None = None
        """Why what is there cannot be served; None: it can, or nothing is there."""

    def start(self) -> None:
        """Starts to list and watch, in threads. Once."""
        for source in self._sources:
            source.start()

    def stop(self) -> None:
        """Ends the watches; takes at most `informers.STOP_SECONDS`."""
        stop_all(self._sources)

    @property
    def listed(self) -> bool:
        """Whether it is known what is there, be it nothing."""
        return all(it.objects() is not None for it in self._sources)

    @property
    def index(self) -> Index | None:
        """The index of the config that `read` gave last."""
        return None if self._last is None else self._last[0]

    @property
    def state_keys(self) -> tuple[StateKey, ...]:
        """The keys that seal ids, as `read` gave them last; from any thread."""
        last = self._last
        return () if last is None else last[2].state_keys

    def unknown(self) -> tuple[Unknown, ...]:
        """Why what is known may be out of date."""
        return tuple(it.unknown for it in self._sources if it.unknown is not None)

    def read(self) -> tuple[CompiledConfig, Secrets] | None:
        """The config that is published, or the last one that was there whole; None: there was none yet.

        Not from several threads at once.
        """
        files: dict[str, bytes] = {}
        for source in self._sources:
            for content in (source.objects() or {}).values():
                files |= content
        self.trouble = self._take(files)
        return None if self._last is None else self._last[1:]

    def _take(self, files: dict[str, bytes]) -> str | None:
        if INDEX_FILE not in files:
            return None if self._last is None else f"{INDEX_FILE} is gone"
        try:
            index = parse_index(files[INDEX_FILE])
            changed = any(files.get(name) != content for name, content in self._files.items())
            if self._last is None or self._last[0] != index or changed:
                # Files are named by their content: a changed one is damaged, or names lie.
                self._shards = {} if changed else self._shards
                self._last = (index, *assemble(index, files, self._shards))
                self._files = {name: files[name] for name in index.files}
        except ConfigRejected as error:
            return str(error)
        return None
