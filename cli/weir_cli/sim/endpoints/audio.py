"""Audio: speech is a real recording of silence, and a transcript is made from the file that was sent."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

from weir_cli.sim.answer import Ask, compose, count_tokens
from weir_cli.sim.endpoints.reply import Reply, Upload, event, invalid, is_true, one_of, required, text
from weir_cli.sim.frames import Frame, Part, as_json
from weir_cli.sim.models import SimModel

RATE = 24_000
"""Samples per second of speech (OpenAI)."""

TOKEN_SECONDS = 0.05
"""Seconds that a token of speech lasts: 20 tokens per second, OpenAI's figure."""

BYTES_PER_TOKEN = 1_600
"""Bytes of a file that count as a token of sound: 50 ms of 16 kHz, 16 bit."""

MOST_BYTES = 25 * 1024 * 1024
"""Bytes of a file (OpenAI)."""

_MP3_FRAME = b"\xff\xfb\x90\x64" + bytes(413)
"""One frame of silence: MPEG 1, layer III, 128 kbit/s, 44.1 kHz, 26 ms."""

_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav", "pcm": "audio/pcm"}
_PLAIN = {"text": "text/plain; charset=utf-8", "srt": "text/plain; charset=utf-8", "vtt": "text/vtt; charset=utf-8"}


def speak(fields: dict[str, Any], model: SimModel) -> Reply:
    """Speech, as bytes that stream without events unless `stream_format` is `sse`. Raises `Refused`."""
    said = text(fields, "input")
    required(fields, "voice")
    form = one_of(fields, "response_format", tuple(_TYPES))
    tokens = max(1, count_tokens(said))
    pieces = _recording(form, tokens)
    if one_of(fields, "stream_format", ("audio", "sse")) == "sse":
        usage = {"input_tokens": tokens, "output_tokens": tokens, "total_tokens": 2 * tokens}
        frames = [
            event(Part.CONTENT, {"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()})
            for piece in pieces
        ]
        return Reply(
            b"".join(pieces), frames=[*frames, event(Part.FINISH, {"type": "speech.audio.done", "usage": usage})]
        )
    frames = [Frame(Part.CONTENT, piece) for piece in pieces]
    return Reply(b"".join(pieces), _TYPES[form], frames, _TYPES[form], steps=tokens)


def transcribe(fields: dict[str, Any], model: SimModel) -> Reply:
    """The words of a recording. Raises `Refused`."""
    return _heard(fields, model, "transcribe")


def translate(fields: dict[str, Any], model: SimModel) -> Reply:
    """The words of a recording in English. Raises `Refused`."""
    return _heard({**fields, "stream": False}, model, "translate")


def _recording(form: str, tokens: int) -> list[bytes]:
    """Silence, in one piece for each token."""
    if form == "mp3":
        return [_MP3_FRAME * 2] * tokens
    piece = bytes(2 * int(RATE * TOKEN_SECONDS))
    if form == "pcm":
        return [piece] * tokens
    size = len(piece) * tokens
    head = b"RIFF%bWAVEfmt %bdata%b" % (
        struct.pack("<I", 36 + size),
        struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16),
        struct.pack("<I", size),
    )
    return [head + piece, *([piece] * (tokens - 1))]


def _heard(fields: dict[str, Any], model: SimModel, task: str) -> Reply:
    file = required(fields, "file")
    if not isinstance(file, Upload) or not file.data:
        raise invalid("file", "a file with sound in it")
    if len(file.data) > MOST_BYTES:
        raise invalid("file", f"at most {MOST_BYTES} bytes")
    form = one_of(fields, "response_format", ("json", "text", "srt", "vtt", "verbose_json"))
    ask = Ask(body={}, prompt=f"{task} {file.name} {zlib.crc32(file.data)}")
    tokens = compose(ask, model, 0).text
    words, seconds = "".join(tokens), max(1.0, len(tokens) * TOKEN_SECONDS)
    heard = max(1, len(file.data) // BYTES_PER_TOKEN)
    usage = {
        "type": "tokens",
        "input_tokens": heard,
        "input_token_details": {"text_tokens": 0, "audio_tokens": heard},
        "output_tokens": len(tokens),
        "total_tokens": heard + len(tokens),
    }
    frames = None
    if is_true(fields, "stream"):
        deltas = [event(Part.CONTENT, {"type": "transcript.text.delta", "delta": token}) for token in tokens]
        frames = [*deltas, event(Part.FINISH, {"type": "transcript.text.done", "text": words, "usage": usage})]
    if form in _PLAIN:
        return Reply(_written(form, words, seconds).encode(), _PLAIN[form], frames, steps=len(tokens))
    answer: dict[str, Any] = {"text": words, "usage": usage}
    if form == "verbose_json":
        segment = {"id": 0, "start": 0.0, "end": seconds, "text": words}
        answer |= {"task": task, "language": "english", "duration": seconds, "segments": [segment]}
        answer["usage"] = {"type": "duration", "seconds": seconds}
    return Reply(as_json(answer), frames=frames, steps=len(tokens))


def _written(form: str, words: str, seconds: float) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    minutes, whole = divmod(whole, 60)
    end = f"00:{minutes:02}:{whole:02}"
    if form == "srt":
        return f"1\n00:00:00,000 --> {end},{thousandths:03}\n{words}\n\n"
    if form == "vtt":
        return f"WEBVTT\n\n00:00:00.000 --> {end}.{thousandths:03}\n{words}\n\n"
    return f"{words}\n"
