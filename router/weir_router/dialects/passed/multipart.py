"""A scanner of multipart/form-data (RFC 7578): it finds the part with the model's name, so that it can be replaced.

It decodes nothing else and copies nothing: all other parts pass as they came. A library such as python-multipart splits
a body into fields and files, and writes none that is equal but for one part. It also accepts bodies which other servers
read in another way. Here they are refused, since the upstream might find another model than the router: a delimiter
stands on a line of its own, and each part states one name.

One pass over the body, with `bytes.find`: time is linear in its size, and `MAX_PARTS` bounds the work in Python.
"""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from weir_router.dialects.wire.body import MAX_MODEL_NAME
from weir_router.errors import BadRequest

MEDIA_TYPE = "multipart/form-data"

MAX_BOUNDARY = 70
"""Characters of the longest boundary (RFC 2046)."""

MAX_PARTS = 256
"""Parts of one form. An edit of sixteen images with all its options has about thirty."""

MAX_PART_HEAD = 4 * 1024
"""Bytes of the headers of one part: three short lines, and perhaps a long file name."""

MAX_TYPE = 512
"""Characters of the header `content-type`: the media type and a boundary."""

MAX_VALUE = 4 * MAX_MODEL_NAME
"""Bytes of the longest value that is read, the model's name in UTF-8."""

_CRLF, _END_OF_HEAD = b"\r\n", b"\r\n\r\n"
_CR = ord("\r")
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{1,70}(?<! )")
_OF_TYPE = re.compile(r"""\s*;\s*([\w!#$&+.^`|~*-]+)=(?:"([^"\\]*)"|([^\s;"]*))\s*""")
_OF_DISPOSITION = re.compile(rb"""\s*;\s*([\w!#$&+.^`|~*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))\s*""")
_PLAIN_ENCODINGS = (b"binary", b"8bit", b"7bit")


class Form(NamedTuple):
    """The facts about a form that a router needs."""

    model: str | None  # None: no part names one
    start: int  # of the part with the model, behind its delimiter; 0 without one
    end: int  # of that part, before the next delimiter; 0 without one


class _Part(NamedTuple):
    name: bytes
    plain: bool  # it is no file, and has no transfer encoding


def is_form(body: bytes) -> bool:
    """Whether a body begins like a form. No JSON does."""
    return body.startswith(b"--")


def boundary_of(content_type: str) -> bytes:
    """The boundary that the header `content-type` of a form states. Raises `BadRequest`."""
    if len(content_type) > MAX_TYPE:  # the upstream gets all of it, and reads a second boundary in it
        _refuse(f"its content-type has more than {MAX_TYPE} characters")
    kind = content_type.partition(";")[0]
    if kind.strip().lower() != MEDIA_TYPE:
        _refuse(f"its content-type must be {MEDIA_TYPE}; boundary=BOUNDARY")
    found, at = [], len(kind)
    while content_type[at:].strip(" ;"):
        parameter = _OF_TYPE.match(content_type, at)
        if parameter is None or "*" in parameter[1]:  # `boundary*0=a`: a part of a value (RFC 2231)
            _refuse(f"its content-type must be like {MEDIA_TYPE}; boundary=BOUNDARY")
        if parameter[1].lower() == "boundary":
            found.append(parameter[2] or parameter[3] or "")
        at = parameter.end()
    if len(found) != 1 or _BOUNDARY.fullmatch(found[0]) is None:
        _refuse(f"its content-type must state one boundary of 1 to {MAX_BOUNDARY} characters that RFC 2046 allows")
    return found[0].encode("ascii")


def look(body: bytes) -> Form:
    """The first part with a model, by the boundary in the first line. Parts behind it are not read. Raises
    `BadRequest`.
    """
    return scan(body, _first_boundary(body), whole=False)


def named(body: bytes, model: str) -> bytes:
    """A form that asks for `model`, which replaces the name that it has. Raises `BadRequest`."""
    found = look(body)
    part = part_with(model)
    if found.model is None:
        return b"--" + _first_boundary(body) + part + _CRLF + body
    return b"".join((memoryview(body)[: found.start], part, memoryview(body)[found.end :]))


def _first_boundary(body: bytes) -> bytes:
    """The boundary in the first line."""
    end = body.find(_CRLF, 2, 2 + MAX_BOUNDARY + len(_CRLF))
    if end <= 2:
        _refuse(f"its first line must be -- and a boundary of 1 to {MAX_BOUNDARY} characters, and end in CRLF")
    return body[2:end]


def scan(body: bytes, boundary: bytes, *, whole: bool = True) -> Form:
    """The form with this boundary. `whole`: all its parts are read. Raises `BadRequest`."""
    delimiter = b"--" + boundary
    if not body.startswith(delimiter + _CRLF):
        _refuse("its first line is not the boundary that its content-type states")
    if whole and b"\r" + delimiter in body:  # a line to some parsers
        _refuse("a line begins with its boundary, and the line before it ends in CR")
    line = b"\n" + delimiter
    at, found = len(delimiter), None
    count = 0
    while True:
        count += 1
        if count > MAX_PARTS:
            _refuse(f"it has more than {MAX_PARTS} parts")
        content = _content(body, at)
        part = _part(body[at + 2 : content - 4])
        close = _close(body, line, content)
        if part.name == b"model":
            if found is not None:
                raise BadRequest("The form has two parts with the name `model`. Send one.", param="model")
            found = Form(_model(part, body[content : min(close, content + MAX_VALUE + 1)]), at, close)
            if not whole:
                return found
        at = close + 1 + len(line)
        if body.startswith(b"--", at):
            if body[at + 2 : at + 5] not in (b"", _CRLF):
                _refuse("bytes follow its last boundary")
            return found or Form(None, 0, 0)


def part_with(model: str, before: str | None = None) -> bytes:
    """A part with the model's name, in place of `body[start:end]`. `before`: the content type of a form that has none,
    which begins with the part.
    """
    part = b'\r\nContent-Disposition: form-data; name="model"\r\n\r\n' + model.encode()
    return part if before is None else b"--" + boundary_of(before) + part + _CRLF


def _content(body: bytes, at: int) -> int:
    """The beginning of a part's content; `at` is behind its delimiter."""
    if not body.startswith(_CRLF, at):
        _refuse("a line begins with its boundary and goes on. Choose a boundary that occurs in no part")
    end = body.find(_END_OF_HEAD, at + len(_CRLF), at + MAX_PART_HEAD)
    if end < 0:
        if len(body) - at >= MAX_PART_HEAD:
            _refuse(f"the headers of a part are larger than {MAX_PART_HEAD} bytes")
        _refuse("it ends within the headers of a part")
    return end + len(_END_OF_HEAD)


def _close(body: bytes, line: bytes, content: int) -> int:
    """The end of the content that begins at `content`: the line end before the next delimiter."""
    at = body.find(line, content - 1)
    if at < 0:
        _refuse("its end is missing: the last line must be --BOUNDARY--")
    if at <= content or body[at - 1] != _CR:
        _refuse("a line begins with its boundary, and no CRLF of the part stands before it")
    return at - 1


def _part(head: bytes) -> _Part:
    """The name of a part, by its headers."""
    disposition, plain = None, True
    for line in head.split(_CRLF):
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip() or b"\r" in line or b"\n" in line or b"\0" in line:
            _refuse("a header of a part cannot be read")
        match name.lower():
            case b"content-disposition":
                if disposition is not None:
                    _refuse("a part has two Content-Disposition headers")
                disposition = value.strip()
            case b"content-transfer-encoding":
                plain = plain and value.strip().lower() in _PLAIN_ENCODINGS
            case _:
                pass
    if disposition is None:
        _refuse("a part has no Content-Disposition header")
    if b'\\"' in disposition:  # some parsers end the text there
        _refuse("a part's Content-Disposition has \\\" in it. Write a quote in a file's name as %22")
    kind = disposition.partition(b";")[0]
    names, at = [], len(kind)
    while at < len(disposition):
        parameter = _OF_DISPOSITION.match(disposition, at)
        key = b"" if parameter is None else parameter[1].lower()
        if parameter is None or key.startswith(b"name*"):  # also `name*0`, a part of a value (RFC 2231)
            _refuse_disposition()
        if key == b"name":
            names.append(parameter[3] if parameter[2] is None else parameter[2])
        plain = plain and not key.startswith(b"filename")
        at = parameter.end()
    if kind.strip().lower() != b"form-data" or len(names) != 1 or b"\\" in names[0]:
        _refuse_disposition()
    return _Part(names[0], plain)


def _model(part: _Part, value: bytes) -> str:
    if not part.plain:
        raise BadRequest("The form's part `model` must be plain text: no file, no transfer encoding.", param="model")
    if len(value) > MAX_VALUE:
        raise BadRequest(f"`model` is longer than {MAX_MODEL_NAME} characters; no model's name is.", param="model")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadRequest("The form's part `model` is not valid UTF-8.", param="model") from None


def _refuse_disposition() -> NoReturn:
    _refuse('the Content-Disposition of a part must be like form-data; name="model"')


def _refuse(why: str) -> NoReturn:
    raise BadRequest(f"The form (multipart/form-data) cannot be read: {why}.")
