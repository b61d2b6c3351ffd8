"""The sidecar's webhook: AdmissionReviews in, patches out. Served beside the config server, by every replica.

By our own server and not by kopf's: kopf serves admission on a port and with a certificate of its own, in the process
that reconciles, while this is one more path of a server that has the shared certificate already, and that replicas
which do not lead serve as well. `weir_operator.sidecar.inject` decides. The pod is allowed in every case.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from weir_operator.kube.encoding import encoded
from weir_operator.sidecar.inject import Injection, Settings, inject

INJECT_PATH = "/v1/inject"
"""Path to which the API server POSTs AdmissionReviews, as the webhook configuration says."""

MAX_WARNING = 250
"""Characters; Kubernetes asks for at most 256, since kubectl shows a warning on one line."""

_log = logging.getLogger("weir.inject")


class _Request(msgspec.Struct):
    uid: str
    operation: str = ""
    namespace: str = ""
    object: dict[str, Any] | None = None


class _Review(msgspec.Struct):
    request: _Request


class Admission:
    """Answers AdmissionReviews of pods."""

    def __init__(self, settings: Settings, authorities: Callable[[], str | None]) -> None:
        """`authorities` gives the PEM that our certificate is verified with, empty for a public one; None: there is no
        certificate yet.
        """
        self._settings = settings
        self._authorities = authorities

    def serve(self, app: web.Application) -> None:
        """Adds the path to a server that has not been started."""
        app.router.add_post(INJECT_PATH, self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            review = msgspec.json.decode(await request.read(), type=_Review).request
        except msgspec.MsgspecError as error:
            raise web.HTTPBadRequest(text=f"not an AdmissionReview: {error}\n") from None
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
            injection = inject(review.object, self._settings, authorities)
        except Exception as bug:  # the pod must start all the same
            _log.error("a pod of namespace %s got no sidecar by a bug of Weir", review.namespace, exc_info=bug)
            return Injection(warnings=("Weir's sidecar was not added, by a bug of Weir; the operator's log says more",))
        for (
            warning
        ) in injection.warnings:  # pods of a Deployment are created by a controller, which shows them to no person
            _log.warning("pod of namespace %s: %s", review.namespace, warning)
        return injection
