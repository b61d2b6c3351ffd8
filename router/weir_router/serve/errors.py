"""Headers of an error, which say whether an SDK should retry. The body depends on the caller's format.

The SDKs retry by themselves, which would multiply Weir's own attempts. So every error has the header `x-should-retry`:
true only if a retry after `Retry-After` can help.
"""

from __future__ import annotations

import math

from weir_router.errors import MAX_RETRY_AFTER, WeirError


def headers(error: WeirError) -> dict[str, str]:
    """The headers of the answer for `error`."""
    result = {"x-should-retry": "true" if error.retry_helps else "false", "x-weir-error-source": error.source.value}
    if error.retry_after is not None:
        result["retry-after"] = str(math.ceil(min(error.retry_after, MAX_RETRY_AFTER)))
    return result
