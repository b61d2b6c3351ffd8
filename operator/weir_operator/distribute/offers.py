"""Offers to routers: the published config as views, whole or as the difference from an earlier one.

Made by `distribute.server` for each revision; `distribute.views` decides which router may see which part. Differences
are for the gateway's routers only: their view is everyone's, of a megabyte or more, and one change of it is a kilobyte.
That of a namespace stays small, since it has a bound of its own.
"""

from __future__ import annotations

import asyncio
from functools import cached_property

import msgspec

from weir_operator.distribute.views import FOREIGN_POLICIES, Views
from weir_operator.kube.accounts import ServiceAccount
from weir_operator.kube.encoding import encoded
from weir_router.contract import CompiledConfig, Delivery, Secrets, digest
from weir_router.contract.delta import difference

EARLIER = 8
"""Revisions that a router may be behind and still get the difference: more than come while one answer travels. They
share what they have in common."""


class View:
    """The delivery that some routers may have. Nothing of it shows."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        # Without the revision: a change of other people's objects must not wake everybody.
        config = msgspec.structs.replace(delivery.config, revision=0)
        content = encoded(msgspec.structs.replace(delivery, config=config))
        self.size = len(content)
        self.etag = f'"{digest(content)}"'

    @cached_property
    def body(self) -> bytes:
        """The whole, encoded when the first router needs it."""
        return encoded(self.delivery)


class Offer:
    """A revision on offer. `over` is set once there is another."""

    def __init__(
        self,
        config: CompiledConfig,
        secrets: Secrets,
        gateway: ServiceAccount,
        authorities: str | None,
        before: Offer | None = None,
    ) -> None:
        self.content = config, secrets
        self.over = asyncio.Event()
        self._authorities = authorities
        self._views = Views(config, secrets, gateway)
        self._made: dict[str | None, View] = {}
        self._earlier: dict[str, View] = before.recent if before else {}  # by ETag, oldest first
        self._differences: dict[str, bytes] = {}

    def view(self, account: ServiceAccount) -> View:
        """Made once for all who share it."""
        scope = self._views.scope(account)
        if scope not in self._made:
            view = self._view(account, bounded=False)
            # To weigh each part costs as much as to encode the view: only where there may be too much.
            too_large = scope is not None and view.size > FOREIGN_POLICIES
            self._made[scope] = self._view(account, bounded=True) if too_large else view
        return self._made[scope]

    def _view(self, account: ServiceAccount, *, bounded: bool) -> View:
        config, secrets = self._views.of(account, bounded=bounded)
        return View(Delivery(config=config, secrets=secrets, authorities=self._authorities))

    def difference(self, account: ServiceAccount, seen: str | None) -> bytes | None:
        """The difference for a router that has seen `seen`, encoded once for all; None: it needs the whole."""
        if seen is None or self._views.scope(account) is not None or seen not in self._earlier:
            return None
        if seen not in self._differences:
            old = self._earlier[seen].delivery
            self._differences[seen] = encoded(difference(seen, old, self.view(account).delivery))
        return self._differences[seen]

    @property
    def recent(self) -> dict[str, View]:
        """The views that the gateway's routers may have, by ETag."""
        known = self._earlier | ({view.etag: view} if (view := self._made.get(None)) else {})
        return dict(list(known.items())[-EARLIER:])
