"""Inline images and files: their URLs and media types. Used by the formats' readers."""

from __future__ import annotations

from weir_router.errors import BadRequest

_BEGINNINGS = {
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
}
"""First characters of images in base64."""


def image_type(stated: str, data: str) -> str:
    """The media type that the image itself shows, else the stated one: Anthropic refuses an image that is of another
    type than it says, and clients often say `image/jpg`, or the type before a conversion.
    """
    found = next((media_type for beginning, media_type in _BEGINNINGS.items() if data.startswith(beginning)), None)
    stated = stated.strip().lower()
    return found or ("image/jpeg" if stated == "image/jpg" else stated)


def is_data_url(url: str) -> bool:
    """Whether a URL holds the data itself."""
    return url[:5].lower() == "data:"


def split_data_url(url: str, where: str) -> tuple[str, str]:
    """The media type of such a URL, and its data in base64. Raises `BadRequest`."""
    head, comma, data = url.partition(",")
    if not (is_data_url(url) and comma and head.lower().endswith(";base64")):
        raise BadRequest(f"{where} must be a URL of the form data:TYPE;base64,DATA", param=where)
    return head[5:-7].split(";", 1)[0].strip().lower(), data
