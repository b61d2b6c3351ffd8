"""The last good config of a sidecar, kept in memory that outlives the container. Used by `weir sidecar`.

A sidecar mounts nothing of the operator's; its config only comes from the config server. The directory is an in-memory
emptyDir: keys of the namespace's providers reach no disk, and end with the pod.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec

from weir_router.config.decode import decode
from weir_router.config.store import ConfigStore
from weir_router.contract import CompiledConfig, ConfigRejected, Delivery, Secrets

FILE = "config.json"

_log = logging.getLogger("weir.config")


class KeptConfig:
    """Writes every config that a `ConfigStore` applies to a file, and restores it in the next process."""

    def __init__(self, directory: Path, store: ConfigStore) -> None:
        self._file = directory / FILE
        self._store = store

    def restore(self) -> None:
        """Applies the kept config, if there is one, and keeps every config from now on."""
        try:
            kept = decode(self._file.read_bytes(), Delivery)
            # Revision 0: every config of the server counts as newer, even after the operator has lost its state.
            self._store.apply(msgspec.structs.replace(kept.config, revision=0), kept.secrets)
            _log.info("revision %d applied from %s", kept.config.revision, self._file)
        except FileNotFoundError:
            pass  # a new pod
        except (OSError, ConfigRejected) as error:
            _log.warning("cannot use the config kept in %s: %s", self._file, error)
        self._store.subscribe(self._keep)

    def _keep(self, config: CompiledConfig, secrets: Secrets) -> None:
        if config.revision == 0:
            return  # it was read from here
        part = self._file.with_suffix(".part")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(msgspec.json.encode(Delivery(config=config, secrets=secrets)))
            part.replace(self._file)
        except OSError as error:  # the router serves all the same
            _log.warning("cannot keep the config in %s: %s", self._file, error.strerror)
