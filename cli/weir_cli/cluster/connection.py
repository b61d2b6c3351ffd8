"""The connection of a command to the cluster that kubeconfig and flags name, as kubectl finds it.

The Kubernetes client is imported on first use: it takes half a second to load and may not be installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weir_cli.cluster.flags import Connection

if TYPE_CHECKING:
    from kubernetes import client


API_SECONDS = 10.0
"""Seconds for one request to the API server, unless `--request-timeout` says otherwise."""


NEEDS_CLIENT = "asking a cluster needs the Kubernetes client: pip install 'weir-router[operator]'"
"""The message where the Kubernetes client is not installed."""

DEFAULT_NAMESPACE = "default"
"""Namespace of a context that names none."""

POD_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""File with the namespace of the pod in which the command runs."""

_CHOSEN = "weir: chosen by flags"
"""Name of the context that is made of the kubeconfig's and the flags."""


class NoPages(Exception):
    """No router can be asked; the message says why, and what to do."""


def is_configured(environ: Mapping[str, str]) -> bool:
    """Whether this machine has a kubeconfig, or is a pod."""
    return _in_pod(environ) or any(map(os.path.exists, _paths(Connection(), environ)))


def connect(connection: Connection) -> tuple[client.ApiClient, str]:
    """A client by kubeconfig and flags, and the namespace that is meant. Raises `NoPages`."""
    import yaml
    from kubernetes import client, config

    if connection.as_user is None and (connection.as_group or connection.as_uid):
        raise NoPages("--as-group and --as-uid need --as, the user to impersonate")
    try:
        configuration, namespace, user = _configuration(connection)
    except (config.ConfigException, OSError, yaml.YAMLError) as error:
        why = str(error).rstrip(".")
        raise NoPages(f"there is no cluster: {why}. For a router without one: --url http://127.0.0.1:9090") from None
    except (ValueError, TypeError, AttributeError, KeyError) as error:  # of a file that is no kubeconfig
        named = ", ".join(map(str, _paths(connection, os.environ)))
        raise NoPages(f"{named} cannot be read as a kubeconfig: {type(error).__name__}: {error}") from None
    _override(configuration, connection)
    if "exec" in user and not (configuration.api_key or configuration.cert_file):
        command = user["exec"].get("command")
        raise NoPages(f"the kubeconfig's credential plugin {command} gave no credential: run it by hand to see why")
    api_client = client.ApiClient(configuration)
    _impersonate(api_client, connection, user)
    return api_client, connection.namespace or namespace or DEFAULT_NAMESPACE


def _paths(connection: Connection, environ: Mapping[str, str]) -> list[Path]:
    if connection.kubeconfig is not None:
        return [connection.kubeconfig]
    named = [Path(it).expanduser() for it in environ.get("KUBECONFIG", "").split(os.pathsep) if it]
    return named or [Path.home() / ".kube" / "config"]


def _in_pod(environ: Mapping[str, str]) -> bool:
    return "KUBERNETES_SERVICE_HOST" in environ


def _configuration(connection: Connection) -> tuple[Any, str | None, Mapping[str, Any]]:
    """The client's configuration before the flags of the connection itself, the context's namespace and its user."""
    from kubernetes import client, config
    from kubernetes.config import kube_config

    configuration: Any = client.Configuration()
    paths = _paths(connection, os.environ)
    there = [it for it in paths if it.exists() and it.stat().st_size]
    if not there and connection.server is not None:
        return configuration, None, {}
    if not there and connection.kubeconfig is None and _in_pod(os.environ):
        load: Any = config  # it has no types
        load.load_incluster_config(client_configuration=configuration)
        return configuration, POD_NAMESPACE_FILE.read_text().strip(), {}
    if not there:
        raise config.ConfigException(f"no kubeconfig at {', '.join(map(str, paths))}")
    merger: Any = kube_config.KubeConfigMerger(os.pathsep.join(map(str, there)))  # type: ignore[no-untyped-call]
    context = _context(merger, connection)
    if "cluster" not in context and connection.server is not None:
        return configuration, context.get("namespace"), {}
    merger.config.value["contexts"].append({"name": _CHOSEN, "context": context})
    loader: Any = kube_config.KubeConfigLoader
    loader(
        config_dict=merger.config,
        active_context=_CHOSEN,
        config_base_path=None,
        config_persister=merger.save_changes,
    ).load_and_set(configuration)
    users = {it["name"]: it["user"].value for it in merger.config["users"].value if it.value.get("user")}
    return configuration, context.get("namespace"), users.get(context.get("user"), {})


def _context(merger: Any, connection: Connection) -> dict[str, str]:
    """The context by kubectl's rules: of several files the first that names a current one counts."""
    from kubernetes import config

    contexts = {it["name"]: it["context"].value for it in merger.config["contexts"].value}
    files: Sequence[Mapping[str, Any]] = list(merger.config_files.values())
    name = connection.context or next((it["current-context"] for it in files if it.get("current-context")), None)
    if name is not None and name not in contexts:
        raise config.ConfigException(f"the kubeconfig has no context {name}; it has {', '.join(contexts) or 'none'}")
    chosen = {"cluster": connection.cluster, "user": connection.user}
    context = {**contexts.get(name, {}), **{key: value for key, value in chosen.items() if value is not None}}
    if "cluster" not in context and connection.server is None:
        raise config.ConfigException("the kubeconfig has no current context: say --context")
    for kind in ("cluster", "user"):
        known = [it["name"] for it in merger.config[f"{kind}s"].value]
        if chosen[kind] is not None and chosen[kind] not in known:
            raise config.ConfigException(f"the kubeconfig has no {kind} {chosen[kind]}; it has {', '.join(known)}")
    return context


def _override(configuration: Any, connection: Connection) -> None:
    """Flags win over the kubeconfig, also after the client has renewed a token and read all of that again."""
    stated = {
        "host": connection.server and connection.server.rstrip("/"),
        "ssl_ca_cert": connection.certificate_authority,
        "cert_file": connection.client_certificate,
        "key_file": connection.client_key,
        "tls_server_name": connection.tls_server_name,
    }
    for name, value in stated.items():
        if value is not None:
            setattr(configuration, name, str(value))
    if connection.token is not None:
        configuration.api_key["BearerToken"] = f"Bearer {connection.token}"
        configuration.refresh_api_key_hook = None
    elif (refresh := configuration.refresh_api_key_hook) is not None:

        def refreshed(it: Any) -> None:
            refresh(it)  # sets the hook again, to its own
            _override(it, connection)

        configuration.refresh_api_key_hook = refreshed
    if connection.insecure_skip_tls_verify:
        import urllib3

        configuration.verify_ssl = False
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


def _impersonate(api_client: client.ApiClient, connection: Connection, user: Mapping[str, Any]) -> None:
    """Headers and time of every request. A header that comes twice (groups) is more than the client's dict can hold.

    Without --as, the kubeconfig's `user` may name the user to impersonate.
    """
    flags = {"as": connection.as_user, "as-groups": connection.as_group, "as-uid": connection.as_uid}
    other = user if connection.as_user is None else flags
    headers = [("Impersonate-Group", it) for it in other.get("as-groups") or ()]
    for name, value in (("Impersonate-User", other.get("as")), ("Impersonate-Uid", other.get("as-uid"))):
        headers += [(name, value)] if value is not None else []
    if headers or connection.timeout_seconds is not None:
        pool: Any = api_client.rest_client.pool_manager
        pool.request = _asking(pool.request, headers, connection.timeout_seconds)


def _asking(send: Callable[..., Any], added: list[tuple[str, str]], seconds: float | None) -> Callable[..., Any]:
    import urllib3

    def request(method: str, url: str, **options: Any) -> Any:
        headers = urllib3.HTTPHeaderDict(options.pop("headers", None) or {})
        for name, value in added:
            headers.add(name, value)
        if seconds is not None:
            options["timeout"] = urllib3.Timeout(total=seconds or None)
        return send(method, url, headers=headers, **options)

    return request
