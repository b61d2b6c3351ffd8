"""Images and documents: OpenAI's content parts ↔ Anthropic's content blocks. Used by `to_anthropic` and `to_openai`."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from weir_router.dialects.translate.fields import Checked, refusal
from weir_router.errors import BadRequest

IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
"""What Anthropic takes as a base64 image."""

DEFAULT_FILENAME = "document.pdf"
"""OpenAI wants a name with inline file data; Anthropic's title is optional."""


def image_block(part: Checked) -> dict[str, Any]:
    """An `image_url` part as an `image` block. `detail` has no equivalent."""
    image = part.obj("image_url")
    url = image.text("url")
    if not _is_data_url(url):
        return {"type": "image", "source": {"type": "url", "url": url}}
    media_type, data = _split_data_url(url, image.at("url"))
    if media_type not in IMAGE_TYPES:
        raise refusal(
            image.at("url"), f"Anthropic models do not take {media_type} images", "send JPEG, PNG, GIF or WebP"
        )
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def document_block(part: Checked) -> dict[str, Any]:
    """A `file` part with inline data as a `document` block."""
    file = part.obj("file")
    if not file.has("file_data"):
        raise refusal(
            file.at("file_id"), "an uploaded file is known to its own provider only", "send it inline as file_data"
        )
    where = file.at("file_data")
    media_type, data = _split_data_url(file.text("file_data"), where)
    block: dict[str, Any] = {"type": "document", "source": _document_source(media_type, data, where)}
    if title := file.maybe_text("filename"):
        block["title"] = title
    return block


def image_part(block: Checked) -> dict[str, Any]:
    """An `image` block as an `image_url` part."""
    source = block.obj("source")
    kind = source.text("type")
    if kind == "url":
        return {"type": "image_url", "image_url": {"url": source.text("url")}}
    if kind == "base64":
        url = f"data:{source.text('media_type')};base64,{source.text('data')}"
        return {"type": "image_url", "image_url": {"url": url}}
    raise refusal(
        source.at("type"), f"OpenAI models cannot read a source of type {kind!r}", "send base64 data or an https URL"
    )


def document_parts(block: Checked) -> list[dict[str, Any]]:
    """A `document` block as parts: a PDF as a file, text as text."""
    citations = block.maybe_obj("citations")
    if citations and citations.flag("enabled"):
        raise refusal(citations.at("enabled"), "OpenAI models do not cite documents", "leave citations out")
    source, title = block.obj("source"), block.maybe_text("title")
    kind = source.text("type")
    if kind == "base64":
        data = f"data:{source.text('media_type')};base64,{source.text('data')}"
        return [{"type": "file", "file": {"filename": title or DEFAULT_FILENAME, "file_data": data}}]
    heading = [text_part("\n".join(filter(None, (title, block.maybe_text("context")))))]
    if kind == "text":
        return [*(part for part in heading if part["text"]), text_part(source.text("data"))]
    if kind == "content":
        parts = [
            image_part(item) if item.raw("type") == "image" else text_part(item.text("text"))
            for item in source.parts("content")
        ]
        return [*(part for part in heading if part["text"]), *parts]
    raise refusal(
        source.at("type"), f"OpenAI models cannot read a document source of type {kind!r}", "send it as base64 data"
    )


def text_part(text: str) -> dict[str, Any]:
    """A text part; the same in both dialects."""
    return {"type": "text", "text": text}


def _document_source(media_type: str, data: str, where: str) -> dict[str, Any]:
    if media_type == "application/pdf":
        return {"type": "base64", "media_type": media_type, "data": data}
    if media_type.startswith("text/"):
        try:
            text = base64.b64decode(data, validate=True).decode()
        except (binascii.Error, ValueError):
            raise BadRequest(f"{where} must be base64 of UTF-8 text", param=where) from None
        return {"type": "text", "media_type": "text/plain", "data": text}
    raise refusal(where, f"Anthropic models do not take {media_type} documents", "send a PDF or plain text")


def _is_data_url(url: str) -> bool:
    return url[:5].lower() == "data:"


def _split_data_url(url: str, where: str) -> tuple[str, str]:
    head, comma, data = url.partition(",")
    if not (_is_data_url(url) and comma and head.lower().endswith(";base64")):
        raise BadRequest(f"{where} must be a URL of the form data:TYPE;base64,DATA", param=where)
    return head[5:-7].split(";", 1)[0].strip().lower(), data
