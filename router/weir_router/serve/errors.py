"""Headers of an error: what an SDK should do next. The body is the caller's format's own.

The SDKs retry by themselves, which would multiply Weir's own attempts: every error says `x-should-retry`, true only
where waiting `Retry-After` can help.
"""

from __future__ import annotations

import math

from weir_router.errors import MAX_RETRY_AFTER, WeirError


def headers(error: WeirError) -> dict[str, str]:
    """Answer headers that tell an SDK what to do next."""
    result = {"x-should-retry": "true" if error.retry_helps else "false", "x-weir-error-source": error.source.value}
    if error.retry_after is not None:
        result["retry-after"] = str(math.ceil(min(error.retry_after, MAX_RETRY_AFTER)))
    return result
