"""`weir key create`: an API key for a caller, of which only the SHA-256 is ever stored."""

from __future__ import annotations

import re
import secrets
from typing import Annotated

import typer
import yaml

from weir_cli.shared.output import Format, errors, fail, print_json
from weir_operator.schemas.common import DNS_LABEL, DNS_SUBDOMAIN, MAX_OBJECT_NAME
from weir_router.identify.keys import KEY_PREFIX, fingerprint

KEY_BYTES = 24
"""192 random bits: no search finds a key, so a plain SHA-256 of it is safe to store."""

app = typer.Typer(help="API keys for callers that have no ServiceAccount.", no_args_is_help=True)


def new_key() -> str:
    """A new random key."""
    return KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)


def key_secret(name: str, namespace: str, key: str, user_tier: str | None) -> dict[str, object]:
    """The Secret to apply: the key's SHA-256, and who its callers are."""
    metadata: dict[str, object] = {"name": name, "namespace": namespace, "labels": {"weir.dev/api-key": "true"}}
    if user_tier is not None:
        metadata["annotations"] = {"weir.dev/user-tier": user_tier}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "stringData": {"sha256": fingerprint(key)},
    }


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the Secret, and of the caller in logs and metrics.")],
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Whose caller it is: the namespace of the Secret.")
    ] = "default",
    user_tier: Annotated[
        str | None, typer.Option(help="What `when.userTiers` of a route matches, e.g. free or paid.")
    ] = None,
    output: Annotated[
        Format | None, typer.Option("--output", "-o", help="json prints key and Secret together.")
    ] = None,
) -> None:
    """Makes a key. The Secret goes to stdout, the key itself to stderr, once: nothing can show it again.

    \b
    weir key create ci --namespace team-a > manifests/ci-key.yaml
    weir key create ci --namespace team-a | kubectl apply -f -

    Exit code 2: a name that Kubernetes does not take.
    """
    for what, text, pattern in (("name", name, DNS_SUBDOMAIN), ("namespace", namespace, DNS_LABEL)):
        if not re.fullmatch(pattern, text) or len(text) > MAX_OBJECT_NAME:
            raise fail(f"{text!r} is no {what} that Kubernetes takes: lower-case letters, digits and '-'.")
    key = new_key()
    secret = key_secret(name, namespace, key, user_tier)
    if output is Format.JSON:
        print_json({"key": key, "secret": secret})
        return
    typer.echo(yaml.safe_dump(secret, sort_keys=False), nl=False)
    errors.print("The key, shown this once:", style="bold")
    errors.print(key, highlight=False, soft_wrap=True)
