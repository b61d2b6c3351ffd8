"""The sidecar's webhook: AdmissionReviews in, patches out. Served beside the config server, by every replica.

By our own server and not by kopf's: kopf serves admission on a port and with a certificate of its own, in the process
that reconciles, while this is one more path of a server that has the shared certificate already, and that replicas
which do not lead serve as well. `weir_operator.sidecar.inject` decides. The pod is allowed in every case.

The API server shows no token, so anybody who reaches the port may send a review. It is bounded in bytes, values, time
and number, addresses take turns, and what it makes us log is bounded, too.
"""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from aiohttp import web

from weir_operator.distribute.refusals import body_of, refusal
from weir_operator.distribute.turns import TooMany, Turns
from weir_operator.kube.encoding import encoded
from weir_operator.sidecar.inject import Injection, Settings, inject

INJECT_PATH = "/v1/inject"
"""Path to which the API server POSTs AdmissionReviews, as the webhook configuration says."""

MAX_REVIEW_BYTES = 4 * 1024 * 1024
"""Bytes of a review: an API server takes requests of 3 MiB, and wraps the pod of one."""

MAX_REVIEW_VALUES = 100_000
"""Values of a review, as counted by its commas and opening brackets: a pod has hundreds, and 4 MiB of `{}` would be
100 MiB once decoded."""

REVIEW_SECONDS = 5.0
"""Seconds for the body of a review: the API server waits no longer for the answer."""

REVIEWS_AT_ONCE = 4
"""Reviews whose bodies are in memory."""

REVIEWS_WAITING = 100
"""Reviews of one address that wait. A further one gets 503, and the API server starts the pod without a sidecar."""

MAX_NAME = 253
"""Characters of a review's uid and namespace, at most."""

LINES_A_MINUTE = 60
"""Lines about pods that are logged in a minute; more are left out."""

MAX_WARNING = 250
"""Characters; Kubernetes asks for at most 256, since kubectl shows a warning on one line."""

_log = logging.getLogger("weir.inject")


_Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]


class _Request(msgspec.Struct):
    uid: _Name
    operation: str = ""
    namespace: _Name = ""
    object: dict[str, Any] | None = None


class _Review(msgspec.Struct):
    request: _Request


class Admission:
    """Answers AdmissionReviews of pods."""

    def __init__(
        self,
        settings: Settings,
        authorities: Callable[[], str | None],
        of_gateway: Callable[[], str] = lambda: "",
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`authorities` gives the PEM that our certificate is verified with, empty for a public one; None: there is no
        certificate yet. `of_gateway` gives that of the gateway's certificate.
        """
        self._settings = settings
        self._authorities = authorities
        self._of_gateway = of_gateway
        self._monotonic = monotonic
        self._turns = Turns(REVIEWS_AT_ONCE, REVIEWS_WAITING)
        self._minute, self._lines = 0.0, 0

    def serve(self, app: web.Application) -> None:
        """Adds the path to a server that has not been started."""
        app.router.add_post(INJECT_PATH, self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            async with self._turns.turn(request.remote or ""):
                return self._answered(_decoded(await body_of(request, MAX_REVIEW_BYTES, REVIEW_SECONDS)))
        except TooMany:
            raise refusal(web.HTTPServiceUnavailable, "too many reviews wait here") from None

    def _answered(self, review: _Request) -> web.Response:
        answer: dict[str, Any] = {"uid": review.uid, "allowed": True}
        injection = self._injection(review)
        if injection.patch:
            answer |= {"patchType": "JSONPatch", "patch": base64.b64encode(encoded(injection.patch)).decode()}
        if injection.warnings:
            answer["warnings"] = [it[:MAX_WARNING] for it in injection.warnings]
        body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}
        return web.Response(body=encoded(body), content_type="application/json")

    def _injection(self, review: _Request) -> Injection:
        if review.operation != "CREATE" or review.object is None:
            return Injection()  # a pod that is there cannot be changed
        authorities = self._authorities()
        if authorities is None:
            return Injection(warnings=("Weir's sidecar was not added: the operator has no certificate yet",))
        try:
            injection = inject(review.object, self._settings, authorities, self._of_gateway())
        except Exception as bug:  # the pod must start all the same
            self._say(logging.ERROR, "a pod of namespace %s got no sidecar by a bug of Weir", review.namespace, bug=bug)
            return Injection(warnings=("Weir's sidecar was not added, by a bug of Weir; the operator's log says more",))
        # Pods of a Deployment are created by a controller, which shows warnings to no person.
        for warning in injection.warnings:
            self._say(logging.WARNING, "pod of namespace %s: %s", review.namespace, warning[:MAX_WARNING])
        return injection

    def _say(self, level: int, text: str, *values: str, bug: Exception | None = None) -> None:
        """Logs a line, in which `values` of strangers begin no other."""
        now = self._monotonic()
        if now - self._minute >= 60:
            self._minute, self._lines = now, 0
        self._lines += 1
        if self._lines <= LINES_A_MINUTE:
            _log.log(level, text, *map(_printable, values), exc_info=bug)


def _decoded(body: bytes) -> _Request:
    if sum(body.count(it) for it in (b",", b"{", b"[")) > MAX_REVIEW_VALUES:
        raise refusal(web.HTTPBadRequest, f"the AdmissionReview has more than {MAX_REVIEW_VALUES:,} values")
    try:
        return msgspec.json.decode(body, type=_Review).request
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise refusal(web.HTTPBadRequest, f"not an AdmissionReview: {error}") from None


def _printable(text: str) -> str:
    return "".join(it if it.isprintable() else "?" for it in text)
