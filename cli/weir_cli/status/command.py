"""`weir status`, `kubectl weir status`: what routers do right now. Reads, changes nothing."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.table import Table

from weir_cli.cluster.connection import NoPages, is_configured
from weir_cli.cluster.flags import Connection, asks_cluster
from weir_cli.cluster.installations import Installation, InstallationName, SystemNamespace, find
from weir_cli.cluster.opening import answered, opened
from weir_cli.shared.admin import AdminTokenFile, admin_headers
from weir_cli.shared.output import Exit, Format, console, errors, fail, print_json
from weir_cli.status import own
from weir_cli.status.figures import Backend, Figures, Page, Route, figures, quantile
from weir_cli.status.pages import from_urls
from weir_cli.status.watching import Look, as_lines, in_place, looks

if TYPE_CHECKING:
    from weir_cli.cluster.api import Cluster

LOCAL = "http://127.0.0.1:9090"
"""The admin port of `weir up` without other options."""


@asks_cluster
def status(
    urls: Annotated[
        list[str] | None,
        typer.Option("--url", help="Admin port of a router; again for each. Default: the cluster's."),
    ] = None,
    system_namespace: SystemNamespace = None,
    installation: InstallationName = None,
    admin_token_file: AdminTokenFile = None,
    seconds: Annotated[
        float, typer.Option(min=0, max=3600, help="Watch for so long; 0: since the routers started.")
    ] = 0,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again and again, in place, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between two looks of --watch.")] = 2,
    output: Annotated[
        Format, typer.Option("--output", "-o", help="table for people, json for machines: with --watch a line a look.")
    ] = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """Shows each model: its state, its share of the requests, speed, and dollars spent and saved.

    \b
    weir status
    weir status --url http://127.0.0.1:9090
    kubectl weir status --seconds 10
    kubectl weir status --watch --seconds 60
    kubectl weir status --namespace team-a

    Without a kubeconfig, the router of this machine is asked (weir up). In a cluster the installation is found by its
    labels, and its routers are asked by way of the API server. That needs list on pods and get on pods/proxy in the
    installation's namespace, and list on RoutingPolicies of all namespaces: the figures are those of all tenants.
    Without these rights you get the statuses of your namespace: the context's, or that of --namespace.
    With --watch, --seconds are the last ones before each look.
    Exit code 0: shown, or watched until Ctrl-C; 1: a model is out, or a router refuses its config, or your own is not
    ready; 2: no router can be asked.
    """
    headers = admin_headers(admin_token_file)
    try:
        look = _looking(urls, connection, system_namespace, installation, headers, seconds, watch=watch)
        if watch:
            with contextlib.suppress(KeyboardInterrupt):
                found = looks(look, every)
                as_lines(found) if output is Format.JSON else in_place(found, console)
            return
        shown = look()
    except NoPages as error:
        raise fail(f"{error}") from error
    if output is Format.JSON:
        print_json(shown.record)
    else:
        console.print(shown.shown)
        for line in shown.notes:
            errors.print(line, highlight=False, soft_wrap=True)
    if shown.bad:
        raise typer.Exit(Exit.PROBLEMS)


def _looking(
    urls: list[str] | None,
    connection: Connection,
    system_namespace: str | None,
    name: str | None,
    headers: Mapping[str, str],
    seconds: float,
    *,
    watch: bool,
) -> Callable[[], Look]:
    """Looks at the routers that the options of `status` mean. Raises `NoPages`."""
    if not urls and not connection.given and not is_configured(os.environ):
        urls = _here(headers)
    if urls:
        ask = functools.partial(from_urls, urls, headers)
    else:
        there = opened(connection)
        with answered():
            found = find(there.api_client, system_namespace, name, connection.namespace)
            lacking = own.unseen(there, found.installation.namespace)
            if lacking:
                return _own(there, lacking)
        ask = functools.partial(_pages, there, found.installation, headers)
    return _watched(ask, seconds) if watch else _routers(ask, seconds)


def _here(headers: Mapping[str, str]) -> list[str]:
    """The admin port of `weir up` on this machine. Raises `NoPages`."""
    try:
        from_urls([LOCAL], headers)
    except NoPages as error:
        raise NoPages(
            f"there is no cluster (no kubeconfig), and no router of this machine: {error}. Start one with weir up, or "
            "name its admin port: --url"
        ) from None
    return [LOCAL]


def _own(there: Cluster, lacking: Sequence[str]) -> Callable[[], Look]:
    """Looks at the objects of one namespace, for users who may not see the routers' figures. Raises `NoPages`."""
    _, hidden = own.own(there, lacking)
    message = f"you may not see the figures of all tenants: you may not {'; '.join((*lacking, *hidden))}"
    errors.print(f"note: {message}. Below are the statuses of your objects", highlight=False, soft_wrap=True)

    def look() -> Look:
        with answered():
            found, _ = own.own(there, lacking)
        record = {"namespace": there.namespace, "objects": found}
        return Look(own.table(there.namespace, found), record, bad=any(it.ready == "False" for it in found))

    return look


def _routers(ask: Callable[[], list[Page]], seconds: float) -> Callable[[], Look]:
    """Looks at routers: since they started, or for `seconds`."""

    def look() -> Look:
        before = ask() if seconds else []
        time.sleep(seconds)
        return _look(ask(), before, seconds)

    return look


def _watched(ask: Callable[[], list[Page]], seconds: float) -> Callable[[], Look]:
    """Looks at routers: since they started, or at the last `seconds`."""
    earlier: deque[tuple[float, list[Page]]] = deque()

    def look() -> Look:
        now, pages = time.monotonic(), ask()
        if seconds:
            earlier.append((now, pages))
        while len(earlier) > 1 and earlier[1][0] <= now - seconds:
            earlier.popleft()
        covered = round(now - earlier[0][0]) if earlier else 0
        return _look(pages, earlier[0][1] if covered else [], covered)  # at first there is no earlier look

    return look


def _look(pages: list[Page], before: list[Page], seconds: float) -> Look:
    found = figures(pages, before)
    bad = bool(found.rejected) or any(set(it.states) != {"closed"} or it.failing for it in found.backends.values())
    shown = [table(found, seconds)]
    if any(it.fell for routes in found.policies.values() for it in routes.values()):
        shown.append(falls(found.policies))
    return Look(Group(*shown), record(found), tuple(notes(found)), bad)


def _pages(there: Cluster, installation: Installation, headers: Mapping[str, str]) -> list[Page]:
    from weir_cli.status.cluster import gateway_pages

    return gateway_pages(there.api_client, installation, headers)


def table(found: Figures, seconds: float) -> Table:
    """A row per backend, tiers together."""
    revisions = ", ".join(map(str, found.revisions)) or "none"
    routers = f"{found.routers} router{'s' if found.routers != 1 else ''}, revision {revisions}"
    period = f"in {seconds:g} s" if seconds else "since they started"
    listing = Table(title=f"{routers}; {found.requests:,.0f} requests {period}", title_justify="left")
    for heading in ("tier", "backend", "state"):
        listing.add_column(heading, no_wrap=True)
    for heading in ("requests", "share", "failed", "TTFT p50", "p95", "tokens/s", "dollars", "saved"):
        listing.add_column(heading, justify="right", no_wrap=True)
    last = ""
    for key, it in found.backends.items():
        tier, _, name = key.rpartition("/")
        listing.add_row("" if tier == last else tier, name, *_row(it, found.requests))
        last = tier
    return listing


def falls(policies: Mapping[str, Mapping[str, Route]]) -> Table:
    """A row per policy of which another tier, or none, has answered a request."""
    listing = Table(title="Requests that their route's tier could not serve", title_justify="left")
    listing.add_column("policy", no_wrap=True)
    for heading in ("requests", "to a cheaper tier", "to a dearer tier", "not served"):
        listing.add_column(heading, justify="right", no_wrap=True)
    for key, routes in policies.items():
        it = sum(routes.values(), Route())
        if it.fell:
            counts = [_part(count, it.requests) for count in (it.cheaper, it.dearer, it.unserved)]
            listing.add_row(key, f"{it.requests:,.0f}", *counts)
    return listing


def _part(count: float, of: float) -> str:
    """A count with its share, e.g. `12 (30%)`."""
    return f"{count:,.0f} ({count / of:.0%})" if count and of else "–"


def _row(it: Backend, requests: float) -> tuple[str, ...]:
    return (
        _state(it),
        f"{it.requests:,.0f}",
        f"{it.requests / requests:.0%}" if requests else "–",
        f"{it.failed:,.0f}",
        _seconds(quantile(it.ttft, 0.5)),
        _seconds(quantile(it.ttft, 0.95)),
        _number(quantile(it.rate, 0.5), "{:.0f}"),
        f"{it.dollars:.4f}",
        _number(it.saved, "{:.4f}"),
    )


def _state(it: Backend) -> str:
    """The state of a backend, with counts where routers differ."""
    if len(it.states) == 1:
        return next(iter(it.states))
    return ", ".join(f"{state} {count}" for state, count in it.states.most_common())


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    if math.isinf(value):
        return "> 60 s"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def _number(value: float | None, shape: str) -> str:
    return "–" if value is None else "very fast" if math.isinf(value) else shape.format(value)


def notes(found: Figures) -> list[str]:
    """Lines about things that need attention."""
    lines = [f"{router} refuses a newer config: {why}" for router, why in found.rejected.items()]
    if len(found.revisions) > 1:
        lines.append("Routers run different revisions; that should be over in a second.")
    lines += [f"{key} is {_state(it)}: {it.reason}" for key, it in found.backends.items() if it.reason]
    lines += [f"{key} answers nothing: {it.words}" for key, it in found.backends.items() if it.failing]
    if found.errors:
        lines.append("Errors answered: " + ", ".join(f"{code} {count:,.0f}" for code, count in found.errors.items()))
    return lines


def record(found: Figures) -> dict[str, Any]:
    """The same for machines; seconds, tokens per second, US dollars."""
    return {
        "routers": found.routers,
        "revisions": found.revisions,
        "rejected": found.rejected,
        "requests": found.requests,
        "errors": found.errors,
        "backends": [
            {
                "tier": key.rpartition("/")[0],
                "name": key.rpartition("/")[2],
                "states": dict(it.states),
                "reason": it.reason,
                "failing": it.failing,
                "words": it.words,
                "inFlight": it.in_flight,
                "requests": it.requests,
                "failedAttempts": it.failed,
                "ttftP50": _finite(quantile(it.ttft, 0.5)),
                "ttftP95": _finite(quantile(it.ttft, 0.95)),
                "tokensPerSecond": _finite(quantile(it.rate, 0.5)),
                "dollars": it.dollars,
                "saved": it.saved,
            }
            for key, it in found.backends.items()
        ],
        "policies": [
            {"policy": key, **_counts(sum(routes.values(), Route())), "routes": _by_route(routes)}
            for key, routes in found.policies.items()
        ],
    }


def _by_route(routes: Mapping[str, Route]) -> list[dict[str, Any]]:
    return [{"route": name, **_counts(it)} for name, it in routes.items()]


def _counts(it: Route) -> dict[str, float]:
    return {"requests": it.requests, "cheaper": it.cheaper, "dearer": it.dearer, "unserved": it.unserved}


def _finite(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else value
