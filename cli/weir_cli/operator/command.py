"""`weir operator`: what turns ModelTiers and RoutingPolicies of a cluster into the routers' config."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from weir_cli.shared.output import Exit, address, fail
from weir_cli.shared.tenancy import ConsentOption, Offering, UserTierNamespaces, tenancy
from weir_operator.observe.tenancy import Consent
from weir_router.run.process import calm_collector, log_as_json

if TYPE_CHECKING:
    from weir_operator.sidecar import inject

NAME = "weir"

TOKEN_FILE = Path("/run/weir/token")

SWITCH_SECONDS = 0.0005
"""Seconds after which a computing thread yields to the event loop. With Python's 5 ms, a hundred routers that poll
while statuses are worked out wait for half a second."""


def operator(
    installation: Annotated[
        str, typer.Option(envvar="WEIR_INSTALLATION", help="Prefix of the names of its objects in the cluster.")
    ] = NAME,
    class_name: Annotated[str, typer.Option("--class", help="Only objects of this className count.")] = NAME,
    namespace: Annotated[
        str | None,
        typer.Option(
            envvar="POD_NAMESPACE",
            help="Where the Lease, the published config and the gateway are; default: that of the pod.",
        ),
    ] = None,
    namespaces: Annotated[
        str | None, typer.Option(help="Namespaces whose objects count, as a,b; default: all of them.")
    ] = None,
    gateway_service_account: Annotated[
        str | None, typer.Option(help="ServiceAccount that may have the whole config; default: INSTALLATION-router.")
    ] = None,
    listen: Annotated[str, typer.Option(help="Where routers wait for config (TLS).")] = "0.0.0.0:8443",
    admin: Annotated[str, typer.Option(help="Where /metrics, /healthz and /readyz are.")] = "0.0.0.0:9090",
    service_name: Annotated[
        str | None, typer.Option(help="The Service by which routers come; default: INSTALLATION-operator.")
    ] = None,
    token_file: Annotated[
        Path, typer.Option(help="Our token for the leader's config server, as a router has one; read each time.")
    ] = TOKEN_FILE,
    sidecar: Annotated[
        str | None,
        typer.Option(help="How pods' sidecars are made, as JSON (the chart does it); default: none."),
    ] = None,
    gateway_ca_file: Annotated[
        Path | None,
        typer.Option(help="Authorities (PEM) of the gateway's certificate, for sidecars; default: public ones."),
    ] = None,
    refuse_networks: Annotated[
        str, typer.Option(help="Networks in which no backend may be, e.g. the nodes', as 10.20.0.0/16,fd00:1::/64.")
    ] = "",
    offering_namespaces: Offering = None,
    user_tier_namespaces: UserTierNamespaces = "",
    consent: ConsentOption = Consent.WARN,
    review_tokens: Annotated[
        bool, typer.Option("--review-tokens", help="Ask the API server about callers' tokens, besides verifying them.")
    ] = False,
    pod_name: Annotated[str | None, typer.Option(envvar="POD_NAME", help="Of this replica.")] = None,
    pod_ip: Annotated[str | None, typer.Option(envvar="POD_IP", help="Where other replicas reach this one.")] = None,
) -> None:
    """Runs one replica of the operator, as a pod's ServiceAccount or by KUBECONFIG.

    \b
    weir operator --namespace weir-system
    weir operator --namespaces team-a,team-b --class blue --installation blue
    curl http://127.0.0.1:9090/readyz

    Of several replicas one leads, and all hand out config. docs/operator.md lists the rights that it
    needs; its log and /readyz name those that are missing, and it goes on without them.
    Exit code 1: it could not go on; the log says why. 2: wrong arguments, no cluster, or an address that is in use.
    """
    # Here, because nothing but this command needs them, and they take a third of a second.
    from weir_operator.kube import client
    from weir_operator.publish.publication import Names
    from weir_operator.run import handlers
    from weir_operator.run.settings import Settings

    log_as_json()
    made = _sidecar(sidecar)
    refused = _networks(refuse_networks)
    own = namespace or client.own_namespace()
    if own is None:
        raise fail("which namespace is this one's? Say --namespace, or set POD_NAMESPACE.")
    try:
        Names(installation)
        api_client = client.connect()
    except (ValueError, client.NoCluster) as error:
        raise fail(f"{error}.") from error
    settings = Settings(
        installation=installation,
        class_name=class_name,
        namespace=own,
        namespaces=tuple(it.strip() for it in namespaces.split(",") if it.strip()) if namespaces else None,
        gateway_account=gateway_service_account or f"{installation}-router",
        service_name=service_name or f"{installation}-operator",
        listen=address(listen),
        admin=address(admin),
        token_file=token_file,
        sidecar=made,
        gateway_ca_file=gateway_ca_file,
        review_tokens=review_tokens,
        refused_networks=refused,
        tenancy=tenancy(consent, offering_namespaces, user_tier_namespaces, own),
        pod_name=pod_name or socket.gethostname(),
        pod_ip=pod_ip,
    )
    calm_collector()  # of a compile of a thousand objects it would be a third
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        asyncio.run(handlers.run(settings, api_client))
    except OSError as error:
        raise fail(
            f"cannot listen: {error.strerror or error}. Choose another address with --listen or --admin."
        ) from error
    except Exception as error:
        raise fail(f"the operator cannot go on: {type(error).__name__}: {error}", Exit.PROBLEMS) from error


def _networks(text: str) -> tuple[str, ...]:
    networks = tuple(it.strip() for it in text.split(",") if it.strip())
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise fail(f"--refuse-networks: {error}. Write address and length, e.g. 10.20.0.0/16.") from None
    return networks


def _sidecar(text: str | None) -> inject.Settings | None:
    from weir_operator.sidecar import inject

    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=inject.Settings)
    except msgspec.MsgspecError as error:
        raise fail(f"--sidecar cannot be read: {error}.") from error
