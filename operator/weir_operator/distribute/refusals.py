"""Identification and refusals of HTTP requests, shared by all services on the config server's port."""

from __future__ import annotations

from aiohttp import hdrs, web

from weir_operator.kube.accounts import ServiceAccount
from weir_operator.kube.encoding import encoded
from weir_operator.kube.token_reviews import ReviewUnavailable, TokenRefused, TokenReviewer

RETRY_AFTER = "1"
"""Seconds, for who came too early: before the first compile, or to a replica that ends."""


def refusal(kind: type[web.HTTPError], message: str) -> web.HTTPError:
    """An error to raise, whose body says why."""
    headers = {hdrs.WWW_AUTHENTICATE: "Bearer"} if kind is web.HTTPUnauthorized else {}
    if kind is web.HTTPServiceUnavailable:
        headers[hdrs.RETRY_AFTER] = RETRY_AFTER
    text = encoded({"error": {"message": message}}).decode()
    return kind(text=text, content_type="application/json", headers=headers)


async def account_of(request: web.Request, reviewer: TokenReviewer) -> ServiceAccount:
    """The ServiceAccount whose token the request shows. Raises `web.HTTPError`, which holds nothing of it."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise refusal(web.HTTPUnauthorized, "a ServiceAccount token is needed: Authorization: Bearer ...")
    try:
        return await reviewer.review(token.strip())
    except TokenRefused as error:
        raise refusal(web.HTTPUnauthorized, str(error)) from None
    except ReviewUnavailable as error:
        raise refusal(web.HTTPServiceUnavailable, str(error)) from None
