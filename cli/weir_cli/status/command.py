"""`weir status`, `kubectl weir status`: what routers do right now. Reads, changes nothing."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from weir_cli.cluster.connection import NEEDS_CLIENT, NoPages, is_configured
from weir_cli.shared.admin import AdminTokenFile, admin_headers
from weir_cli.shared.output import Exit, Format, console, errors, fail, print_json
from weir_cli.status import own
from weir_cli.status.figures import Backend, Figures, Page, figures, quantile
from weir_cli.status.pages import from_urls
from weir_cli.status.watching import Look, as_lines, in_place, looks

LOCAL = "http://127.0.0.1:9090"
"""The admin port of `weir up` without other options."""


def status(
    urls: Annotated[
        list[str] | None,
        typer.Option("--url", help="Admin port of a router; again for each. Default: the cluster's."),
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Where Weir is installed; default: that of the context.")
    ] = None,
    installation: Annotated[str, typer.Option(help="Name of the installation: that of the Helm release.")] = "weir",
    context: Annotated[str | None, typer.Option(help="Of the kubeconfig; default: the current one.")] = None,
    admin_token_file: AdminTokenFile = None,
    seconds: Annotated[
        float, typer.Option(min=0, max=3600, help="Watch for so long; 0: since the routers started.")
    ] = 0,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again and again, in place, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between two looks of --watch.")] = 2,
    output: Annotated[
        Format, typer.Option("--output", "-o", help="table for people, json for machines: with --watch a line a look.")
    ] = Format.TABLE,
) -> None:
    """Shows each model: its state, its share of the requests, speed, and dollars spent and saved.

    \b
    weir status
    weir status --url http://127.0.0.1:9090
    kubectl weir status --namespace weir-system --seconds 10
    kubectl weir status --namespace weir-system --watch --seconds 60

    Without a kubeconfig, the router of this machine is asked (weir up). In a cluster the routers are asked by way of
    the API server, which lets you if you may get pods/proxy in the installation's namespace, and list RoutingPolicies
    of all: the figures are those of all tenants. Without these rights you get the statuses of your own namespace.
    With --watch, --seconds are the last ones before each look.
    Exit code 0: shown, or watched until Ctrl-C; 1: a model is out, or a router refuses its config, or your own is not
    ready; 2: no router can be asked.
    """
    headers = admin_headers(admin_token_file)
    try:
        look = _looking(urls, namespace, installation, context, headers, seconds, watch=watch)
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
    namespace: str | None,
    installation: str,
    context: str | None,
    headers: Mapping[str, str],
    seconds: float,
    *,
    watch: bool,
) -> Callable[[], Look]:
    """Looks at the routers that the options of `status` mean. Raises `NoPages`."""
    if not urls and namespace is context is None and not is_configured(os.environ):
        urls = _here(headers)
    own_look = None if urls else _own(namespace, context)
    if own_look is not None:
        return own_look
    ask = functools.partial(from_urls, urls, headers) if urls else _cluster(namespace, installation, context, headers)
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


def _own(namespace: str | None, context: str | None) -> Callable[[], Look] | None:
    """Looks at one's own objects; None: one may see more."""
    first = own.own(namespace, context)
    if first is None:
        return None
    note = "you may not see the figures of all tenants (get pods/proxy where Weir is, list routingpolicies everywhere)"
    errors.print(f"note: {note}: what follows is what the operator says of yours", highlight=False, soft_wrap=True)

    def look() -> Look:
        nonlocal first
        mine, first = first or own.own(namespace, context), None
        if mine is None:
            raise NoPages("you may see all figures by now: run it again")
        where, found = mine
        record = {"namespace": where, "objects": found}
        return Look(own.table(where, found), record, bad=any(it.ready == "False" for it in found))

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
    bad = bool(found.rejected) or any(set(it.states) != {"closed"} for it in found.backends.values())
    return Look(table(found, seconds), record(found), tuple(notes(found)), bad)


def _cluster(
    namespace: str | None, installation: str, context: str | None, headers: Mapping[str, str]
) -> Callable[[], list[Page]]:
    try:  # here: it takes a while to load, and the command may be installed without it
        from weir_cli.status.cluster import from_cluster
    except ImportError:
        raise NoPages(NEEDS_CLIENT) from None
    return from_cluster(namespace, installation, context, headers)


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
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else value
