"""Whole chunks bypass the parser: an answer's content does not depend on its division into reads."""

import asyncio
from types import SimpleNamespace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from weir_router.call.transport.http1 import Connection
from weir_router.errors import AttemptFailed

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
PIECES = st.sampled_from(
    [
        b"5\r\nhello\r\n",
        b"5\r\nhello",
        b"5\r\nhello\r\n5\r\nhello\r\n",
        b"05\r\nhello\r\n",
        b"a\r\n0123456789\r\n",
        b"6\r\n5\r\nx\r\n\r\n",
        b"5",
        b"5;a=b\r\n",
        b"A\r\n",
        b"\r\n",
        b"0\r\n",
        b"x: 1\r\n",
        END,
    ]
)


def heard(reads):
    """The result of an answer in such `reads`: its bytes, its end, and whether the connection is used again."""

    async def talk():
        freed, gone, parts = [], [], []
        connection = Connection(freed.append)
        connection.connection_made(
            SimpleNamespace(write=lambda data: None, is_closing=lambda: bool(gone), abort=lambda: gone.append(True))
        )
        asked = asyncio.create_task(connection.exchange(b"POST / HTTP/1.1\r\n\r\n", b""))
        await asyncio.sleep(0)
        connection.data_received(HEAD)
        exchange = await asked
        passing = asyncio.create_task(exchange.each(lambda part: parts.append(part) is None))
        await asyncio.sleep(0)
        for read in reads:
            if not gone:
                connection.data_received(read)
        for _ in range(2):
            await asyncio.sleep(0)
        if not passing.done():
            connection.eof_received()
        outcome = "whole"
        try:
            await passing
        except AttemptFailed as failure:
            outcome = failure.kind
        exchange.release()
        connection.connection_lost(None)
        return b"".join(parts), outcome, bool(freed)

    return asyncio.run(talk())


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | st.binary(max_size=8), max_size=8))
@example([b"5\r\nhello\r\n", b"5\r\nhello\r\n", END])
@example([b"5\r\nhello\r\n", b"5", b"\r\nhello\r\n", b"5\r\nhello\r\n", END])
@example([b"5\r\nhello\r\n", b"0\r\n", b"5\r\nhello\r\n", b"\r\n"])
@example([b"5\r\nhello\r\n", END, b"5\r\nhello\r\n"])
@example([b"14\r\n", b"5\r\nhello\r\n", b"5\r\nhello\r\n", b"\r\n", END])
def test_an_answer_says_the_same_byte_by_byte(reads):
    wire = b"".join(reads)
    said, outcome, _ = heard(reads)
    assert (said, outcome) == heard([wire[at : at + 1] for at in range(len(wire))])[:2]


def test_a_connection_whose_chunks_went_past_the_parser_is_used_again():
    hello = b"5\r\nhello\r\n"
    assert heard([hello, hello, hello, END]) == (b"hello" * 3, "whole", True)
