"""Images: a real PNG of one colour, which the prompt decides."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

from weir_cli.sim.answer import IMAGE_TOKENS, count_tokens
from weir_cli.sim.endpoints.reply import Reply, Upload, event, invalid, is_true, one_of, required, text, whole_number
from weir_cli.sim.frames import Frame, Part, as_json
from weir_cli.sim.models import SimModel
from weir_cli.sim.openai_wire import CREATED

MOST_IMAGES = 10
"""Images of one request (OpenAI)."""

MOST_PARTIAL = 3
"""Images before the last one in a stream (OpenAI)."""

OUTPUT_TOKENS = 272
"""Tokens of an image (OpenAI's figure for a small one of low quality)."""

PIXELS = 8
"""Width and height of an image: enough for a picture, few enough for a test."""

SIZES = ("auto", "1024x1024", "1024x1536", "1536x1024", "1792x1024", "1024x1792", "512x512", "256x256")
"""Sizes that a request may ask for; the picture is small all the same."""


def generate(fields: dict[str, Any], model: SimModel) -> Reply:
    """Images made of a prompt. Raises `Refused`."""
    return _made("image_generation", text(fields, "prompt"), 0, fields)


def edit(fields: dict[str, Any], model: SimModel) -> Reply:
    """Images made of images and a prompt. Raises `Refused`."""
    images = required(fields, "image")
    images = images if isinstance(images, list) else [images]
    if not all(isinstance(image, Upload) and image.data for image in images):
        raise invalid("image", "a file")
    return _made("image_edit", text(fields, "prompt"), len(images), fields)


def vary(fields: dict[str, Any], model: SimModel) -> Reply:
    """Images made of an image. Raises `Refused`."""
    image = required(fields, "image")
    if not isinstance(image, Upload) or not image.data:
        raise invalid("image", "a file")
    return _made("image_variation", f"{zlib.crc32(image.data)}", 1, fields)


def png(seed: str) -> bytes:
    """A PNG of one colour."""
    colour = struct.pack(">I", zlib.crc32(seed.encode("utf-8", "replace")))[1:]
    rows = (b"\0" + colour * PIXELS) * PIXELS
    head = struct.pack(">IIBBBBB", PIXELS, PIXELS, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _made(kind: str, prompt: str, images: int, fields: dict[str, Any]) -> Reply:
    count = whole_number(fields, "n", 1, MOST_IMAGES)
    size = one_of(fields, "size", SIZES)
    as_url = one_of(fields, "response_format", ("b64_json", "url")) == "url"
    pictures = [base64.b64encode(png(f"{prompt}\0{number}")).decode() for number in range(count)]
    words, pixels = count_tokens(prompt), images * IMAGE_TOKENS
    usage = {
        "total_tokens": words + pixels + OUTPUT_TOKENS * count,
        "input_tokens": words + pixels,
        "output_tokens": OUTPUT_TOKENS * count,
        "input_tokens_details": {"text_tokens": words, "image_tokens": pixels},
    }
    data = [{"url": f"data:image/png;base64,{it}"} if as_url else {"b64_json": it} for it in pictures]
    shown = {"background": "opaque", "output_format": "png", "quality": "low", "size": size}
    return Reply(
        as_json({"created": CREATED, "data": data, **shown, "usage": usage}),
        frames=_frames(kind, pictures[0], fields, shown, usage) if is_true(fields, "stream") else None,
        steps=count,
    )


def _frames(
    kind: str, picture: str, fields: dict[str, Any], shown: dict[str, Any], usage: dict[str, Any]
) -> list[Frame]:
    partial = whole_number(fields, "partial_images", 1, MOST_PARTIAL)
    head = {"b64_json": picture, "created_at": CREATED, **shown}
    return [
        *(
            event(Part.CONTENT, {"type": f"{kind}.partial_image", "partial_image_index": index, **head})
            for index in range(partial)
        ),
        event(Part.FINISH, {"type": f"{kind}.completed", **head, "usage": usage}),
    ]
