"""One kind of object, kept as the API server has it: list, watch, and what to do when either fails.

Used by `observe.gather` and `publish.mirror`, one `Source` per kind, label selector and namespace, each
with a thread of its own. The loop of list and watch, resuming and listing again after a 410 is
`kubernetes.informer.SharedInformer`. Added here:

1. **Lists are taken whole.** A list replaces what is known in one step, inside the call that fetched it: the informer
   tells deletions before its own cache has lost them, and nothing at all of a first list that is empty.
2. **Not known is not empty.** A failed list or watch leaves the objects as they were, and says what is missing.
3. **Pace.** The informer reconnects a failed watch without delay: thousands of requests a second on a 403. Every
   request passes `_pace`, which waits after failures (doubling, jittered, capped) and between watches that end at once.
4. **Ends.** Every watch ends after minutes, by the server's clock and by ours: a revoked right, which does not end a
   watch, and a connection that died in silence are noticed then.
5. **Objects that go with their CRD stay** (`weir_operator.kube.discovery`), until there is a list to go by.
"""

# Without `from __future__ import annotations`: the client reads the return annotation of `_request` as a type, and only
# where it finds one follows the resourceVersion of what the watch delivers.

import contextlib
import functools
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Generic, TypeVar, cast

from kubernetes.client import AdmissionregistrationV1Api, ApiClient, ApiException, CoreV1Api, CustomObjectsApi
from kubernetes.informer import ADDED, DELETED, ERROR, MODIFIED, SharedInformer

from weir_operator.kube.discovery import crd_is_leaving
from weir_operator.kube.objects import JSON, ObjectName, key
from weir_operator.kube.unknowns import Resource, Unknown, UnknownReason, crd_absent, explain
from weir_operator.schemas import GROUP

T = TypeVar("T")

WATCH_SECONDS = 150.0
"""A watch lives as long to twice as long, at random, so that they do not end together. Seven watches make about
1.9 requests a minute of it, and a revoked right is noticed within five minutes."""

WATCH_GRACE = 15.0
"""Seconds that we wait beyond the server's end of a watch before the connection counts as dead."""

CONNECT_SECONDS = 5.0
"""Seconds to connect. Longer than one lost SYN and its repetition, which take 3 s."""

LIST_SECONDS = 30.0
"""Seconds between two pieces of a list's answer. A healthy API server answers in well under a second."""

RETRY_FIRST = 1.0
"""Seconds to the second try, at most. A server that restarts is back in seconds."""

RETRY_MAX = 10.0
"""Seconds between tries, at most: an administrator who has just applied a missing rule or CRD is watching."""

STREAK_SECONDS = 60.0
"""Failures further apart than this do not add up. More than the slowest list and the longest wait together."""

WATCH_PAUSE = 1.0
"""Seconds between the starts of two watches, at least: a proxy may end each at once, without an error."""

UNAVAILABLE_AFTER = 2
"""Failures of a watch in a row before a kind counts as unknown: a single cut connection is everyday life."""

CRD_SECONDS = 0.25
"""Seconds from a deletion to the check of its CRD, and that its answer holds. Discovery lags by about 30 ms."""

STOP_SECONDS = 2.0
"""How long to wait for the threads at the end. A request in flight may take longer; its thread is a daemon."""

_log = logging.getLogger("weir_operator.gather")


def _is_ours_to_fix(record: logging.LogRecord) -> bool:
    return "handler" in str(record.msg)


# A traceback for every failed try says less than the one line of `Source._failed`. Those in handlers are our own bugs.
logging.getLogger("kubernetes.informer.informer").addFilter(_is_ours_to_fix)


class Stopped(Exception):
    """No more requests: `stop` was called. Ends up in the informer's loop, which ends."""


@dataclass(frozen=True)
class _Metadata:
    resource_version: str


@dataclass(frozen=True)
class _Listing:
    """A list in the shape that SharedInformer reads."""

    items: list[JSON]
    metadata: _Metadata


def backoff(failures: int, draw: float) -> float:
    """Seconds to wait after the `failures`-th failure in a row (from 1); `draw` is from [0, 1)."""
    ceiling = min(RETRY_MAX, RETRY_FIRST * 2.0 ** (min(failures, 32) - 1))
    return ceiling * (0.5 + draw / 2)


class Source(Generic[T]):
    """The objects of one resource in one namespace, or in all (None), converted."""

    def __init__(
        self,
        client: ApiClient,
        resource: Resource,
        namespace: str | None,
        convert: Callable[[JSON], T],
        on_change: Callable[[], None],
        *,
        watch_seconds: float = WATCH_SECONDS,
    ) -> None:
        """`on_change` is called from the source's thread when objects or `unknown` have changed; it must not raise."""
        self.resource = resource
        self.namespace = namespace
        self._client = client
        self._call = _list_call(client, resource, namespace)
        self._convert = convert
        self._on_change = on_change
        self._watch_seconds = watch_seconds
        self._lock = threading.Lock()
        self._objects: dict[ObjectName, T] | None = None
        self._unknown: Unknown | None = None
        self._response: Any = None  # of the watch that is open
        self._stopping = threading.Event()
        self._must_list = False  # the watch's last events are not to be relied on
        self._served_at = 0.0
        self._failures = 0
        self._failed_at = self._not_before = 0.0
        self._informer = cast("Any", SharedInformer)(self._request)  # it has no types
        for event in (ADDED, MODIFIED):
            self._informer.add_event_handler(event, self._put)
        self._informer.add_event_handler(DELETED, self._remove)
        self._informer.add_event_handler(ERROR, self._failed)

    def start(self) -> None:
        """Starts to list and watch. Once."""
        self._informer.start()

    def stop(self) -> threading.Thread:
        """Ends the watch, and calls back no more. The returned thread ends when the source's own has."""
        self._stopping.set()
        self._end_watch()
        # It joins without a limit, and a request in flight cannot be broken off.
        ending = threading.Thread(target=self._informer.stop, name="SharedInformer.stop", daemon=True)
        ending.start()
        return ending

    def objects(self) -> dict[ObjectName, T] | None:
        """The last known objects; None before the first list."""
        with self._lock:
            return None if self._objects is None else dict(self._objects)

    @property
    def unknown(self) -> Unknown | None:
        """Why `objects` may be out of date; None: it is not."""
        return self._unknown

    def _request(self, **parameters: Any) -> object:
        """Called by SharedInformer to list, and with `watch` to watch."""
        if not parameters.get("watch"):
            return self._list()
        if self._must_list:
            raise ApiException(status=HTTPStatus.GONE)  # upon which the informer lists
        return self._watch(parameters["resource_version"])

    def _pace(self) -> None:
        # Not in a loop: `wait` returns early only when it is time to stop.
        if self._stopping.wait(max(0.0, self._not_before - time.monotonic())):
            raise Stopped

    def _list(self) -> _Listing:
        while True:
            self._pace()
            try:
                return self._list_once()
            except Exception as error:  # after any error the informer would ask again, but always after 5 s
                self._failed(error)

    def _list_once(self) -> _Listing:
        response = self._call(_preload_content=False, _request_timeout=(CONNECT_SECONDS, LIST_SECONDS))
        body = json.loads(response.data)
        items = body.get("items") or []
        self._replace({key(item): self._convert(item) for item in items})
        self._must_list = False
        return _Listing(items, _Metadata(body["metadata"]["resourceVersion"]))

    def _watch(self, resource_version: str) -> Any:
        self._pace()
        self._not_before = time.monotonic() + WATCH_PAUSE
        lifetime = max(1, round(self._watch_seconds * random.uniform(1, 2)))
        response = self._call(
            watch=True,
            resource_version=resource_version,
            allow_watch_bookmarks=True,  # so that a quiet kind resumes where it is, rather than list again
            timeout_seconds=lifetime,
            _preload_content=False,
            _request_timeout=(CONNECT_SECONDS, lifetime + WATCH_GRACE),
        )
        with self._lock:
            if self._stopping.is_set():
                response.close()
                raise Stopped
            self._response = response
        self._known()
        return response

    def _end_watch(self) -> None:
        with (
            self._lock,
            contextlib.suppress(ValueError, RuntimeError, OSError),
        ):  # closed already, in one way or another
            if self._response is not None:
                self._response.shutdown()

    def _replace(self, objects: dict[ObjectName, T]) -> None:
        with self._lock:
            changed = objects != self._objects
            self._objects = objects
        if changed:
            self._notify()

    def _put(self, body: JSON) -> None:
        name, converted = key(body), self._convert(body)
        with self._lock:
            assert self._objects is not None  # a list comes before any event
            changed = self._objects.get(name) != converted
            self._objects[name] = converted
        if changed:
            self._notify()

    def _remove(self, body: JSON) -> None:
        if self._goes_with_its_crd():
            return
        with self._lock:
            assert self._objects is not None
            gone = self._objects.pop(key(body), None)
        if gone is not None:
            self._notify()

    def _goes_with_its_crd(self) -> bool:
        if self.resource.group != GROUP or self._must_list:
            return self._must_list
        if time.monotonic() - self._served_at > CRD_SECONDS:
            self._stopping.wait(CRD_SECONDS)
            if crd_is_leaving(self._client, self.resource):
                self._must_list = True
                self._not_known(crd_absent(self.resource, self.namespace))
                self._end_watch()
            self._served_at = time.monotonic()
        return self._must_list

    def _failed(self, error: BaseException) -> None:
        now = time.monotonic()
        self._failures = self._failures + 1 if now - self._failed_at < STREAK_SECONDS else 1
        self._failed_at, self._not_before = now, now + backoff(self._failures, random.random())
        if self._must_list and not isinstance(error, ApiException):
            return  # we ended that watch
        if isinstance(error, ApiException) and error.status == HTTPStatus.GONE:
            return  # the informer lists again: that tells what is known
        found = explain(self.resource, self.namespace, error)
        self._must_list |= found.reason is UnknownReason.CRD_ABSENT  # a CRD made anew has a history of its own
        passing = found.reason is UnknownReason.UNAVAILABLE and self._failures < UNAVAILABLE_AFTER
        if self._objects is None or not passing:
            self._not_known(found)

    def _not_known(self, found: Unknown) -> None:
        before, self._unknown = self._unknown, found
        if not self._stopping.is_set() and (before is None or before.reason is not found.reason):
            _log.warning("%s (It is tried again every few seconds; what was known stays.)", found)
            self._notify()

    def _known(self) -> None:
        before, self._unknown = self._unknown, None
        if before is not None:
            _log.info("%s is known again%s", before.kind, f" in {before.namespace}" if before.namespace else "")
            self._notify()

    def _notify(self) -> None:
        if not self._stopping.is_set():
            self._on_change()


def stop_all(sources: Iterable[Source[Any]]) -> None:
    """Ends all watches; `on_change` is called no more. Takes at most `STOP_SECONDS`."""
    deadline = time.monotonic() + STOP_SECONDS
    for ending in [source.stop() for source in sources]:
        ending.join(max(0.0, deadline - time.monotonic()))


_CORE = {"Secret": "secret", "ConfigMap": "config_map", "Service": "service"}


def _list_call(client: ApiClient, resource: Resource, namespace: str | None) -> Callable[..., Any]:
    """The client's method, with everything bound that no request changes."""
    call: Callable[..., Any]
    core = CoreV1Api(client)
    if resource.kind == "MutatingWebhookConfiguration":
        call = AdmissionregistrationV1Api(client).list_mutating_webhook_configuration
    elif resource.group:
        api, path = CustomObjectsApi(client), (resource.group, resource.version)
        if namespace is None:
            call = functools.partial(api.list_cluster_custom_object, *path, resource.plural)
        else:
            call = functools.partial(api.list_namespaced_custom_object, *path, namespace, resource.plural)
    elif resource.kind == "Namespace":
        call = core.list_namespace
    elif namespace is None:
        call = getattr(core, f"list_{_CORE[resource.kind]}_for_all_namespaces")
    else:
        call = functools.partial(getattr(core, f"list_namespaced_{_CORE[resource.kind]}"), namespace)
    if resource.name:
        call = functools.partial(call, field_selector=f"metadata.name={resource.name}")
    return functools.partial(call, label_selector=resource.selector) if resource.selector else call
