"""Media types of inline images. Used by the formats' readers."""

from __future__ import annotations

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
