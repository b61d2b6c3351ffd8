"""The authorities of the gateway's certificate, from a mounted file. Sidecars verify the gateway with them.

Used by every replica: the config has them for sidecars that run, and an injected pod for its start. A change of the
file reaches this pod, the gateway's pods and the sidecars at different times. So the authorities of before the change
stay beside the new ones for `OVERLAP`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from weir_operator.publish.authority import NotReadable, bundle
from weir_router.contract import CompiledConfig

CHECK_SECONDS = 10.0
"""Seconds between two checks of the file. The kubelet takes up to two minutes to renew it."""

OVERLAP = 600.0
"""Seconds for which replaced authorities still count: the kubelets of all nodes have the new certificate by then."""

MAX_FILE_BYTES = 64 * 1024
"""Bytes of the file, at most: some thirty certificates. A pod's annotations have room for 256 KiB altogether."""

_log = logging.getLogger("weir.certificate")


class GatewayTrust:
    """Keeps `authorities` at what the file holds. `run` it."""

    def __init__(
        self,
        file: Path | None,
        on_change: Callable[[], None] = lambda: None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`file` of None: a public authority signs the gateway's certificate."""
        self.authorities = ""
        """PEM; empty: public ones, or none that could be read yet."""
        self.trouble = ""
        """Why the file is of no use; empty: nothing is wrong."""
        self._file = file
        self._on_change = on_change
        self._monotonic = monotonic
        self._now = now
        self._read = b""
        self._before: tuple[bytes, float] | None = None  # replaced authorities, and until when they count

    async def run(self) -> None:
        """Looks again and again, until cancelled."""
        while self._file is not None:
            self.look()
            await asyncio.sleep(CHECK_SECONDS)

    def to_publish(self, published: CompiledConfig | None) -> str | None:
        """The authorities for the next config. `published` keeps its own while the file has never been of use."""
        if self._file is None:
            return None
        return self.authorities or (published.gateway_authorities if published else None)

    def look(self) -> None:
        """Takes over a changed file. One that cannot be used changes nothing."""
        if self._file is None:
            return
        try:
            self._take(_content(self._file))
        except (OSError, NotReadable) as error:
            what = error.strerror if isinstance(error, OSError) else error
            self._complain(f"{self._file} has no authority of the gateway's certificate: {what}")
        else:
            self._complain("")

    def _take(self, content: bytes) -> None:
        read = bundle(content, now=self._now())
        if not read:
            raise NotReadable("there is no certificate that has not expired")
        if self._read and read != self._read:
            self._before = self._read, self._monotonic() + OVERLAP
        if self._before is not None and self._monotonic() >= self._before[1]:
            self._before = None
        self._read = read
        authorities = bundle(self._before[0] if self._before else b"", read, now=self._now()).decode()
        if authorities != self.authorities:
            self.authorities = authorities
            self._on_change()

    def _complain(self, text: str) -> None:
        if text and text != self.trouble:
            _log.warning("%s. Sidecars verify the gateway with the authorities of before.", text)
        self.trouble = text


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise NotReadable(f"it is larger than {MAX_FILE_BYTES >> 10} KiB")
    return content
