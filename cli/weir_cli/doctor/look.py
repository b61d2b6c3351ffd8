"""Looks at an installation for `weir_cli.doctor.checks`. Reads only, and of Secrets only names and labels.

Information that we may not or cannot read becomes `Unseen`, which names the missing right; nothing raises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import urllib3
from kubernetes import client

from weir_cli.cluster.api import Cluster
from weir_cli.cluster.connection import NoPages
from weir_cli.cluster.installations import Installation
from weir_cli.cluster.refusals import FORBIDDEN, silence, why
from weir_cli.doctor import api_server
from weir_cli.doctor.finding import Unseen
from weir_cli.doctor.installed import Installed
from weir_cli.doctor.operator_rights import Needs, judged
from weir_cli.doctor.seen import Seen
from weir_cli.doctor.served_objects import ServedObjects, refers_to_services
from weir_operator.sidecar.expected import Lacking, Scope

T = TypeVar("T")


def look(there: Cluster, installation: Installation, headers: Mapping[str, str] | None = None) -> Seen:
    """Everything at once: each part is a request or two. `headers` go to routers' admin ports."""
    installed = Installed(there.api_client, installation, headers or {})
    objects = ServedObjects(there)
    parts: dict[str, Callable[[], Any]] = {
        "version": partial(api_server.version, there.api_client),
        "skew": partial(api_server.skew, there.api_client),
        "crds": partial(api_server.served, there.api_client),
        "lacking": partial(api_server.lacking, there.api_client),
        "rights": lambda: judged(there.api_client, _needs(installation, installed, objects)),
        "without_sidecar": lambda: _without_sidecar(installation, installed, objects),
    }
    of_installation = ("workloads", "services", "tls", "bundle", "expires", "published", "routers", "left_open")
    for name in (*of_installation, "sidecars", "webhook", "webhook_differs"):
        parts[name] = getattr(installed, name)
    for name in ("credentials", "unready", "unjudged", "unserved", "ill", "unused", "only"):
        parts[name] = getattr(objects, name)
    with ThreadPoolExecutor(len(parts)) as threads:
        found: dict[str, Any] = dict(zip(parts, threads.map(_seen, parts.values()), strict=True))
    for name, absent in (("unserved", ()), ("only", None)):  # what these add is unseen with the objects themselves
        if isinstance(found[name], Unseen):
            found[name] = absent
    return Seen(installation=installation.name, namespace=installation.namespace, **found)


def _seen(part: Callable[[], T]) -> T | Unseen:
    try:
        return part()
    except client.ApiException as error:
        return Unseen(why(error))
    except urllib3.exceptions.HTTPError as error:
        return Unseen(silence(error))
    except NoPages as error:
        return Unseen(str(error))


def _needs(installation: Installation, installed: Installed, objects: ServedObjects) -> Needs:
    named = installed.option("--namespaces") or ""
    tiers = _seen(objects.tiers)
    services = not isinstance(tiers, Unseen) and refers_to_services(tiers)
    return Needs(installation, tuple(named.split(",")), installed.sidecars(), services)


def _without_sidecar(installation: Installation, installed: Installed, objects: ServedObjects) -> tuple[Lacking, ...]:
    """Pods without the sidecar that their labels ask for; none where sidecars are switched off.

    Users who may not read the operator's Deployment have only the labels to go by.
    """
    try:
        if not installed.sidecars():
            return ()
        scope = installed.scope()
    except client.ApiException as error:
        if error.status != FORBIDDEN:
            raise
        scope = Scope(installation.namespace)
    return objects.without_sidecar(scope)
