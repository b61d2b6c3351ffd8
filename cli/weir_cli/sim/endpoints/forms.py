"""Forms (multipart/form-data), as strictly as a provider reads them.

The parts must lie between the boundary that the content type names, and the last one must be closed. Pure.
"""

from __future__ import annotations

import re
from typing import Any

from weir_cli.sim.endpoints.reply import INVALID, Upload
from weir_cli.sim.refused import Refused

_BOUNDARY = re.compile(r'^multipart/form-data\s*;.*?\bboundary="?([^";,]{1,70})"?', re.IGNORECASE)
_NAME = re.compile(r';\s*name="([^"]*)"', re.IGNORECASE)
_FILE = re.compile(r';\s*filename="([^"]*)"', re.IGNORECASE)


def read_form(content_type: str | None, body: bytes) -> dict[str, Any]:
    """The fields of a form: texts, files as `Upload`, and a list where a name ends in `[]`. Raises `Refused`."""
    boundary = _BOUNDARY.match(content_type or "")
    if boundary is None:
        raise Refused(400, INVALID, "Could not parse multipart form: no boundary in the Content-Type header.")
    mark = b"\r\n--" + boundary[1].encode("latin-1")
    first, *parts = (b"\r\n" + body).split(mark)
    if first or len(parts) < 2 or parts[-1].rstrip(b"\r\n") != b"--":
        raise Refused(400, INVALID, "Could not parse multipart form: its parts are not closed by the boundary.")
    fields: dict[str, Any] = {}
    for part in parts[:-1]:
        name, value = _read_part(part)
        if name.endswith("[]"):
            fields.setdefault(name.removesuffix("[]"), []).append(value)
        else:
            fields[name] = value
    return fields


def _read_part(part: bytes) -> tuple[str, str | Upload]:
    head, found, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in head.decode("utf-8", "replace").split("\r\n"))
    }
    disposition = headers.get("content-disposition", "")
    name = _NAME.search(disposition)
    if not found or name is None or not disposition.startswith("form-data"):
        raise Refused(400, INVALID, "Could not parse multipart form: a part has no name.")
    file = _FILE.search(disposition)
    if file is None:
        return name[1], data.decode("utf-8", "replace")
    return name[1], Upload(file[1], headers.get("content-type", "application/octet-stream"), data)
