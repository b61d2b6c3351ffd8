"""A question to the API server about a caller's token, which routers ask through the config server."""

from __future__ import annotations

import msgspec

from weir_router.contract.base import Wire

REVIEW_PATH = "/v1/review"
"""Path of the config server to which routers POST a `ReviewRequest`; the answer is the API server's `ReviewAnswer`."""


class ReviewRequest(msgspec.Struct, frozen=True):
    """A caller's token, which must not show."""

    token: str

    def __repr__(self) -> str:
        """The request without its token."""
        return "ReviewRequest(...)"


class ReviewAnswer(Wire, frozen=True):
    """The API server's verdict on a token."""

    refused: str | None = None  # why; None: it is good
