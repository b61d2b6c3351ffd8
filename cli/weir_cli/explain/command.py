"""`weir explain`, `kubectl weir explain`: what would happen to a prompt, and why, without sending it anywhere."""

from __future__ import annotations

import os
import time
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from weir_cli.catalogue.command import dollars
from weir_cli.cluster.connection import is_configured
from weir_cli.cluster.flags import Connection, asks_cluster
from weir_cli.cluster.names import is_name, is_place
from weir_cli.explain.cluster import Asked, of_policy
from weir_cli.explain.fields import described, fate
from weir_cli.shared.output import Exit, Format, console, errors, fail, print_json
from weir_cli.shared.tenancy import SYSTEM_NAMESPACE, ConsentOrDefault, Offering, UserTierNamespaces, tenancy
from weir_cli.shared.workspace import counted, open_workspace
from weir_operator.compile.catalogue import Catalogue
from weir_operator.observe.tenancy import Consent, Tenancy
from weir_router.contract import CONVERSATIONS, Backend, CallerKind, CompiledConfig, Dialect, Operation, Policy
from weir_router.contract.caller import Caller
from weir_router.decide.asked import FEATURE_HEADER, asked
from weir_router.decide.decision import decide, passed_over
from weir_router.decide.policy import PolicyIndex, find_policy, models_for, prefixes_for
from weir_router.decide.types import Choice
from weir_router.decide.world import World
from weir_router.dialects.ask import Ask
from weir_router.dialects.passed.endpoints import ENDPOINTS
from weir_router.dialects.registry import DEFAULT_PROVIDER, caller_at, caller_with
from weir_router.dialects.wire.body import parse
from weir_router.errors import BadRequest

ANONYMOUS = "anonymous"
"""Name of a caller that shows neither key nor token."""

Subject = Annotated[
    str,
    typer.Argument(
        metavar="DIRECTORY|[NAMESPACE/]POLICY",
        help="Directory (or file) of manifests; where there is none of that name, a RoutingPolicy in the cluster. "
        "A bare name: in the namespace of the request.",
    ),
]
Moment = Annotated[
    str | None, typer.Option(help="Moment of the request, e.g. 2026-12-01T22:30:00+01:00; default: now.")
]
Kind = Annotated[Operation, typer.Option(help="Operation of the request, e.g. Images.")]
Named = Annotated[
    str | None, typer.Option(help="Model name to ask for; default: the first that the caller may ask for.")
]
Output = Annotated[Format, typer.Option("--output", "-o", help="table for people, json for machines.")]


@asks_cluster
def explain(
    subject: Subject,
    prompt: Annotated[str | None, typer.Argument(help="The prompt, or use --request.")] = None,
    request: Annotated[Path | None, typer.Option(help="A whole request body (JSON) instead of a prompt.")] = None,
    dialect: Annotated[Dialect, typer.Option(help="Dialect of the request.")] = DEFAULT_PROVIDER,
    operation: Kind = Operation.CHAT,
    model: Named = None,
    caller: Annotated[
        str,
        typer.Option(
            metavar="[NAMESPACE/]NAME",
            help="The caller: its key's Secret or ServiceAccount. A bare name: in the namespace of --namespace, or in "
            "the policy's.",
        ),
    ] = ANONYMOUS,
    user_tier: Annotated[str | None, typer.Option(help="The caller's user tier.")] = None,
    feature: Annotated[str | None, typer.Option(help="The client's x-weir-feature header.")] = None,
    header: Annotated[list[str] | None, typer.Option(help="Request header NAME:VALUE; may be repeated.")] = None,
    at: Moment = None,
    class_name: Annotated[
        str, typer.Option("--class", help="Of a directory, only objects of this className count.")
    ] = "weir",
    offering_namespaces: Offering = None,
    user_tier_namespaces: UserTierNamespaces = "",
    consent: ConsentOrDefault = None,
    output: Output = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """Shows class, route and candidates of a prompt, each with its reason, its price and the fields that it lacks.

    \b
    weir explain examples/quickstart "Hi, can you prove Fermat's theorem?"
    weir explain examples/full --request body.json --namespace team-a
    weir explain examples/full "a dam at dawn" --operation Embeddings --namespace team-a
    weir explain examples/full "Hi" --namespace team-a --at 2026-12-04T23:00:00+01:00 --header "x-weir-ttft: 800ms"
    kubectl weir explain team-a/assistants "Hi, can you prove Fermat's theorem?"
    kubectl weir explain assistants "Hi" --namespace team-a --caller team-b/ci

    Nothing is sent anywhere, and every backend counts as healthy; in a cluster, a note says which is not.

    Exit code 0: explained; 1: the caller may not ask for it, or request or policy are broken; 2: wrong arguments, or
    no cluster.
    """
    about = _about(
        subject, caller, user_tier, model, connection, class_name, consent, offering_namespaces, user_tier_namespaces
    )
    for note in about.notes:
        errors.print(f"note: {escape(note)}", highlight=False, soft_wrap=True)
    ask = _ask(prompt, request, dialect, operation, model or about.model)
    policy = about.policy or _policy(about.config, about.who, ask.model)
    if policy.not_ready is not None:
        raise fail(f"RoutingPolicy {policy.key} is not ready: {policy.not_ready}", Exit.PROBLEMS)
    wall = time.time() if at is None else _moment(at)
    story = _story(about, policy, ask, _headers(header or [], feature), wall)
    if output is Format.JSON:
        print_json(story)
    else:
        _print(story)


def _about(
    subject: str,
    caller: str,
    user_tier: str | None,
    model: str | None,
    connection: Connection,
    class_name: str,
    consent: Consent | None,
    offering: str | None,
    user_tiers: str,
) -> Asked:
    """Subject of the command: a directory, or a policy of the cluster."""
    bare = is_name(subject) and (connection.given or is_configured(os.environ))
    there = (is_place(subject) or bare) and not os.path.exists(subject)
    caller_namespace, _, name = caller.rpartition("/")
    namespace = caller_namespace or (None if there and bare else connection.namespace)
    kind = CallerKind.ANONYMOUS if name == ANONYMOUS else CallerKind.API_KEY
    who = Caller(namespace=namespace or "default", name=name, kind=kind, user_tier=user_tier)
    default, own = (Consent.WARN, SYSTEM_NAMESPACE) if there else (Consent.ENFORCE, "default")
    rules = tenancy(consent or default, offering, user_tiers, own)
    if there:
        return of_policy(subject, who, namespace, model, connection, rules)
    return _of_directory(Path(subject), who, class_name, model, rules)


def _of_directory(directory: Path, who: Caller, class_name: str, model: str | None, rules: Tenancy) -> Asked:
    workspace = open_workspace(directory, namespace=who.namespace, class_name=class_name, tenancy=rules)
    notes = []
    if workspace.errors:
        notes.append(f"{counted(len(workspace.errors), 'error')} in {directory}; weir validate tells")
    index = PolicyIndex(workspace.config)
    names = models_for(index, who) or prefixes_for(index, who)
    if not names:
        raise fail(
            f"no RoutingPolicy in {directory} lets {who.namespace}/{who.name} ask for anything; try --namespace.",
            Exit.PROBLEMS,
        )
    return Asked(workspace.config, who, model or names[0], None, tuple(notes))


def _policy(config: CompiledConfig, who: Caller, model: str) -> Policy:
    """The one that serves the caller."""
    index = PolicyIndex(config)
    policy = find_policy(index, who, model)
    if policy is None:
        names = ", ".join([*models_for(index, who), *prefixes_for(index, who)])
        raise fail(f"{who.namespace}/{who.name} may not ask for {model!r}; it may ask for {names}.", Exit.PROBLEMS)
    return policy


def _moment(text: str) -> float:
    """Seconds since the epoch, from the option `--at`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    # At either end of the calendar, another time zone may have no such moment.
    if moment is None or moment.tzinfo is None or not MINYEAR < moment.year < MAXYEAR:
        raise fail(f"--at {text!r} is no moment with its offset, such as 2026-12-01T22:30:00+01:00.")
    return moment.timestamp()


def _headers(texts: list[str], feature: str | None) -> dict[str, str]:
    """Headers of the request, from the options `--header NAME:VALUE` and `--feature`."""
    headers = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon:
            raise fail(f"--header {text!r} is not NAME:VALUE.")
        headers[name.strip().lower()] = value.strip()
    return headers if feature is None else {**headers, FEATURE_HEADER: feature}


def _ask(prompt: str | None, request: Path | None, dialect: Dialect, operation: Operation, model: str) -> Ask:
    if (prompt is None) == (request is None):
        raise fail("give either a prompt or --request FILE.")
    if request is not None:
        try:
            body = request.read_bytes()
        except OSError as error:
            raise fail(f"cannot read {request}: {error.strerror}") from error
    elif operation is Operation.CHAT:
        body = msgspec.json.encode(
            {"model": model, "max_tokens": 1024, "messages": [{"role": "user", "content": prompt}]}
        )
    else:
        endpoint = ENDPOINTS.get(caller_at(operation).format)
        body = msgspec.json.encode({"model": model, (endpoint and endpoint.text) or "input": prompt})
    try:
        chat = operation is Operation.CHAT
        ask = (caller_with(dialect, parse(body)[0]) if chat else caller_at(operation)).read(body, {})
        return ask if ask.model else msgspec.structs.replace(ask, model=model)
    except BadRequest as error:
        raise fail(error.message, Exit.PROBLEMS) from error


def _story(about: Asked, policy: Policy, ask: Ask, headers: dict[str, str], wall: float) -> dict[str, Any]:
    world = World(about.config, health={}, wall=wall, now=0.0, draw=0.0)
    try:
        measured = asked(ask, headers)
    except BadRequest as error:
        raise fail(error.message, Exit.PROBLEMS) from error
    decision = decide(measured, about.who, policy, world)
    features = msgspec.structs.asdict(decision.asked.features)
    return {
        "policy": policy.key,
        "model": ask.model,
        "operation": decision.asked.operation,
        "complexity": decision.complexity,
        "probability": round(decision.classification.probability, 3),
        "reason": decision.reason,
        "features": {name: value for name, value in features.items() if value},
        "route": decision.choice.route,
        "routeReason": decision.choice.reason,
        "passedOver": [{"route": it.route, "reason": "; ".join(it.reasons)} for it in passed_over(decision)],
        "mode": policy.mode,
        "at": datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "latencyBudget": measured.latency_budget,
        "toolLoop": measured.began is not None,
        "catalogueDate": Catalogue.load().date,
        **_places(decision.choice, about.hidden, ask),
    }


def _places(choice: Choice, hidden: frozenset[str], ask: Ask) -> dict[str, Any]:
    candidates = [
        {
            "tier": c.tier,
            "backend": c.backend.name,
            "model": c.backend.model,
            "price": _price(c.backend),
            "reason": "you may not read this ModelTier" if c.tier in hidden else c.reason,
            "fields": {} if c.tier in hidden else fate(ask, c.backend),
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
    asks = "" if story["operation"] in CONVERSATIONS else f", operation {story['operation']}"
    console.print(
        f"policy [bold]{story['policy']}[/], model '{story['model']}', mode {story['mode']}{asks}", highlight=False
    )
    console.print(
        f"class [bold]{story['complexity']}[/] with probability {story['probability']}: {story['reason']}",
        highlight=False,
    )
    console.print(
        "features " + ", ".join(f"{name}={value}" for name, value in story["features"].items()), highlight=False
    )
    budget = story["latencyBudget"]
    hurry = "" if budget is None else f", first content within {budget:g} s"
    loop = ", in a tool loop: class and route are those of the question that began it" if story["toolLoop"] else ""
    console.print(f"at {story['at']}{hurry}{loop}", highlight=False)
    console.print(f"route [bold]{story['route']}[/]: {story['routeReason']}", highlight=False)
    for it in story["passedOver"]:
        console.print(f"[dim]not {it['route']}: {it['reason']}[/]", highlight=False)
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
        fields = described(candidate["fields"])
        lines = [named, f"[dim]{candidate['reason']}; {priced}[/]", *([f"[yellow]{fields}[/]"] if fields else [])]
        table.add_row(str(number), "\n".join(lines), *figures)
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
