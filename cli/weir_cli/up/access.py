"""Decides who may call `weir up`: all callers on loopback, and callers with a key where other machines reach it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from secrets import token_bytes
from typing import Annotated, NamedTuple

import msgspec
import typer

from weir_cli.key.command import new_key
from weir_cli.shared.output import fail
from weir_cli.shared.workspace import Workspace
from weir_router.contract import CallerKey, CallerKind, CompiledConfig, Secrets, StateKey
from weir_router.contract.caller import Caller
from weir_router.contract.conditions import named
from weir_router.identify.keys import fingerprint
from weir_router.serve.browsers import is_loopback, origin_of

KEY_NAME = "weir-up"
"""Name of the caller whose key `weir up` has made."""


DEFAULT_NAMESPACE = "default"
"""Namespace of objects that name none, and of callers without a key where policies are of several namespaces."""


def _origin(text: str) -> str:
    try:
        return origin_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        help="Whose callers unauthenticated ones are, and the namespace of objects that name none: default. If all "
        "policies are of one namespace, callers are of that one.",
    ),
]
RequireKeys = Annotated[
    bool,
    typer.Option(
        "--require-keys",
        help="Refuse callers without a key, such as `weir key create` makes. Implied by --listen beyond loopback. A "
        "key is made and shown if the directory has none.",
    ),
]
Anonymous = Annotated[
    bool, typer.Option("--anonymous", help="Serve callers without a key, also those of other machines.")
]
AllowOrigin = Annotated[
    list[str],
    typer.Option(
        parser=_origin,
        metavar="ORIGIN",
        help="Allow calls from web pages of this origin, such as https://app.example.com; repeatable. Pages of "
        "localhost are always allowed.",
    ),
]

AllowHost = Annotated[
    list[str],
    typer.Option(
        metavar="NAME",
        help="A name by which callers without a key may reach this router, such as models.internal; repeatable. With "
        "one, other names are refused, also beyond loopback.",
    ),
]


KEY_BYTES = 32
"""Bytes of the key that seals ids of stored answers."""

STATE_NOTE = "Ids of stored responses (previous_response_id) are good until the command ends: no file keeps their key."
"""Message where a backend takes the Responses API. On Kubernetes a Secret keeps the key."""

MAX_SHOWN = 5
"""Namespaces that a message lists: some as examples."""


class Access(NamedTuple):
    """The callers of one run."""

    namespace: str  # of callers without a key, and of the key that was made
    anonymous: bool  # callers without a key may
    apart: bool  # callers need a key, because other machines reach the port
    key: str | None  # one that was made for this run
    state_is_public: bool  # other machines reach the admin port
    notes: tuple[str, ...] = ()  # about the namespace, and how long ids of stored answers are good
    state_keys: tuple[StateKey, ...] = ()  # seal ids of stored answers, until the command ends

    def applied(self, workspace: Workspace) -> tuple[CompiledConfig, Secrets]:
        """The config and the secrets of `workspace`, with these callers."""
        replace, secrets = msgspec.structs.replace, workspace.secrets
        config = replace(workspace.config, anonymous_namespace=self.namespace if self.anonymous else None)
        if self.key is not None:
            own = {fingerprint(self.key): CallerKey(namespace=self.namespace, name=KEY_NAME)}
            secrets = replace(secrets, caller_keys={**secrets.caller_keys, **own})
        return config, replace(secrets, state_keys=self.state_keys)

    def lines(self) -> Iterator[str]:
        """Messages for the terminal. Only they contain the key that was made."""
        yield from self.notes
        if self.apart:
            yield "Callers need a key, since --listen is not on loopback; --anonymous serves them without."
        if self.key is not None:
            yield "This key is valid until the command ends, and shown only now; `weir key create` makes lasting ones:"
            yield self.key
        if self.state_is_public:
            yield "Other machines can read metrics and state without a key, since --admin is not on loopback."


def access(
    workspace: Workspace, *, stated: str | None, host: str, admin_host: str, require_keys: bool, anonymous: bool
) -> Access:
    """Decides from the options and from the keys in `workspace`. Raises `typer.Exit` where options contradict.

    `stated` is `--namespace`.
    """
    if require_keys and anonymous:
        raise fail("--require-keys and --anonymous contradict each other: leave one out.")
    apart = not (anonymous or require_keys or is_loopback(host))
    home, notes = _home(workspace.config, stated)
    return Access(
        namespace=home,
        anonymous=not (apart or require_keys),
        apart=apart,
        key=new_key() if (apart or require_keys) and not workspace.secrets.caller_keys else None,
        state_is_public=not is_loopback(admin_host),
        notes=(*(() if apart or require_keys else notes), *_about_state(workspace.config)),
        state_keys=(StateKey(key=b64encode(token_bytes(KEY_BYTES)).decode()),),
    )


def _about_state(config: CompiledConfig) -> tuple[str, ...]:
    """The message about ids of stored answers, if a backend keeps any."""
    kept = any(backend.account for tier in config.tiers.values() for backend in tier.backends)
    return (STATE_NOTE,) if kept else ()


def _home(config: CompiledConfig, stated: str | None) -> tuple[str, tuple[str, ...]]:
    """The namespace of callers without a key, and what to say about it."""
    if stated is not None:
        return stated, ()
    spaces = sorted({policy.namespace for policy in config.policies})
    if spaces == [DEFAULT_NAMESPACE]:
        return DEFAULT_NAMESPACE, ()
    if len(spaces) == 1:
        note = f"Callers without a key are of namespace {spaces[0]}, as all policies are; --namespace names another."
        return spaces[0], (note,)
    caller = Caller(DEFAULT_NAMESPACE, "anonymous", CallerKind.ANONYMOUS)
    if any(named(policy.callers, caller) for policy in config.policies):
        return DEFAULT_NAMESPACE, ()
    shown = ", ".join(spaces[:MAX_SHOWN])
    return DEFAULT_NAMESPACE, (
        f"Callers without a key are of namespace {DEFAULT_NAMESPACE}, which no policy names. Name theirs by "
        f"--namespace, such as {shown}.",
    )
