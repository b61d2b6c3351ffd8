"""`weir explain`: what would happen to a prompt, and why, without sending it anywhere."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from weir_cli.catalogue_command import dollars
from weir_cli.output import Exit, Format, console, errors, fail, print_json
from weir_cli.workspace import counted, open_workspace
from weir_operator.catalogue import Catalogue
from weir_router.call.ask import Ask
from weir_router.call.failover import cannot_serve
from weir_router.call.providers.translate import untranslatable
from weir_router.choose.choose import Choice, RouteRequest, choose
from weir_router.choose.policy import PolicyIndex, find_policy, models_for
from weir_router.classify.classifier import applied, classify
from weir_router.clock import SystemClock
from weir_router.contract import Backend, CallerKind, CompiledConfig, Dialect, Policy
from weir_router.errors import BadRequest
from weir_router.health.board import Board
from weir_router.identify.caller import Caller
from weir_router.serve import dialects


def explain(
    directory: Annotated[Path, typer.Argument(help="Directory (or file) of manifests.")],
    prompt: Annotated[str | None, typer.Argument(help="The prompt, or use --request.")] = None,
    request: Annotated[Path | None, typer.Option(help="A whole request body (JSON) instead of a prompt.")] = None,
    dialect: Annotated[Dialect, typer.Option(help="Dialect of the request.")] = Dialect.OPENAI,
    model: Annotated[
        str | None, typer.Option(help="Model name to ask for; default: the first that the caller may ask for.")
    ] = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the caller.")] = "default",
    caller: Annotated[str, typer.Option(help="Name of the caller: its key's Secret or ServiceAccount.")] = "anonymous",
    user_tier: Annotated[str | None, typer.Option(help="The caller's user tier.")] = None,
    feature: Annotated[str | None, typer.Option(help="What the client sends as x-weir-feature.")] = None,
    header: Annotated[list[str] | None, typer.Option(help="Request header NAME:VALUE; may be repeated.")] = None,
    class_name: Annotated[str, typer.Option("--class", help="Only objects of this className count.")] = "weir",
    output: Annotated[
        Format, typer.Option("--output", "-o", help="table for people, json for machines.")
    ] = Format.TABLE,
) -> None:
    """Shows class, route and candidates of a prompt, each with its reason and price.

    \b
    weir explain examples/quickstart "Hi, can you prove Fermat's theorem?"
    weir explain examples/full --request body.json --namespace team-a

    Nothing is sent anywhere, and every backend counts as healthy.

    Exit code 0: explained; 1: the caller may not ask for it, or request or policy are broken; 2: wrong arguments.
    """
    workspace = open_workspace(directory, namespace=namespace, class_name=class_name)
    config = workspace.config
    if workspace.errors:
        found = f"{counted(len(workspace.errors), 'error')} in {directory}; weir validate tells"
        errors.print(f"note: {escape(found)}", highlight=False, soft_wrap=True)
    who = Caller(
        namespace=namespace,
        name=caller,
        kind=CallerKind.ANONYMOUS if caller == "anonymous" else CallerKind.API_KEY,
        user_tier=user_tier,
    )
    index = PolicyIndex(config)
    names = models_for(index, who)
    if not names:
        raise fail(
            f"no RoutingPolicy in {directory} lets {namespace}/{caller} ask for anything; try --namespace.",
            Exit.PROBLEMS,
        )
    ask = _ask(prompt, request, dialect, model or names[0])
    policy = find_policy(index, who, ask.model)
    if policy is None:
        raise fail(
            f"{namespace}/{caller} may not ask for {ask.model!r}; it may ask for {', '.join(names)}.", Exit.PROBLEMS
        )
    if policy.not_ready is not None:
        raise fail(f"RoutingPolicy {policy.key} is not ready: {policy.not_ready}", Exit.PROBLEMS)
    headers = dict(_header(text) for text in header or [])
    story = _story(config, policy, who, ask, headers, feature)
    if output is Format.JSON:
        print_json(story)
    else:
        _print(story)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise fail(f"--header {text!r} is not NAME:VALUE.")
    return name.strip().lower(), value.strip()


def _ask(prompt: str | None, request: Path | None, dialect: Dialect, model: str) -> Ask:
    if (prompt is None) == (request is None):
        raise fail("give either a prompt or --request FILE.")
    if request is not None:
        try:
            body = request.read_bytes()
        except OSError as error:
            raise fail(f"cannot read {request}: {error.strerror}") from error
    else:
        body = msgspec.json.encode(
            {"model": model, "max_tokens": 1024, "messages": [{"role": "user", "content": prompt}]}
        )
    try:
        return dialects.read(dialect, body, {})
    except BadRequest as error:
        raise fail(error.message, Exit.PROBLEMS) from error


def _story(
    config: CompiledConfig, policy: Policy, who: Caller, ask: Ask, headers: dict[str, str], feature: str | None
) -> dict[str, Any]:
    clock, rng = SystemClock(), random.Random(0)
    board = Board(clock, rng)
    board.configure(config)
    classification = classify(ask.prompt)
    complexity, reason = applied(classification, policy.min_confidence)
    request = RouteRequest(
        caller=who,
        classification=classification,
        complexity=complexity,
        prompt_tokens=classification.features.tokens,
        max_output=None if ask.prompt.max_output == 1024 else ask.prompt.max_output,
        needs=ask.prompt.needs,
        headers=headers,
        feature=feature,
        unable=cannot_serve(ask, untranslatable),
    )
    choice = choose(policy, config.tiers, request, board.view(), clock.monotonic(), time.time(), rng)
    return {
        "policy": policy.key,
        "model": ask.model,
        "complexity": complexity,
        "probability": round(classification.probability, 3),
        "reason": reason,
        "features": {name: value for name, value in msgspec.structs.asdict(classification.features).items() if value},
        "route": choice.route,
        "routeReason": choice.reason,
        "mode": policy.mode,
        "catalogueDate": Catalogue.load().date,
        **_places(choice),
    }


def _places(choice: Choice) -> dict[str, Any]:
    candidates = [
        {
            "tier": c.tier,
            "backend": c.backend.name,
            "model": c.backend.model,
            "price": _price(c.backend),
            "reason": c.reason,
        }
        for c in choice.candidates
    ]
    skipped = [{"tier": s.tier, "backend": s.backend, "reason": s.reason} for s in choice.skipped]
    return {"candidates": candidates, "skipped": skipped, "unable": choice.unable}


def _price(backend: Backend) -> dict[str, Any] | None:
    price = backend.price
    return None if price is None else {"input": price.input, "output": price.output, "source": price.source}


def _print(story: dict[str, Any]) -> None:
    story = _escaped(story)
    console.print(f"policy [bold]{story['policy']}[/], model '{story['model']}', mode {story['mode']}", highlight=False)
    console.print(
        f"class [bold]{story['complexity']}[/] with probability {story['probability']}: {story['reason']}",
        highlight=False,
    )
    console.print(
        "features " + ", ".join(f"{name}={value}" for name, value in story["features"].items()), highlight=False
    )
    console.print(f"route [bold]{story['route']}[/]: {story['routeReason']}", highlight=False)
    console.print(_table(story))
    if story["unable"]:
        console.print(f"[red]Nothing on this route can serve it:[/] {story['unable']}", highlight=False)


def _table(story: dict[str, Any]) -> Table:
    """Names and reasons below each other: beside each other they fit into no terminal of 80 columns."""
    title = f"Candidates, first choice first; US dollars per million tokens\nCatalogue of {story['catalogueDate']}"
    table = Table(title=title, title_justify="left", show_lines=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("tier / backend, model and reason", overflow="fold")
    for heading in ("input", "output"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number, candidate in enumerate(story["candidates"], 1):
        price = candidate["price"]
        named = f"{candidate['tier']} / [bold]{candidate['backend']}[/], {candidate['model']}"
        priced = "price unknown" if price is None else f"price from {price['source']}"
        figures = ("?" if price is None else dollars(price[kind]) for kind in ("input", "output"))
        table.add_row(str(number), f"{named}\n[dim]{candidate['reason']}; {priced}[/]", *figures)
    for skipped in story["skipped"]:
        named = f"{skipped['tier']} / {skipped['backend']}"
        table.add_row("–", f"[dim]{named}\nskipped: {skipped['reason']}[/]", "", "")
    return table


def _escaped(value: Any) -> Any:
    """Names out of manifests and requests are no markup."""
    match value:
        case str():
            return escape(value)
        case list():
            return [_escaped(item) for item in value]
        case dict():
            return {name: _escaped(item) for name, item in value.items()}
    return value
