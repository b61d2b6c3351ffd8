"""What a router tells the operator with each poll. Handed to `config.longpoll` by `weir router`."""

from __future__ import annotations

from weir_router.config.store import ConfigStore
from weir_router.contract import BackendReport, RouterReport
from weir_router.health.board import Board


def report(router: str, store: ConfigStore, board: Board) -> RouterReport:
    """The applied revision, why a newer one was refused, and the state of every backend; `router` is a pod's name."""
    return RouterReport(
        router=router,
        revision=store.config.revision if store.config else None,
        rejected=store.rejected,
        backends={key: BackendReport(state=view.state) for key, view in board.view().items()},
    )
