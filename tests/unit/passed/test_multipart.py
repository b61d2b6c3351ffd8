"""The scanner of forms: which model it finds, what it replaces, and which bodies it refuses."""

from __future__ import annotations

import email
import time
from email.policy import HTTP

import pytest

from weir_router.dialects.passed import multipart
from weir_router.dialects.passed.multipart import MAX_PART_HEAD, MAX_PARTS, Form
from weir_router.errors import BadRequest

BOUNDARY = b"2f8c6e1ab03d4b5f"
TYPE = f"multipart/form-data; boundary={BOUNDARY.decode()}"
AUDIO = bytes(range(256)) * 40


def part(name: str, content: bytes = b"x", more: str = "", head: str = "") -> bytes:
    """One part, with its delimiter."""
    start = f'--{BOUNDARY.decode()}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n{head}\r\n'
    return start.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    """A body of these parts."""
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def scanned(body: bytes, content_type: str = TYPE) -> Form:
    """The facts of a body with this type."""
    return multipart.scan(body, multipart.boundary_of(content_type))


def sent(body: bytes, model: str) -> bytes:
    """The body as an upstream gets it."""
    found = scanned(body)
    part = multipart.part_with(model, None if found.start else TYPE)
    return body[: found.start] + part + body[found.end :]


def fields(body: bytes) -> list[tuple[str | None, bytes]]:
    """Names and contents of all parts, as Python's own parser of mails reads them."""
    message = email.message_from_bytes(f"Content-Type: {TYPE}\r\n\r\n".encode() + body, policy=HTTP)
    return [
        (it.get_param("name", header="content-disposition"), it.get_payload(decode=True)) for it in message.iter_parts()
    ]


FILE = part("file", AUDIO, '; filename="a.mp3"', "Content-Type: audio/mpeg\r\n")


@pytest.mark.parametrize(
    "body",
    [
        form(part("model", b"auto"), FILE),
        form(FILE, part("model", b"auto")),
        form(part("language", b"en"), part("model", b"auto", head="Content-Length: 4\r\n"), FILE, part("prompt", b"")),
        form(part("model", b"auto", head="Content-Type: text/plain; charset=utf-8\r\n")),
    ],
)
def test_the_model_is_replaced_wherever_it_stands_and_nothing_else(body: bytes) -> None:
    assert scanned(body).model == "auto"
    assert multipart.look(body).model == "auto"
    rewritten = sent(body, "whisper-large-v3")
    want = [(name, b"whisper-large-v3" if name == "model" else content) for name, content in fields(body)]
    assert fields(rewritten) == want
    assert scanned(rewritten).model == "whisper-large-v3"
    assert AUDIO in rewritten or AUDIO not in body


def test_a_form_without_a_model_gets_one() -> None:
    body = form(FILE, part("language", b"en"))
    assert scanned(body).model is None
    rewritten = sent(body, "whisper-1")
    assert fields(rewritten) == [("model", b"whisper-1"), *fields(body)]
    assert rewritten.endswith(body)


@pytest.mark.parametrize(
    "content",
    [b"", b"--", b"\r\n", b"\r\n--", BOUNDARY, b"--" + BOUNDARY, b"x--" + BOUNDARY + b"--", b"\r\n--2f8c6e1ab03"],
)
def test_contents_that_resemble_a_delimiter_are_content(content: bytes) -> None:
    body = form(part("file", content, '; filename="f"'), part("model", b"auto"))
    if content == b"--" + BOUNDARY:
        with pytest.raises(BadRequest, match="no CRLF of the part"):
            scanned(body)
        return
    assert scanned(body).model == "auto"
    assert fields(sent(body, "m")) == [("file", content), ("model", b"m")]


@pytest.mark.parametrize(
    ("content_type", "why"),
    [
        ("multipart/form-data", "one boundary"),
        ("multipart/form-data; boundary=", "one boundary"),
        ('multipart/form-data; boundary=""', "one boundary"),
        ("multipart/form-data; boundary=a; boundary=b", "one boundary"),
        (f"multipart/form-data; boundary={'a' * 71}", "one boundary"),
        ('multipart/form-data; boundary="a b "', "one boundary"),
        ("multipart/form-data; boundary=ä", "one boundary"),
        ("multipart/form-data; boundary", "must be like"),
        ('multipart/form-data; boundary="a', "must be like"),
        ("multipart/form-data; x=" + "y" * 100_000, "more than 512 characters"),
        ("multipart/form-data; boundary=a" + " " * 512 + "; boundary=b", "more than 512 characters"),
        ("multipart/form-data; boundary=a; x=" + "y" * 512 + "; boundary=b", "more than 512 characters"),
        ("multipart/form-data; boundary=a; boundary*=utf-8''b", "must be like"),
        ("multipart/form-data; boundary=a; boundary*0=b", "must be like"),
        ("multipart/form-data; boundary=a; boundary*1*=b", "must be like"),
        ("multipart/mixed; boundary=a", "must be multipart/form-data"),
        ("application/json", "must be multipart/form-data"),
        ("", "must be multipart/form-data"),
    ],
)
def test_a_content_type_without_one_clear_boundary_is_refused(content_type: str, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        multipart.boundary_of(content_type)


@pytest.mark.parametrize(
    "content_type",
    [TYPE, f'Multipart/Form-Data;charset=utf-8; BOUNDARY="{BOUNDARY.decode()}" ;', TYPE + "; charset=utf-8"],
)
def test_a_boundary_is_found_among_other_parameters(content_type: str) -> None:
    assert multipart.boundary_of(content_type) == BOUNDARY


HOSTILE = {
    "another boundary than its type says": (form(FILE).replace(BOUNDARY, b"other"), "not the boundary"),
    "a preamble": (b"--preamble\r\n" + form(FILE), "not the boundary"),
    "no part": (b"--" + BOUNDARY + b"--\r\n", "not the boundary"),
    "no end": (form(FILE)[: -len(BOUNDARY) - 6], "its end is missing"),
    "an end in the middle of a head": (part("model", b"auto")[:40], "ends within the headers"),
    "a last line that is cut off": (form(FILE)[:-4], "goes on"),
    "bytes behind the end": (form(FILE) + part("model", b"b") + form(FILE), "bytes follow"),
    "two models": (form(part("model", b"a"), FILE, part("model", b"b")), "two parts"),
    "two equal models": (form(part("model", b"a"), part("model", b"a")), "two parts"),
    "a model that is a file": (form(part("model", b"a", '; filename="x"')), "plain text"),
    "an encoded model": (form(part("model", b"YQ==", head="Content-Transfer-Encoding: base64\r\n")), "plain text"),
    "a long model": (form(part("model", b"a" * 100_000)), "longer than"),
    "a model of odd bytes": (form(part("model", b"\xff\xfe")), "not valid UTF-8"),
    "no disposition": (
        b"--" + BOUNDARY + b"\r\nContent-Type: text/plain\r\n\r\nx\r\n" + form(),
        "no Content-Disposition",
    ),
    "two dispositions": (
        form(part("a", head='Content-Disposition: form-data; name="model"\r\n')),
        "two Content-Disposition",
    ),
    "two names": (form(part("a", more='; name="model"')), "must be like"),
    "a name in the long form": (form(part("a", more="; name*=utf-8''model")), "must be like"),
    "a name in pieces": (form(part("mod", more="; name*0=el")), "must be like"),
    "a name in encoded pieces": (form(part("x", more="; name*0*=utf-8''model")), "must be like"),
    "a quote within a file's name": (form(part("a", more='; filename="\\";name=model;x=\\""')), "as %22"),
    "a quote within another text": (form(part("a", more='; x="\\";name=model;y=\\""')), "as %22"),
    "an escaped name": (form(part("mo\\del")), "must be like"),
    "another disposition": (form(FILE.replace(b"form-data;", b"attachment;")), "must be like"),
    "a folded header": (form(part("a", head=" folded: x\r\n")), "header of a part cannot be read"),
    "a header without a name": (form(part("a", head=": x\r\n")), "header of a part cannot be read"),
    "a lone line feed in a header": (
        form(part("a", head='X: y\nContent-Disposition: form-data; name="model"\r\n')),
        "cannot be read",
    ),
    "a space after a header's name": (form(part("a", head="X : y\r\n")), "cannot be read"),
    "a huge header": (form(part("a", head="X: " + "y" * MAX_PART_HEAD + "\r\n")), "larger than"),
    "thousands of headers": (form(part("a", head="X: y\r\n" * 10_000)), "larger than"),
    "thousands of parts": (form(*[part("a")] * 10_000), f"more than {MAX_PARTS} parts"),
    "a line feed before a delimiter": (form(part("a", b"x\n--" + BOUNDARY + b"\r\n")), "no CRLF of the part"),
    "a carriage return before a delimiter": (form(part("a", b"x\r--" + BOUNDARY + b"\r\n")), "ends in CR"),
    "a delimiter that goes on": (form(part("a", b"x\r\n--" + BOUNDARY + b"9\r\n")), "goes on"),
    "a delimiter with spaces": (form(part("a", b"x\r\n--" + BOUNDARY + b"  \r\n")), "goes on"),
    "a delimiter at the beginning of a content": (form(part("a", b"--" + BOUNDARY + b"\r\n")), "no CRLF of the part"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_form_that_another_server_might_read_in_another_way_is_refused(what: str) -> None:
    body, why = HOSTILE[what]
    with pytest.raises(BadRequest, match=why):
        scanned(body)


def test_a_form_within_a_form_is_content() -> None:
    inner = form(part("model", b"inner")).replace(BOUNDARY, b"inner")
    body = form(part("file", inner, head="Content-Type: multipart/mixed; boundary=inner\r\n"), part("model", b"outer"))
    assert scanned(body).model == "outer"


@pytest.mark.parametrize("filling", [b"\r\n--" + BOUNDARY[:-1], b"\n", b"--", b"\r\n", b"\n--" + BOUNDARY[:8], b"x"])
def test_time_is_linear_in_the_size(filling: bytes) -> None:
    def seconds(size: int) -> float:
        body = form(part("file", filling * (size // len(filling)) + b"y"), part("model", b"auto"))
        best = 9.0
        for _ in range(3):
            start = time.process_time()
            assert scanned(body).model == "auto"
            best = min(best, time.process_time() - start)
        return best

    assert seconds(16_000_000) < 1.0, "25 MB of audio must not hold up the loop"
    assert seconds(16_000_000) < 40 * max(seconds(1_000_000), 0.0005)
