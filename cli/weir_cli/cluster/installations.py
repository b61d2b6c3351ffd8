"""The installation of Weir that a command asks, found by the labels of its Deployments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import typer

from weir_cli.cluster.connection import API_SECONDS, NoPages
from weir_cli.cluster.refusals import FORBIDDEN, why
from weir_cli.shared.tenancy import SYSTEM_NAMESPACE

RELEASE = "weir"
"""Name of the Helm release in the documentation: that of an installation whose Deployments cannot be listed."""

NAME, INSTANCE = "app.kubernetes.io/name", "app.kubernetes.io/instance"
"""Labels of all objects of the chart: always `weir`, and the installation's name."""

SystemNamespace = Annotated[
    str | None,
    typer.Option("--system-namespace", help="Namespace in which Weir is installed; default: found by its labels."),
]
InstallationName = Annotated[
    str | None,
    typer.Option("--installation", help="Name of the installation (the Helm release); default: the only one."),
]


class Installation(NamedTuple):
    """One installation."""

    name: str
    namespace: str


@dataclass(frozen=True)
class Found:
    """The installation to ask, and a note where its Deployments could not be listed."""

    installation: Installation
    note: str | None = None


def find(api_client: Any, namespace: str | None, name: str | None, near: str | None) -> Found:
    """The installation in `namespace` called `name`, where they are given; of several the one in namespace `near`.

    Raises `NoPages` that names all, where several are left, and the client's errors but for a missing right.
    """
    usual = [it for it in dict.fromkeys((namespace,) if namespace else (near, SYSTEM_NAMESPACE)) if it]
    listed, note = _listed(api_client, namespace, usual)
    found = [it for it in listed if name in (None, it.name)]
    if listed and not found and namespace is None and note is None:
        there = ", ".join(f"{it.name} in namespace {it.namespace}" for it in listed)
        raise NoPages(
            f"there is no Deployment of an installation {name}, but there are those of {there}. If its own are gone, "
            "say --system-namespace as well"
        )
    if len(found) > 1:
        found = [it for it in found if it.namespace == near] or found
    if len(found) > 1:
        named = ", ".join(f"{it.name} in namespace {it.namespace}" for it in found)
        raise NoPages(f"there are several installations: {named}. Say which: --system-namespace and --installation")
    return Found(found[0] if found else Installation(name or RELEASE, usual[0] if namespace else usual[-1]), note)


def _listed(api_client: Any, namespace: str | None, usual: list[str]) -> tuple[list[Installation], str | None]:
    """Those that we may list, and the right that is missing for others."""
    from kubernetes import client

    api: Any = client.AppsV1Api(api_client)
    options = {"label_selector": f"{NAME}={RELEASE}", "_request_timeout": API_SECONDS}
    note = None
    try:
        if namespace is None:
            return _of(api.list_deployment_for_all_namespaces(**options)), None
    except client.ApiException as error:
        if error.status != FORBIDDEN:
            raise
        note = why(error)
    found = []
    for it in usual:
        try:
            found += _of(api.list_namespaced_deployment(it, **options))
        except client.ApiException as error:
            if error.status != FORBIDDEN:
                raise
            note = note or why(error)
    return found, note


def _of(answer: Any) -> list[Installation]:
    return list(dict.fromkeys(_named(answer)))


def _named(answer: Any) -> Iterator[Installation]:
    for it in answer.items:
        if name := (it.metadata.labels or {}).get(INSTANCE):
            yield Installation(name, it.metadata.namespace)
