"""Keeps the sidecars' webhook configuration working: mends its authority, and names the rest, which is Helm's.

Run by the leader. A watch tells of every change, and of a configuration that is deleted, so that both are mended or
named within seconds. The operator can neither create the configuration nor decide about its selectors: no right can be
narrowed to creating one name.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from weir_operator.kube.client import ApiClient
from weir_operator.kube.contest import Contest
from weir_operator.kube.objects import JSON
from weir_operator.kube.webhooks import WebhookNotTrusted, trust_authorities
from weir_operator.sidecar.admission import INJECT_PATH
from weir_operator.sidecar.expected import INJECT, MADE_ANEW, MENDS, NO, SYSTEM, YES, Scope

WEBHOOK_CHECK_SECONDS = 300.0
"""Seconds between two checks without any news. The watch tells of changes at once."""

RETRY_SECONDS = 5.0
"""Seconds between two checks while there is no certificate, and after a failure."""

PORT = 8443
"""Port of the operator's Service in the chart. The API server takes 443 where none is named."""

RULE = {"apiGroups": "", "apiVersions": "v1", "resources": "pods", "operations": "CREATE"}
"""Fields of a rule for the creation of pods, each with the value that it names; "*" and "*/*" are everything."""

_log = logging.getLogger("weir_operator.webhooks")


class WebhookTrust:
    """Keeps one configuration at our authorities. `run` it on the leader."""

    def __init__(
        self,
        api_client: ApiClient,
        name: str,
        authorities: Callable[[], str | None],
        *,
        differs: Callable[[JSON], tuple[str, ...]] = lambda _: (),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`authorities` gives the PEM, empty for a public one; None: there is no certificate yet. `differs` names what
        another client has changed in the configuration.
        """
        self._api_client = api_client
        self._name = name
        self._authorities = authorities
        self._differs = differs
        self._sleep = sleep
        self._had = ""  # the authorities that we have written, or found there
        self.contest = Contest(f"caBundle of MutatingWebhookConfiguration {name}")
        self.missing = False
        """Whether the configuration is not there."""
        self.changed = False
        """Whether another client has changed what only Helm mends."""
        self._trouble: str | None = None

    @property
    def trouble(self) -> str | None:
        """Why pods may get no sidecar; None: nothing is wrong."""
        return self._trouble or self.contest.trouble

    async def run(self) -> None:
        """Looks again and again, until cancelled."""
        try:
            while True:
                well = await self.look()
                await self._sleep(self.contest.due_in or (WEBHOOK_CHECK_SECONDS if well else RETRY_SECONDS))
        finally:  # another replica leads, and tells it
            self.missing, self.changed, self._trouble = False, False, None

    async def look(self) -> bool:
        """Writes what differs; whether all is well."""
        authorities = self._authorities()
        if authorities is None:
            return False
        waits = self.contest.due_in > 0 or not authorities  # a public one needs no caBundle
        try:
            found = await asyncio.to_thread(
                trust_authorities, self._api_client, self._name, authorities, only_look=waits
            )
        except WebhookNotTrusted as error:
            self._complain(f"pods may get no sidecar: {error}")
            return False
        if found.written:
            _log.info("MutatingWebhookConfiguration %s has our authorities", self._name)
            if authorities == self._had:  # not a new authority, nor a configuration that was put back
                self.contest.restored()
        self._note(found.body)
        self._had = authorities if found.body is not None else ""
        return True

    def _note(self, body: JSON | None) -> None:
        differences = self._differs(body) if body is not None else ()
        self.missing, self.changed = body is None, bool(differences)
        if body is None:
            self._complain(
                f"new pods get no sidecar: there is no MutatingWebhookConfiguration {self._name}, though the operator "
                f"runs with --sidecar; {MENDS}, and pods that were made meanwhile need a restart"
            )
        elif differences:
            named = "; ".join(differences)
            self._complain(f"MutatingWebhookConfiguration {self._name} was changed: {named}; {MADE_ANEW}")
        else:
            self._complain(None)

    def _complain(self, text: str | None) -> None:
        if text is not None and text != self._trouble:
            _log.warning("%s", text)
        elif text is None and self._trouble is not None:
            _log.info("MutatingWebhookConfiguration %s is as it should be again", self._name)
        self._trouble = text


def differences(body: JSON, scope: Scope, service: str) -> tuple[str, ...]:
    """Differences of a configuration from the chart's that keep pods from getting sidecars, or from starting. PURE.

    Additions are left alone, such as the namespaces that some clouds exclude in each selector, but for labels that pods
    or namespaces would need.
    """
    there = {it.get("name"): it for it in body.get("webhooks") or ()}
    found: list[str] = []
    for by in ("namespace", "pod"):
        name = f"{by}.sidecar.weir.dev"
        if name in there:
            found += (f"{name} {it}" for it in _differences(there[name], by, scope, service))
        else:
            found.append(f"{name} is gone")
    return tuple(found)


def _differences(webhook: JSON, by: str, scope: Scope, service: str) -> Iterator[str]:
    called = webhook.get("clientConfig") or {}
    address = called.get("service") or {}
    if (address.get("namespace"), address.get("name")) != (scope.namespace, service):
        instead = f"Service {address.get('namespace')}/{address.get('name')}" if address else "a URL"
        yield f"calls {instead} instead of Service {scope.namespace}/{service}"
    elif address.get("path") != INJECT_PATH:
        yield f"calls path {address.get('path')} instead of {INJECT_PATH}"
    elif address.get("port", 443) != PORT:
        yield f"calls port {address.get('port', 443)} instead of {PORT}"
    if "v1" not in (versions := webhook.get("admissionReviewVersions") or ()):
        yield f"asks in version {', '.join(versions)} instead of v1"
    if not any(_covers_pods(it) for it in webhook.get("rules") or ()):
        yield "has no rule for the creation of pods"
    if webhook.get("failurePolicy") != "Ignore":
        yield "has failurePolicy Fail instead of Ignore, so that no pod starts while the operator is away"
    for selector, wanted in _selectors(by, scope).items():
        labels = (webhook.get(selector) or {}).get("matchLabels") or {}
        equal = [{"key": key, "operator": "In", "values": [value]} for key, value in labels.items()]
        has = [*((webhook.get(selector) or {}).get("matchExpressions") or ()), *equal]
        further = [it for it in has if not any(_same(one, it) for one in wanted)]
        needed = sorted({str(it.get("key")) for it in further if it.get("operator") in ("In", "Exists")})
        if not all(any(_same(one, it) for it in has) for one in wanted):
            yield f"has another {selector}"
        elif any(it.get("key") == INJECT for it in further):
            yield f"has a further condition on {INJECT} in its {selector}"
        elif needed:
            yield f"asks for label {', '.join(needed)} in its {selector}"
    if webhook.get("matchConditions"):
        yield "has matchConditions, which the chart does not write"


def _selectors(by: str, scope: Scope) -> dict[str, list[JSON]]:
    """The conditions that the chart renders."""
    names = "kubernetes.io/metadata.name"
    namespaces: list[JSON] = [{"key": names, "operator": "NotIn", "values": [scope.namespace, *SYSTEM]}]
    if scope.namespaces is not None:
        namespaces.append({"key": names, "operator": "In", "values": [*scope.namespaces]})
    asking = {"key": INJECT, "operator": "In", "values": [*YES]}
    silent = {**asking, "operator": "NotIn"}
    if by == "namespace":
        refusing = {"key": INJECT, "operator": "NotIn", "values": [*NO]}
        return {"namespaceSelector": [*namespaces, asking], "objectSelector": [refusing]}
    return {"namespaceSelector": [*namespaces, silent], "objectSelector": [asking]}


def _same(one: JSON, other: Any) -> bool:
    def said(it: Any) -> tuple[Any, Any, frozenset[str]]:
        return it.get("key"), it.get("operator"), frozenset(it.get("values") or ())

    return said(one) == said(other)


def _covers_pods(rule: JSON) -> bool:
    named = all({"*", "*/*", value} & {*(rule.get(key) or ())} for key, value in RULE.items())
    return named and rule.get("scope", "*") != "Cluster"
