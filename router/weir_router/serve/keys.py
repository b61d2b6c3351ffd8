"""The keys with which this router seals ids of stored answers, and the check whether a request may use such an id.

Used by `serve.story` and `serve.stored`. Sidecars have no keys, and a router of an older operator has none: then state
is refused.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator

import msgspec

from weir_router.clock import Clock
from weir_router.contract import Backend, BackendState, CompiledConfig, Policy, Secrets
from weir_router.contract.caller import Caller
from weir_router.decide.types import Candidate
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.openai_responses.state import INSTEAD, home_of
from weir_router.dialects.registry import pairings_of
from weir_router.dialects.sealed_ids import Seals
from weir_router.errors import BadRequest, StateNotFound
from weir_router.seal import KeyRing

WITHOUT_KEYS = (
    f"This router keeps no way back to stored answers, since its operator gives it no keys: {INSTEAD}, and leave out "
    "`background`."
)
"""The error for state where there is no key."""


class StateKeys:
    """Those of one router."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ring = KeyRing(())

    def configure(self, secrets: Secrets) -> None:
        """Takes the keys of a new config. One that is no base64 is left out."""
        self._ring = KeyRing(list(_usable(secrets)))

    def seals(self, caller: Caller) -> Seals | None:
        """The seals of a caller; None: there is no key."""
        return Seals(self._ring, caller.namespace, self._clock.wall()) if self._ring else None

    def bound(self, ask: Ask, caller: Caller, policy: Policy, config: CompiledConfig) -> Ask:
        """The request with its seals, and with the account that holds what it uses. Raises `BadRequest`, and
        `StateNotFound` where the caller or its policy cannot use it.
        """
        state = ask.state
        if state is None or not any(takes(ask.format, it.backend) for it in backends_of(policy, config)):
            return ask  # no backend of its format leaves any state, and the translation says what it refuses
        seals = self.seals(caller)
        if seals is None:
            if state.used or state.background:
                where = "background" if state.background else "previous_response_id" if state.previous else "input"
                raise BadRequest(WITHOUT_KEYS, param=where)
            return ask
        home = home_of(state, seals) if state.used else ""
        if home and not holders(home, policy, config, ask.format):
            raise gone(f"under the name {ask.model!r}")
        return msgspec.structs.replace(ask, seals=seals, home=home)


def gone(where: str = "") -> StateNotFound:
    """The error for state at a backend that no policy of the caller leads to any more."""
    return StateNotFound(
        f"The backend that holds this response is no longer served to you{' ' if where else ''}{where}: {INSTEAD}."
    )


def backends_of(policy: Policy, config: CompiledConfig) -> Iterator[Candidate]:
    """All backends of a policy's tiers."""
    for ref in policy.references():
        tier = config.tiers.get(ref.tier)
        for backend in () if tier is None else tier.backends:
            yield Candidate(ref.tier, backend, backend.key(ref.tier), ref.limits)


def takes(format: Format, backend: Backend) -> bool:
    """Whether a backend takes the caller's format itself."""
    return backend.state is not BackendState.DISABLED and pairings_of(format, backend)[0].same


def holders(home: str, policy: Policy, config: CompiledConfig, format: Format) -> list[Candidate]:
    """The backends of a policy's tiers that hold the state of an account, and take the caller's format."""
    return [it for it in backends_of(policy, config) if it.backend.account == home and takes(format, it.backend)]


def _usable(secrets: Secrets) -> Iterator[tuple[bytes, float]]:
    for it in secrets.state_keys:
        try:
            yield b64decode(it.key, validate=True), it.since
        except ValueError:
            continue
