"""kubectl's connection flags, defined once for all commands that ask a cluster.

A command takes `connection: Connection` and is decorated with `asks_cluster`: typer sees an option for each field.
kubectl does not pass its own flags to plugins: in `kubectl --context x weir status` kubectl refuses them, and
`kubectl weir status --context x` works.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

PANEL = "Connection to the cluster, as for kubectl"
"""Heading of these options in `--help`."""

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _option(*names: str, says: str, **more: Any) -> Any:
    return typer.Option(*names, help=says, rich_help_panel=PANEL, show_default=False, **more)


def _timeout(text: str | None) -> str | None:
    """Checks the option `--request-timeout`."""
    if text is not None and _seconds(text) is None:
        raise typer.BadParameter(f"{text!r} is no duration such as 5s, 1m or 0 (for ever).")
    return text


def _seconds(text: str) -> float | None:
    """Seconds of a duration as kubectl takes it, e.g. `5s`, `1m` or `10`; None: it is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", text)
    return float(found[1]) * _UNITS[found[2]] if found else None


@dataclass(frozen=True)
class Connection:
    """The connection that a user asks for; None: as the kubeconfig says."""

    kubeconfig: Annotated[
        Path | None, _option("--kubeconfig", says="The only kubeconfig file; default: KUBECONFIG, or ~/.kube/config.")
    ] = None
    context: Annotated[
        str | None, _option("--context", says="Context of the kubeconfig; default: the current one.")
    ] = None
    cluster: Annotated[
        str | None, _option("--cluster", says="Cluster of the kubeconfig, instead of the context's.")
    ] = None
    user: Annotated[str | None, _option("--user", says="User of the kubeconfig, instead of the context's.")] = None
    namespace: Annotated[
        str | None, _option("--namespace", "-n", says="Namespace of the request; default: the context's.")
    ] = None
    as_user: Annotated[str | None, _option("--as", says="User or ServiceAccount to impersonate.")] = None
    as_group: Annotated[list[str] | None, _option("--as-group", says="Group to impersonate; again for each.")] = None
    as_uid: Annotated[str | None, _option("--as-uid", says="UID to impersonate.")] = None
    server: Annotated[str | None, _option("--server", "-s", says="URL of the API server.")] = None
    token: Annotated[str | None, _option("--token", says="Bearer token for the API server.")] = None
    certificate_authority: Annotated[
        Path | None, _option("--certificate-authority", says="Authorities (PEM) of the API server's certificate.")
    ] = None
    client_certificate: Annotated[
        Path | None, _option("--client-certificate", says="Client certificate (PEM) for the API server.")
    ] = None
    client_key: Annotated[Path | None, _option("--client-key", says="Key (PEM) of the client certificate.")] = None
    tls_server_name: Annotated[
        str | None, _option("--tls-server-name", says="Name that the API server's certificate must have.")
    ] = None
    insecure_skip_tls_verify: Annotated[
        bool, _option("--insecure-skip-tls-verify", says="Accept any certificate of the API server.")
    ] = False
    request_timeout: Annotated[
        str | None,
        _option(
            "--request-timeout", says="Longest time of one request, e.g. 5s or 1m; 0: no limit.", callback=_timeout
        ),
    ] = None

    @property
    def given(self) -> bool:
        """Whether any flag is given."""
        return any(value for _, value in self._values())

    @property
    def timeout_seconds(self) -> float | None:
        """Seconds of `--request-timeout`; 0: no limit; None: not given."""
        return None if self.request_timeout is None else _seconds(self.request_timeout)

    def as_flags(self) -> list[str]:
        """The same flags for kubectl, e.g. `--context=prod`."""
        return [flag for name, value in self._values() for flag in _flags(name, value)]

    def _values(self) -> Iterator[tuple[str, Any]]:
        return ((it.name, getattr(self, it.name)) for it in fields(self))


def _flags(name: str, value: Any) -> Iterator[str]:
    flag = "--as" if name == "as_user" else f"--{name.replace('_', '-')}"
    for it in value if isinstance(value, list) else [value] if value is not None else []:
        if it is not False:
            yield f"{flag}={'true' if it is True else it}"


def asks_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the flags of `Connection` in the place of its parameter `connection`."""
    flags = inspect.signature(Connection, eval_str=True).parameters
    hints = get_type_hints(command, include_extras=True)
    own = [
        it.replace(annotation=hints[it.name])
        for it in inspect.signature(command).parameters.values()
        if it.name != "connection"
    ]
    # All are keywords for typer, so that an argument without a default may follow an option.
    parameters = [it.replace(kind=inspect.Parameter.KEYWORD_ONLY) for it in (*own, *flags.values())]

    @functools.wraps(command)
    def with_flags(**given: Any) -> None:
        connection = Connection(**{name: given.pop(name) for name in flags})
        command(**given, connection=connection)

    with_flags.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_flags.__annotations__ = {it.name: it.annotation for it in parameters}
    return with_flags
