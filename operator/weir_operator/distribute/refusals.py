"""Identification, bodies and refusals of HTTP requests, shared by all services on the config server's port."""

from __future__ import annotations

import asyncio

from aiohttp import hdrs, web

from weir_operator.distribute.connections import CONNECTION, TooManyConnections
from weir_operator.kube.accounts import ServiceAccount
from weir_operator.kube.encoding import encoded
from weir_operator.kube.token_reviews import ReviewUnavailable, TokenRefused, TokenReviewer

RETRY_AFTER = "1"
"""Seconds, for who came too early: before the first compile, or to a replica that ends."""

BODY_SECONDS = 10.0
"""Seconds in which a whole body must have come: as long as the API server waits for a webhook at most."""


def refusal(kind: type[web.HTTPError], message: str) -> web.HTTPError:
    """An error to raise, whose body says why."""
    headers = {hdrs.WWW_AUTHENTICATE: "Bearer"} if kind is web.HTTPUnauthorized else {}
    if kind is web.HTTPServiceUnavailable:
        headers[hdrs.RETRY_AFTER] = RETRY_AFTER
    text = encoded({"error": {"message": message}}).decode()
    error = kind(text=text, content_type="application/json", headers=headers)
    if kind is web.HTTPUnauthorized:
        error.force_close()  # a stranger keeps no connection
    return error


async def body_of(request: web.Request, limit: int, seconds: float = BODY_SECONDS) -> bytes:
    """The body of a request. Raises `web.HTTPError` if it has more than `limit` bytes, or takes too long."""
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(seconds):
            return await request.clone(client_max_size=limit).read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(limit) from None
    except TimeoutError:
        late = refusal(web.HTTPRequestTimeout, f"the body did not come within {seconds:.0f} s")
        late.force_close()
        raise late from None


def _too_large(limit: int) -> web.HTTPError:
    message = encoded({"error": {"message": f"the body has more than {limit} bytes"}}).decode()
    error = web.HTTPRequestEntityTooLarge(limit, text=message, content_type="application/json")
    error.force_close()
    return error


async def account_of(request: web.Request, reviewer: TokenReviewer) -> ServiceAccount:
    """The ServiceAccount whose token the request shows. Raises `web.HTTPError`, which holds nothing of it."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise refusal(web.HTTPUnauthorized, "a ServiceAccount token is needed: Authorization: Bearer ...")
    try:
        account = await reviewer.review(token.strip())
        if (connection := request.get(CONNECTION)) is not None:
            connection.belongs_to(account.namespace)
        return account
    except TooManyConnections as error:
        raise refusal(web.HTTPServiceUnavailable, str(error)) from None
    except TokenRefused as error:
        raise refusal(web.HTTPUnauthorized, str(error)) from None
    except ReviewUnavailable as error:
        raise refusal(web.HTTPServiceUnavailable, str(error)) from None
