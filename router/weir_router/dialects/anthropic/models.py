"""`GET /v1/models` as the SDK of this format reads it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from weir_router.dialects.listed import Body, Listed, sized
from weir_router.errors import BadRequest

MAX_PAGE = 1_000
"""Models of a page: Anthropic's own bound. It is also the page of a caller who states none, since few clients turn
pages; Anthropic's is 20 then.
"""

_EPOCH = datetime.fromtimestamp(0, UTC).isoformat().replace("+00:00", "Z")  # a routed name has no date of its own


def model(listed: Listed) -> Body:
    """One entry of the list."""
    name = listed.name
    entry = {"type": "model", "id": name, "display_name": name, "created_at": _EPOCH, "lifecycle": "active"}
    return sized(entry, {"max_input_tokens": listed.context, "max_tokens": listed.output})


def listing(names: Sequence[Listed], query: Mapping[str, str]) -> Body:
    """One page of the list, in the order of the names. A page begins after `after_id` or ends before `before_id`.
    That name need not be listed any more: a config may change between two pages. Raises `BadRequest`.
    """
    limit, after, before = _limit(query.get("limit")), query.get("after_id"), query.get("before_id")
    ids = [it.name for it in names]
    start = bisect_right(ids, after) if after else 0
    end = bisect_left(ids, before) if before else len(ids)
    more = end - start > limit
    if more and before:
        start = end - limit
    elif more:
        end = start + limit
    page = names[start:end]
    return {
        "data": [model(it) for it in page],
        "has_more": more,
        "first_id": page[0].name if page else None,
        "last_id": page[-1].name if page else None,
    }


def _limit(text: str | None) -> int:
    if not text:
        return MAX_PAGE
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PAGE)) and 1 <= int(text) <= MAX_PAGE):
        raise BadRequest(f"`limit` must be a whole number from 1 to {MAX_PAGE}, not {text[:20]!r}.", param="limit")
    return int(text)
