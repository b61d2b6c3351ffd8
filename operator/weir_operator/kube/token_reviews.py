"""TokenReviews: asks the API server which ServiceAccount a token belongs to. `distribute.reviews` caches the answers.

A token, and what an API server says about a request that holds one, never enters an error.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import urllib3
from kubernetes import client

from weir_operator.kube.accounts import ServiceAccount

REVIEW_SECONDS = 5.0
"""Seconds for one TokenReview. A router waits for it, and an error is better than a long wait."""

REVIEWS_AT_ONCE = 6
"""TokenReviews at once: all lanes of `weir_operator.distribute.reviews` together. They have threads of their own, so
that an API server that hangs keeps nothing else of the operator waiting."""

MESSAGE_MAX = 500
"""Characters that are repeated of the API server's reason."""

_PREFIX = "system:serviceaccount:"


class TokenRefused(Exception):
    """The API server does not accept the token, or it is not for us; the message says why, for who sent it."""


class ReviewUnavailable(Exception):
    """The API server gave no answer; the token may be good."""


class TokenReviewer(Protocol):
    """Tells whose token it is."""

    async def review(self, token: str) -> ServiceAccount:
        """Raises `TokenRefused` or `ReviewUnavailable`."""


class KubernetesReviewer:
    """Asks the API server each time. Needs `create` on `tokenreviews`."""

    def __init__(self, api_client: client.ApiClient, audience: str) -> None:
        """`audience` is the one that tokens must have, one of `weir_operator.identity.trust`."""
        self._api = client.AuthenticationV1Api(api_client)
        self._audience = audience
        self._threads = ThreadPoolExecutor(REVIEWS_AT_ONCE, thread_name_prefix="review")

    async def review(self, token: str) -> ServiceAccount:
        """Raises `TokenRefused` or `ReviewUnavailable`."""
        status = await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, token)
        if not status.authenticated:
            raise TokenRefused(f"the API server does not accept the token: {(status.error or '')[:MESSAGE_MAX]}")
        # An API server that knows no audiences would accept any token and return none.
        if self._audience not in (status.audiences or ()):
            raise TokenRefused(f"the token is not for audience {self._audience}")
        return _service_account(status.user.username or "")

    def _ask(self, token: str) -> Any:
        spec = client.V1TokenReviewSpec(token=token, audiences=[self._audience])
        try:
            review = self._api.create_token_review(client.V1TokenReview(spec=spec), _request_timeout=REVIEW_SECONDS)
        except client.ApiException as error:
            hint = "; the operator's ClusterRole needs create on tokenreviews" if error.status == 403 else ""
            raise ReviewUnavailable(f"TokenReview failed: {error.status} {error.reason}{hint}") from None
        except urllib3.exceptions.HTTPError as error:
            raise ReviewUnavailable(f"TokenReview failed: {type(error).__name__}") from None
        return review.status


def _service_account(username: str) -> ServiceAccount:
    namespace, _, name = username.removeprefix(_PREFIX).partition(":")
    if not username.startswith(_PREFIX) or not name:
        raise TokenRefused("the token is not that of a ServiceAccount")
    return ServiceAccount(namespace, name)
