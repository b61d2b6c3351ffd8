"""The config server's TLS: one certificate for all replicas, in a Secret, and the authority that routers trust.

Run by every replica; none needs to lead. Reads the Secret `<installation>-operator-tls`, and

- makes it if it is not there, and renews what is due (`publish.authority`). Writes carry the version that was
  read, so of several replicas one makes it and the others take what it made;
- writes back a Secret that another client deletes or spoils, out of its memory: a new authority would shut out routers;
- uses a Secret without our labels and without a key of an authority as it is: another tool made it.

The authority goes to the ConfigMap `<installation>-ca`, which routers mount; one that was there stays until it has
expired. A new certificate is loaded into the same `SSLContext`: the next handshake gets it, open connections stay.
Private keys are in the Secret, in memory, and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from weir_operator.kube.client import ApiClient
from weir_operator.kube.contest import Contest
from weir_operator.kube.informers import Source
from weir_operator.kube.objects import JSON
from weir_operator.kube.owner import Owner
from weir_operator.kube.store import Conflict, Kind, ObjectId, ObjectStore, PublishFailed, Stored
from weir_operator.kube.unknowns import Resource
from weir_operator.publish.authority import (
    SPREAD,
    Kept,
    NotReadable,
    Pair,
    bundle,
    certificates,
    check,
    covers,
    names_of,
    renewed,
    valid,
)
from weir_operator.publish.publisher import labels

CHECK_SECONDS = 300.0
"""Seconds between two checks without any news: a certificate is renewed weeks before its end, so minutes do not matter.
Changes by other clients are watched."""

CALM_SECONDS = 0.5
"""Seconds from a change of the objects until they are looked at: a client may write them all the time."""

RETRY_SECONDS = 5.0
"""Seconds between two checks while there is no certificate, or after a failed one."""

ATTEMPTS = 5
"""Conflicts in a row: more than a few are no replicas that start together."""

COMPONENT = "config-server"

_CERTIFICATE, _KEY, _AUTHORITIES, _AUTHORITY_KEY = "tls.crt", "tls.key", "ca.crt", "ca.key"

T = TypeVar("T")

_log = logging.getLogger("weir_operator.certificate")


def server_names(service: str, namespace: str, extra: Sequence[str] = ()) -> tuple[str, ...]:
    """Every name by which the config server is called."""
    full = f"{service}.{namespace}"
    return tuple(dict.fromkeys((service, full, f"{full}.svc", f"{full}.svc.cluster.local", "localhost", *extra)))


class Certificate:
    """Keeps `context` ready for handshakes. `run` it; `ready` is set as soon as there is a certificate."""

    def __init__(
        self,
        api_client: ApiClient,
        namespace: str,
        installation: str,
        names: Sequence[str],
        *,
        owner: Owner | None = None,
        on_authorities: Callable[[str], None] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`namespace` is the operator's, `names` see `server_names`. `on_authorities` gets all that routers should
        trust, as PEM, with each look (`ConfigServer.trust`); nothing where the authority is a public one.
        """
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ready = asyncio.Event()
        self.valid_until: datetime | None = None
        """The end of the served certificate's validity."""
        self._installation = installation
        self._names = names
        self._now = now
        self._on_authorities = on_authorities
        self._labels = labels(installation) | {"app.kubernetes.io/component": COMPONENT}
        self._store = ObjectStore(api_client, namespace, self._labels, owner)
        self._secret = ObjectId(Kind.SECRET, f"{installation}-operator-tls")
        self._bundle = ObjectId(Kind.CONFIG_MAP, f"{installation}-ca")
        self._known: tuple[bytes, datetime] | None = None  # the newest authority, and since when routers can have it
        self._authorities = b""  # what routers should trust
        self._trusted: tuple[bytes, ssl.SSLContext] | None = None
        self._loaded: Pair | None = None
        self._mine: Kept | None = None  # our own, as last read or written
        self._handed_out = self._handed_for = b""  # the ConfigMap's content, and the authorities that it was made for
        self._foreign = ""  # why another client's ConfigMap is of no use
        self._api_client, self._namespace = api_client, namespace
        self._watched = (
            Resource("Secret", "", "v1", "secrets", name=self._secret.name),
            Resource("ConfigMap", "", "v1", "configmaps", name=self._bundle.name),
        )
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.contest = Contest(f"{self._secret} or {self._bundle}")
        self.trouble = ""
        """The error of the last check; empty: none."""

    def trust(self) -> ssl.SSLContext:
        """The TLS context for a client of another replica; the same object as long as the authorities are the same."""
        if self._trusted is None or self._trusted[0] != self._authorities:
            context = ssl.create_default_context()
            if self._authorities.strip():
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # with no other authority
                context.load_verify_locations(cadata=self._authorities.decode())
            self._trusted = self._authorities, context
        return self._trusted[1]

    async def run(self) -> None:
        """Looks again and again, and as soon as an object was changed, until cancelled."""
        watches = [Source(self._api_client, it, self._namespace, _version, self._changed) for it in self._watched]
        for watch in watches:
            watch.start()
        try:
            while True:
                well = await self.look()
                await self._sleep(CHECK_SECONDS if well else RETRY_SECONDS)
        finally:
            for watch in watches:
                watch.stop()

    def _changed(self) -> None:
        """Notes a change of the objects; called from the threads of watches."""
        self._loop.call_soon_threadsafe(self._news.set)

    async def _sleep(self, seconds: float) -> None:
        """Sleeps for `seconds`, or until an object is changed; in a contest with another client, as long as it asks."""
        if (wait := self.contest.due_in) > 0:
            await asyncio.sleep(wait)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
                await asyncio.sleep(CALM_SECONDS)
        except TimeoutError:
            return
        self._news.clear()

    async def look(self) -> bool:
        """Makes, renews and loads what is due; returns whether all is well. An error is logged once."""
        try:
            pair = await asyncio.to_thread(_again, self._refresh)
            self._load(pair)  # in the loop's own thread: handshakes read the context there
            self._on_authorities(await asyncio.to_thread(_again, self._hand_out))
        except (PublishFailed, NotReadable, Conflict, ssl.SSLError) as error:
            self._complain(f"{type(error).__name__}: {error}" if isinstance(error, ssl.SSLError) else str(error))
            return False
        self._complain(self._foreign)
        return True

    def _refresh(self) -> Pair:
        """The certificate to serve, made or renewed where it is due."""
        stored, now = self._store.find(self._secret), self._now()
        if stored is not None and not self._is_ours(stored) and _AUTHORITY_KEY not in stored.files:
            self._authorities = stored.files.get(_AUTHORITIES, b"")
            self._mine = None
            return _pair(stored.files)
        there = self._readable(stored)
        kept = self._believed(there, now)
        self._note_bundle(kept, now)
        known = self._known is not None and now - self._known[1] >= SPREAD
        wanted = renewed(kept, self._names, now, installation=self._installation, newest_is_known=known)
        if wanted is not there or (stored is not None and not self._is_ours(stored)):
            self._store.write(self._secret, _files(wanted), stored)
            if wanted is self._mine:
                _log.warning("%s was deleted or changed by another client: it is written back", self._secret)
                self.contest.restored()
        self._mine, self._authorities = wanted, wanted.authorities
        return wanted.served

    def _readable(self, stored: Stored | None) -> Kept | None:
        """The content of our Secret; None: it is not there, or spoilt."""
        try:
            kept = _kept(stored)
            if kept is not None:
                check(kept)
        except NotReadable as error:
            remedy = "all of it is made anew" if self._mine is None else "it is written back"
            _log.warning("%s of %s; %s", error, self._secret, remedy)
            return None
        return kept

    def _believed(self, there: Kept | None, now: datetime) -> Kept | None:
        """The stored certificate, or the one that this replica remembers, where that is no predecessor of the stored.

        A renewal keeps the older authorities. So a Secret without our newest one was written by another client, and
        routers would not know its authority.
        """
        if self._mine is None or not valid(self._mine, now):
            return there
        if there is not None and _covered(there.authorities, self._mine.authorities):
            return there
        return self._mine

    def _note_bundle(self, kept: Kept | None, now: datetime) -> None:
        """Remembers since when the newest authority can be had. After a restart that begins anew, which only delays."""
        there = self._store.find(self._bundle) if kept is not None else None
        if kept is None or there is None or not _covered(there.files.get(_AUTHORITIES, b""), kept.authorities):
            self._known = None
        elif self._known is None or self._known[0] != kept.authorities:
            self._known = kept.authorities, now

    def _hand_out(self) -> str:
        """Puts the authority where routers mount it; returns all that they should trust."""
        self._foreign = ""
        if not self._authorities.strip():
            return ""  # a public one, which routers know
        there = self._store.find(self._bundle)
        old = there.files.get(_AUTHORITIES, b"") if there else b""
        if there is not None and not (self._is_ours(there) or there.is_ours):
            if not _covered(old, self._authorities):
                self._foreign = (
                    f"{self._bundle} was made by another client and lacks the authority of the certificate, so that "
                    "routers cannot reach the operator: delete it, and the operator makes it"
                )
            return self._authorities.decode()
        text = self._bundled(old)
        if there is None or {_AUTHORITIES: text} != there.files or not self._is_ours(there):
            self._store.write(self._bundle, {_AUTHORITIES: text}, there)
            if self._handed_out and self._handed_for == self._authorities:
                _log.warning("%s was deleted or changed by another client: it is written back", self._bundle)
                self.contest.restored()
        self._handed_out, self._handed_for = text, self._authorities
        return text.decode()

    def _bundled(self, old: bytes) -> bytes:
        """Our authorities, after those that were there and those that routers had from us before."""
        try:
            return bundle(old, self._handed_out, self._authorities, now=self._now())
        except NotReadable:  # the old ones were spoilt
            return bundle(self._handed_out, self._authorities, now=self._now())

    def _load(self, pair: Pair) -> None:
        first = certificates(pair.certificate)[0]
        if self._mine is None and first.not_valid_after_utc <= self._now():  # ours is renewed by the next look
            raise NotReadable(f"the certificate of {self._secret} ended on {first.not_valid_after_utc:%Y-%m-%d}")
        if pair == self._loaded:
            return
        load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pair)  # one that does not fit must not spoil what is served
        load(self.context, pair)
        self._loaded, self.valid_until = pair, first.not_valid_after_utc
        self.ready.set()
        _log.info("serving with the certificate of %s, valid until %s", self._secret, self.valid_until)
        if missing := [it for it in self._names if it not in names_of(first)]:
            _log.warning("the certificate of %s lacks the names %s", self._secret, ", ".join(missing))

    def _is_ours(self, stored: Stored) -> bool:
        return self._labels.items() <= stored.labels.items()

    def _complain(self, text: str) -> None:
        if text and text != self.trouble:
            _log.warning("the certificate cannot be kept: %s. (It is tried again every few seconds.)", text)
        self.trouble = text


def _version(body: JSON) -> str:
    return str(body["metadata"].get("resourceVersion"))


def _again(step: Callable[[], T]) -> T:
    """Does `step`; and again if another replica was faster, to take what it made."""
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(Conflict):
            return step()
    return step()


def load(context: ssl.SSLContext, pair: Pair) -> None:
    """Loads a pair into `context`, without a file that anybody else could read. Raises `ssl.SSLError`."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(pair.certificate + b"\n" + pair.key)
        # An empty passphrase: for an encrypted key OpenSSL would ask the terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
    finally:
        os.close(descriptor)


def _pair(files: Mapping[str, bytes]) -> Pair:
    if not files.get(_CERTIFICATE) or not files.get(_KEY):
        raise NotReadable(f"the Secret lacks {_CERTIFICATE} or {_KEY}")
    return Pair(files[_CERTIFICATE], files[_KEY])


def _kept(stored: Stored | None) -> Kept | None:
    if stored is None or not {_CERTIFICATE, _KEY, _AUTHORITIES, _AUTHORITY_KEY} <= stored.files.keys():
        return None
    return Kept(stored.files[_AUTHORITIES], stored.files[_AUTHORITY_KEY], _pair(stored.files))


def _files(kept: Kept) -> dict[str, bytes]:
    return {
        _AUTHORITIES: kept.authorities,
        _AUTHORITY_KEY: kept.authority_key,
        _CERTIFICATE: kept.served.certificate,
        _KEY: kept.served.key,
    }


def _covered(bundled: bytes, authorities: bytes) -> bool:
    try:
        return bool(bundled.strip()) and covers(bundled, authorities)
    except NotReadable:
        return False
