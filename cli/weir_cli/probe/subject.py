"""The subject of `weir probe`: the backends of a directory, or of a ModelTier in a cluster, with their credentials.

In a cluster a credential is that of the variable `WEIR_SECRET_NAMESPACE_NAME_KEY`, if it is set, otherwise that of the
Secret, which is read with the rights of the user and must have the consent that the operator asks for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from weir_cli.cluster.flags import Connection
from weir_cli.cluster.names import place
from weir_cli.cluster.opening import cluster
from weir_cli.probe.asking import Target
from weir_cli.shared.output import Exit, fail
from weir_cli.shared.workspace import open_workspace
from weir_operator.compile import compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.kinds import KINDS, MODEL_TIER
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.environment import variable
from weir_operator.observe.observed import Manifest, Observed, SecretData, SecretKey
from weir_operator.observe.tenancy import Tenancy
from weir_operator.problems.problem import Problem, Severity
from weir_operator.schemas.common import DEFAULT_CLASS
from weir_router.contract import CompiledConfig, ConfigRejected, HostPolicy, Secrets

IN_CLUSTER = HostPolicy(in_cluster=True)
"""The rules for hosts where those of the installation cannot be read."""


class Subject(NamedTuple):
    """Backends to ask, and the rules of their installation."""

    targets: list[Target]
    hosts: HostPolicy
    notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()  # backends that cannot be asked, with the reason


def of_directory(path: Path, namespace: str, class_name: str, tenancy: Tenancy) -> Subject:
    """The backends of all tiers of a directory. Credentials that it does not hold come from the environment."""
    workspace = open_workspace(path, namespace=namespace, class_name=class_name, tenancy=tenancy)
    targets = _targets(workspace.config, workspace.secrets)
    return Subject(targets, workspace.config.hosts, workspace.notices, _lost(workspace.problems))


def of_tier(subject: str, connection: Connection, system_namespace: str | None, installation: str | None) -> Subject:
    """The backends of the ModelTier NAMESPACE/NAME, or NAME in the namespace of the connection."""
    with cluster(connection) as there:
        from weir_cli.cluster.services import services_there
        from weir_operator.observe import convert

        name = place(subject, "ModelTier", there.namespace)
        tier = convert.manifest(MODEL_TIER.kind, there.get(MODEL_TIER, name))
        values, secrets = _credentials(there.api_client, tier, os.environ)
        hosts, notes = _hosts(there.api_client, system_namespace, installation, connection.namespace)
        services, slices = services_there([tier])
    observed = Observed(
        manifests={MODEL_TIER.kind: (tier,)},
        secrets=secrets,
        environment=values,
        services=services,
        slices=slices,
        hosts=hosts,
        class_name=tier.spec.get("className", DEFAULT_CLASS),
    )
    compiled = compile_config(observed, KINDS, catalogue=Catalogue.load(), now=time.time())
    targets = _targets(compiled.config, compiled.secrets)
    return Subject(targets, hosts, notes, _lost(compiled.problems))


def _targets(config: CompiledConfig, secrets: Secrets) -> list[Target]:
    """Each backend once: all endpoints of a Service run the same server."""
    found: dict[tuple[str, str], Target] = {}
    for key, tier in config.tiers.items():
        for backend in tier.backends:
            credential = None if backend.credential is None else secrets.credentials.get(backend.credential)
            found.setdefault((key, backend.name), Target(key, backend, credential))
    return list(found.values())


def _lost(problems: Iterable[Problem]) -> tuple[str, ...]:
    errors = (it for it in problems if it.severity is Severity.ERROR and it.object.startswith(MODEL_TIER.kind))
    return tuple(f"{it.object} {it.field or ''}: {it.message}" for it in errors)


def _credentials(
    api_client: Any, tier: Manifest, environ: Mapping[str, str]
) -> tuple[dict[SecretKey, str], dict[ObjectName, SecretData]]:
    from kubernetes import client

    from weir_cli.cluster.connection import API_SECONDS

    api: Any = client.CoreV1Api(api_client)
    values: dict[SecretKey, str] = {}
    secrets: dict[ObjectName, SecretData] = {}
    for it in MODEL_TIER.secrets(tier):
        if stated := environ.get(variable(it.key)):
            values[it.key] = stated
            continue
        name = ObjectName(it.key.namespace, it.key.name)
        if name in secrets:
            continue
        try:
            found = api.read_namespaced_secret(name.name, name.namespace, _request_timeout=API_SECONDS)
        except client.ApiException as error:
            raise fail(_unread(it.key, error)) from None
        secrets[name] = _data(found)
    return values, secrets


def _data(secret: Any) -> SecretData:
    import base64

    data = {key: base64.b64decode(value) for key, value in (secret.data or {}).items()}
    return SecretData(secret.metadata.labels or {}, secret.metadata.annotations or {}, data)


def _unread(key: SecretKey, error: Any) -> str:
    from weir_cli.cluster.refusals import why

    return (
        f"Secret {key.namespace}/{key.name} cannot be read: {why(error)}. Without it nothing can be asked: set "
        f"{variable(key)} to the credential."
    )


def _hosts(
    api_client: Any, namespace: str | None, installation: str | None, near: str | None
) -> tuple[HostPolicy, tuple[str, ...]]:
    """The rules of the installation, from its published index; without it those of any cluster."""
    from kubernetes import client

    from weir_cli.cluster.connection import API_SECONDS
    from weir_cli.cluster.installations import find
    from weir_cli.cluster.refusals import why
    from weir_operator.observe import convert
    from weir_operator.publish.publication import Names
    from weir_router.contract.published import INDEX_FILE, parse_index

    found = find(api_client, namespace, installation, near).installation
    api: Any = client.CoreV1Api(api_client)
    try:
        name = Names(found.name).index.name
        body = api.read_namespaced_config_map(name, found.namespace, _request_timeout=API_SECONDS).to_dict()
        files = convert.files({"data": body["data"], "binaryData": body["binary_data"]})
        return parse_index(files[INDEX_FILE]).hosts, ()
    except client.ApiException as error:
        reason = why(error)
    except (KeyError, ValueError, ConfigRejected) as error:
        reason = f"its index cannot be read ({type(error).__name__})"
    note = f"the rules of installation {found.name} for hosts are unknown: {reason}; those of any cluster hold"
    return IN_CLUSTER, (note,)


def nothing(subject: str) -> Exception:
    """The end of a command that found no backend."""
    return fail(f"{subject} has no backend that can be asked.", Exit.USAGE)
