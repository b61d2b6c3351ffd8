"""`weir up` without a directory: keys of the environment become manifests, which then run like those of a directory.

Called by `command`. It asks each provider which models its key may use, says what it found, and writes the manifests
into a folder. No key is written or shown: manifests name Secrets, whose values come from the environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from weir_cli.shared.manifests import SecretSource, instructions, render, write_files
from weir_cli.shared.output import Exit, errors, fail
from weir_cli.up.access import DEFAULT_NAMESPACE
from weir_cli.up.probe import Listing, ask_all
from weir_cli.up.shown import found_table, tiers_table, wrapped
from weir_cli.up.sources import Source, sources, variables
from weir_cli.up.tiers import AUTO, Made, make
from weir_operator.compile.catalogue import Catalogue
from weir_operator.kinds import MODEL_TIER
from weir_operator.observe.environment import variable
from weir_operator.observe.observed import Manifest, SecretKey

ROUTED, NAMED, README = "auto.yaml", "by-name.yaml", "secrets.yaml"
"""Files of the manifests: what `auto` is, a model for each real name, and how keys become Secrets."""


class Found(NamedTuple):
    """The models that the environment leads to."""

    made: Made
    secrets: tuple[SecretSource, ...]
    values: Mapping[SecretKey, str]  # of the secrets, in the namespace of the manifests

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """`environ` with the variables that stand for these Secrets."""
        return {**environ, **{variable(key): value for key, value in self.values.items()}}

    def exports(self, namespace: str | None) -> list[str]:
        """Commands of a shell that give `weir up` the keys that it would not find by their own names."""
        space = namespace or DEFAULT_NAMESPACE
        tiers = [it for it in self.made.named if it["kind"] == MODEL_TIER.kind]
        manifests = (Manifest(it["kind"], space, it["metadata"]["name"], it["spec"]) for it in tiers)
        seen = {it.key: it.conventional for each in manifests for it in MODEL_TIER.secrets(each)}
        keys = ((SecretKey(space, it.name, it.key), it.variable) for it in self.secrets)
        return [f'export {variable(key)}="${own}"' for key, own in keys if seen.get(key) != own]

    def save(self, directory: Path, namespace: str | None) -> None:
        """Writes the manifests. Raises `typer.Exit` where files are in the way."""
        routed, named = (render(it, compact=True) for it in (self.made.routed, self.made.named))
        texts = {ROUTED: _ROUTED_HEADING + routed, NAMED: _NAMED_HEADING + named}
        if self.secrets:
            texts[README] = instructions(self.secrets, namespace)
        write_files(directory, texts, force=None)


_ROUTED_HEADING = """\
# Written by `weir up --write`. Callers ask for the model "auto". Change tiers and routes as you like.
"""
_NAMED_HEADING = """\
# Written by `weir up --write`: callers who ask for a real name get that model. Remove names that callers may not use.
"""


def look(environ: Mapping[str, str], namespace: str, own: Sequence[tuple[str, int]]) -> Found:
    """Finds keys and servers, asks them for their models, and says what it found. Raises `typer.Exit`.

    `own`: addresses of this router, which is no provider of its own.
    """
    named = sources(environ, own)
    for note in named.notes:
        errors.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    listings = _asked(named.found)
    answered = [(source, it) for source, it in listings if it.models or not source.default]
    if not answered:
        raise fail(_nothing(environ))
    made = make([(source, it) for source, it in answered if it.models])
    errors.print(found_table(answered, made))
    for source, it in answered:
        if it.problem is not None:
            errors.print(wrapped(f"{source.title} {it.problem}"), highlight=False, markup=False, soft_wrap=True)
    if not made.tiers:
        raise fail("none of these serves a model: see above.", Exit.PROBLEMS)
    errors.print(tiers_table(made))
    errors.print(f"Prices are those of the catalogue of {Catalogue.load().date}.", highlight=False)
    used = [source for source, listing in answered if listing.models and source.secret is not None]
    secrets = {it.secret.name: it.secret for it in used if it.secret is not None}
    values = {
        SecretKey(namespace, it.secret.name, it.secret.key): it.key
        for it in used
        if it.secret is not None and it.key is not None
    }
    return Found(made, tuple(secrets.values()), values)


def _asked(found: Sequence[Source]) -> list[tuple[Source, Listing]]:
    titles = ", ".join(it.title for it in found if not it.default)
    if titles:
        errors.print(f"Asking {titles} for the models that may be used ...", highlight=False, soft_wrap=True)
    listings = ask_all(found)
    pairs = zip(found, listings, strict=True)
    return [(replace(it, base_url=each.base_url) if each.base_url else it, each) for it, each in pairs]


def _nothing(environ: Mapping[str, str]) -> str:
    names = ", ".join(name for name in variables() if not environ.get(name))
    return (
        "no key and no directory. Set a provider's key, for example:\n\n"
        "    OPENAI_API_KEY=... weir up\n\n"
        f"Looked for: {names}; and for Ollama on this machine.\n"
        "With manifests: weir up DIRECTORY. Without any key: weir demo, or weir up on the models of weir sim:\n\n"
        "    weir sim & OPENAI_BASE_URL=http://127.0.0.1:9100/v1 weir up"
    )


def keep(found: Found, directory: Path, namespace: str | None) -> None:
    """Writes the manifests, and says how they are run."""
    found.save(directory, namespace)
    errors.print(f"{directory}: written, without any key. Next: weir up {directory}", highlight=False, soft_wrap=True)
    for line in found.exports(namespace):
        errors.print(f"    before it: {line}", highlight=False, markup=False, soft_wrap=True)
    if found.secrets:
        how = f"In a cluster, make the Secrets first as {directory / README} says; then kubectl apply -f {directory}"
        errors.print(how, highlight=False, soft_wrap=True)


def next_steps(url: str, *, keys: bool, key: str | None = None) -> list[str]:
    """Lines for the terminal: a first request, clients, and how to keep this. `keys`: callers need one, as `key` is."""
    header = ' -H "authorization: Bearer $WEIR_KEY"' if keys else ""
    body = f'{{"model": "{AUTO}", "messages": [{{"role": "user", "content": "What is the capital of Portugal?"}}]}}'
    at = f" --url {url}"
    option = " --key '$WEIR_KEY'" if keys else ""
    return [
        f'"{AUTO}" is routed: easy prompts to the cheap tier, others to better ones. A real name gets that model.',
        *([f"First:    export WEIR_KEY={key}"] if key else []),
        f"Try it:   curl -si {url}/v1/chat/completions -H 'content-type: application/json'{header} -d '{body}'",
        f"Clients:  weir connect claude-code{at}{option}   (or openai, cursor, open-webui)",
        "Keep it:  weir up --write DIR   writes this as YAML, for weir up DIR and kubectl apply",
    ]
