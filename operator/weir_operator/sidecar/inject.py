"""The sidecar: a pod as it is created → a JSON patch. PURE; `sidecar.admission` serves it to the API server.

A router as a native sidecar (an init container that keeps running), and base URLs that lead to it. Rules, in this order
of importance:

1. a pod must start as if we were not there: what cannot be added safely is left out, with a warning (what a quota or
   a policy refuses cannot be seen here: docs/sidecar.md);
2. what a container says itself counts: a variable that it sets, or may set by `envFrom`, is not touched; an empty
   value counts as none, because charts render it where no value was given;
3. doing it twice changes nothing: other webhooks may add containers, and the API server then asks again.

Whether a pod is meant at all is decided by the selectors of the webhook configuration (`sidecar.expected` says the
same); only `weir.dev/inject: "false"` on the pod is looked at again here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

import msgspec

from weir_operator.identity import trust
from weir_operator.sidecar.expected import CONTAINER, IDENTITY, KEPT, NO, YES, containers, obstacle, opted_out

PORT = "weir.dev/sidecar-port"
"""Annotation: the port on localhost, where the usual one is taken by something that the pod's spec does not show."""

METRICS = "weir.dev/sidecar-metrics"
"""Annotation "true" or "false": whether other pods can reach the admin port. Its metrics name models and policies."""

OVERRIDE_ENV_FROM = "weir.dev/override-env-from"
"""Annotation "true": set the variables although an `envFrom` may hold them."""

AUTHORITIES = "weir.dev/config-server-ca"
"""Annotation that we set: the authorities of the config server, which no pod of another namespace could mount."""

GATEWAY_AUTHORITIES = "weir.dev/gateway-ca"
"""Annotation that we set: the authorities of the gateway's certificate, where no public one signs it."""

FILES, KEPT_FILES = "/run/weir", "/run/weir-kept"

GATEWAY_FILE = "gateway-ca.crt"
"""File of the first volume with the gateway's authorities."""

PLACEHOLDER = "weir-sidecar"
"""Key for SDKs that insist on one. It is neither a Weir key (`weir_…`) nor a token, so the sidecar ignores it."""

TOKEN_SECONDS = 3600
"""Seconds that both tokens live; the kubelet renews them when 80 % are over."""

KEPT_SIZE = "32Mi"
"""Size of the volume for the last good config; it counts as memory of the sidecar."""

DEFAULT_PORT, DEFAULT_ADMIN_PORT = 18080, 18090
"""Ports of a sidecar: not 8080 and 9090, which applications use, and below the range that the kernel hands out."""

SDKS = (
    ("OPENAI_BASE_URL", "http://127.0.0.1:{port}/v1", ("OPENAI_API_KEY",)),
    ("ANTHROPIC_BASE_URL", "http://127.0.0.1:{port}", ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")),
)
"""Environment variables of the SDK of each format: its base URL, the value of that, and keys of which one is enough."""

RESOURCES: Mapping[str, Any] = {
    "requests": {"cpu": "10m", "memory": "96Mi"},
    # One core is all that one process can use: the limit is there for namespaces whose quota demands one.
    "limits": {"cpu": "1", "memory": "256Mi"},
}
"""Default resources of a sidecar."""


class Settings(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Settings of sidecars; the chart's `sidecar` values, as JSON."""

    image: str
    gateway: str  # URL without a path: where it relays to
    config_server: str  # URL without a path
    installation: str
    pull_policy: str = "IfNotPresent"
    port: int = DEFAULT_PORT
    admin_port: int = DEFAULT_ADMIN_PORT
    metrics: bool = False  # the admin port is open to other pods, unless a pod's annotation says otherwise
    resources: dict[str, Any] = msgspec.field(default_factory=lambda: dict(RESOURCES))
    allowed_origins: tuple[str, ...] = ()  # of web pages that may call, besides the default ones


@dataclass(frozen=True)
class Injection:
    """The patch of a pod, and warnings for the client that creates it."""

    patch: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()


class Authorities(NamedTuple):
    """The authorities (PEM) by which a sidecar verifies certificates; empty: public ones."""

    config_server: str
    gateway: str

    def annotations(self) -> dict[str, str]:
        """The annotations of the pod that hold them."""
        named = {AUTHORITIES: self.config_server, GATEWAY_AUTHORITIES: self.gateway}
        return {name: text for name, text in named.items() if text}


def inject(pod: Mapping[str, Any], settings: Settings, authorities: str, of_gateway: str = "") -> Injection:
    """The patch of a pod that is being created; `authorities` is the PEM that the config server's certificate is
    verified with, and `of_gateway` that of the gateway's; empty for a public one. Never raises for what an API server
    accepts as a pod.
    """
    metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    annotations = metadata.get("annotations") or {}
    if opted_out(metadata):
        return Injection()
    present = next((it for it in spec.get("initContainers") or () if it.get("name") == CONTAINER), None)
    if present is None and (reason := obstacle(spec)) is not None:
        return Injection(warnings=(f"Weir's sidecar was not added: {reason}",))
    ports = Ports(_port_of(present), 0) if present else _free_ports(spec, annotations, settings)
    patch, warnings = _environment(spec, ports.callers, override=annotations.get(OVERRIDE_ENV_FROM) in YES)
    warnings += _unread(annotations)
    if present is None:
        if annotations.get(METRICS) in (*YES, *NO):
            settings = msgspec.structs.replace(settings, metrics=annotations[METRICS] in YES)
        patch = [*patch, *_sidecar(metadata, spec, settings, ports, Authorities(authorities, of_gateway))]
    return Injection(tuple(patch), tuple(warnings))


def _unread(annotations: Mapping[str, str]) -> Iterator[str]:
    """Warnings about annotations with a value that means nothing."""
    for name in (METRICS, OVERRIDE_ENV_FROM):
        if annotations.get(name, YES[0]) not in (*YES, *NO):
            yield f'annotation {name} is ignored: its value is neither "true" nor "false"'
    if PORT in annotations and _asked_port(annotations) is None:
        yield f"annotation {PORT} is ignored: its value is no port from 1024 to 65535"


class Ports(NamedTuple):
    """Ports on which a sidecar listens."""

    callers: int  # on localhost
    admin: int


def _free_ports(spec: Mapping[str, Any], annotations: Mapping[str, str], settings: Settings) -> Ports:
    """The port that the pod asks for, or the first from the usual one that no container says it listens on."""
    taken = {port.get("containerPort") for it in containers(spec) for port in it.get("ports") or ()}
    callers = _asked_port(annotations) or next(port for port in count(settings.port) if port not in taken)
    return Ports(callers, next(port for port in count(settings.admin_port) if port not in {*taken, callers}))


def _asked_port(annotations: Mapping[str, str]) -> int | None:
    wanted = annotations.get(PORT, "").strip()
    return int(wanted) if len(wanted) <= 5 and wanted.isdecimal() and 1024 <= int(wanted) <= 65535 else None


def _port_of(sidecar: Mapping[str, Any]) -> int:
    """The port of a sidecar that the pod already has: an injected one, or one written by hand."""
    found = (it.removeprefix("--port=") for it in sidecar.get("args") or () if it.startswith("--port="))
    return next((int(it) for it in found if it.isdecimal()), DEFAULT_PORT)


def _environment(spec: Mapping[str, Any], port: int, *, override: bool) -> tuple[list[dict[str, Any]], list[str]]:
    patch: list[dict[str, Any]] = []
    warnings: list[str] = []
    for kind in ("initContainers", "containers"):
        for number, container in enumerate(spec.get(kind) or ()):
            if container.get("name") == CONTAINER:
                continue
            wanted, unsure = _variables(container, port, override=override)
            patch += _set(f"/spec/{kind}/{number}/env", container.get("env") or (), wanted)
            if unsure:
                warnings.append(
                    f"container {container.get('name')}: {', '.join(unsure)} left alone, since an envFrom may set it "
                    f'(to set it anyway: annotation {OVERRIDE_ENV_FROM}: "true")'
                )
    return patch, warnings


def _set(path: str, env: Sequence[Mapping[str, Any]], wanted: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    """The patch that sets variables; one that is there, which is empty, is replaced."""
    if wanted and not env:
        yield _add(path, wanted)
        return
    places = {it.get("name"): number for number, it in enumerate(env)}
    for it in wanted:
        number = places.get(it["name"])
        yield _add(f"{path}/-", it) if number is None else {"op": "replace", "path": f"{path}/{number}", "value": it}


def _variables(container: Mapping[str, Any], port: int, *, override: bool) -> tuple[list[dict[str, str]], list[str]]:
    """The variables to set, and base URLs left alone because `envFrom` may set them."""
    named = {it.get("name"): it for it in container.get("env") or ()}  # of several with one name the last counts
    own = {name for name, it in named.items() if not _is_empty(it)}
    prefixes = () if override else tuple(it.get("prefix") or "" for it in container.get("envFrom") or ())
    wanted: list[dict[str, str]] = []
    unsure: list[str] = []
    for url, value, keys in SDKS:
        if url in own:
            continue  # it goes where it wants to, and with a key of its own
        if url not in named and any(url.startswith(it) for it in prefixes):
            unsure.append(url)
            continue
        wanted.append({"name": url, "value": value.format(port=port)})
        if own.intersection(keys) or any(key.startswith(it) for it in prefixes for key in keys if key not in named):
            continue
        wanted.append({"name": keys[0], "value": PLACEHOLDER})
    return wanted, unsure


def _is_empty(variable: Mapping[str, Any]) -> bool:
    """Whether a variable has an empty value, which an SDK takes for a URL or a key, and cannot use."""
    return not variable.get("valueFrom") and not str(variable.get("value") or "").strip()


def _sidecar(
    metadata: Mapping[str, Any], spec: Mapping[str, Any], settings: Settings, ports: Ports, authorities: Authorities
) -> Iterator[dict[str, Any]]:
    container = _container(settings, ports, authorities)
    if spec.get("initContainers"):
        yield _add("/spec/initContainers/0", container)  # first, so that the others can use it
    else:
        yield _add("/spec/initContainers", [container])
    volumes = _volumes(settings, authorities)
    if spec.get("volumes"):
        yield from (_add("/spec/volumes/-", it) for it in volumes)
    else:
        yield _add("/spec/volumes", volumes)
    annotations = authorities.annotations()
    if annotations and not metadata.get("annotations"):
        yield _add("/metadata/annotations", annotations)
        return
    for name, text in annotations.items():
        yield _add(f"/metadata/annotations/{name.replace('/', '~1')}", text)


def _container(settings: Settings, ports: Ports, authorities: Authorities) -> dict[str, Any]:
    """No probe and no hook: nothing that is wrong with a sidecar may hold, or restart, what the pod is there for. Its
    port is open, and it is seen to run, before all else that it does: `weir_cli.early`.
    """
    return {
        "name": CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "restartPolicy": "Always",
        "args": [
            "sidecar",
            "--caller=$(WEIR_NAMESPACE)/$(WEIR_SERVICE_ACCOUNT)",
            f"--port={ports.callers}",
            f"--admin={'0.0.0.0' if settings.metrics else '127.0.0.1'}:{ports.admin}",
            f"--gateway={settings.gateway}",
            *([f"--gateway-ca-file={FILES}/{GATEWAY_FILE}"] if authorities.gateway else []),
            f"--config-server={settings.config_server}",
            f"--files={FILES}",
            f"--keep={KEPT_FILES}",
            *(f"--allow-origin={it}" for it in settings.allowed_origins),
        ],
        "env": [
            {"name": "WEIR_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "WEIR_SERVICE_ACCOUNT", "valueFrom": {"fieldRef": {"fieldPath": "spec.serviceAccountName"}}},
        ],
        **(
            {"ports": [{"name": "weir-metrics", "containerPort": ports.admin, "protocol": "TCP"}]}
            if settings.metrics
            else {}
        ),
        "resources": settings.resources,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": IDENTITY, "mountPath": FILES, "readOnly": True},
            {"name": KEPT, "mountPath": KEPT_FILES},
        ],
    }


def _volumes(settings: Settings, authorities: Authorities) -> list[dict[str, Any]]:
    files = {AUTHORITIES: "ca.crt", GATEWAY_AUTHORITIES: GATEWAY_FILE}
    items = [
        {"path": files[name], "fieldRef": {"fieldPath": f"metadata.annotations['{name}']"}}
        for name in authorities.annotations()
    ]
    sources = [
        _token("token", trust.audience(settings.installation)),
        _token("config-token", trust.config_audience(settings.installation)),
        *([{"downwardAPI": {"items": items}}] if items else []),
    ]
    return [
        {"name": IDENTITY, "projected": {"sources": sources}},
        {"name": KEPT, "emptyDir": {"medium": "Memory", "sizeLimit": KEPT_SIZE}},
    ]


def _token(path: str, audience: str) -> dict[str, Any]:
    return {"serviceAccountToken": {"path": path, "audience": audience, "expirationSeconds": TOKEN_SECONDS}}


def _add(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}
