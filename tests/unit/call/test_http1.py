"""Our own HTTP/1.1: reuse of connections, repeated requests, and bounded memory."""

import asyncio
import contextlib
import gzip
import socket
from collections import Counter

import pytest

from support.servers import free_port, one_request, talking
from weir_router.call.transport import exchange, http1, names, pool
from weir_router.call.transport.base import READ_BUFFER
from weir_router.call.transport.pool import Http1Transport
from weir_router.errors import AttemptFailed, FailureKind
from weir_router.paced import TURN

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"


@pytest.fixture
async def client():
    made = Http1Transport()
    yield made
    await made.close()


async def whole(client, url, body=b"{}"):
    response = await client.post(url, {}, body, 1.0)
    try:
        return await response.read_all()
    finally:
        response.release()


def scripted(*connections):
    """A server's script: for each connection, in order, the answers to its requests."""
    left, heard = [list(answers) for answers in connections], []

    async def talk(reader, writer):
        mine = left.pop(0)
        number = len(connections) - len(left)
        for answer in mine:
            heard.append((number, (await one_request(reader))[1]))
            writer.write(answer)
            await writer.drain()

    return talk, heard


@pytest.fixture
def long_idle(monkeypatch):
    """Every connection that is used again was idle long enough for the upstream to close it."""
    monkeypatch.setattr(http1, "IDLE_CLOSED", 0.0)


@pytest.mark.usefixtures("long_idle")
async def test_a_request_that_crosses_the_close_is_sent_once_more(client):
    """The upstream reads the second request and closes; we cannot tell this from an unread request."""

    async def talk(reader, writer):
        heard.append(await one_request(reader))
        writer.write(OK)
        if len(heard) == 1:
            heard.append(await one_request(reader))  # and closes without a word

    heard = []
    async with talking(talk) as url:
        assert [await whole(client, url, b) for b in (b"1", b"2")] == [b"hello", b"hello"]
    assert [body for _, body in heard] == [b"1", b"2", b"2"]


async def test_on_a_connection_that_was_used_just_now_it_is_not_sent_again(client):
    """No idle close can have crossed the request: the upstream has failed, which must count for its health."""
    talk, heard = scripted([OK, b""], [OK])
    async with talking(talk) as url:
        await whole(client, url)
        with pytest.raises(AttemptFailed) as caught:
            await whole(client, url)
    assert caught.value.kind is FailureKind.RESET
    assert len(heard) == 2


@pytest.mark.usefixtures("long_idle")
async def test_it_is_sent_again_only_once(client):
    talk, heard = scripted([OK, b""], [b""], [OK])
    async with talking(talk) as url:
        await whole(client, url)
        with pytest.raises(AttemptFailed) as caught:
            await whole(client, url)
    assert caught.value.kind is FailureKind.RESET
    assert [connection for connection, _ in heard] == [1, 1, 2]


async def test_on_a_fresh_connection_it_is_never_sent_again(client):
    talk, heard = scripted([b""], [OK])
    async with talking(talk) as url:
        with pytest.raises(AttemptFailed):
            await whole(client, url)
    assert len(heard) == 1


@pytest.mark.usefixtures("long_idle")
@pytest.mark.parametrize("said", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", b"nonsense"])
async def test_after_a_byte_of_an_answer_it_is_never_sent_again(client, said):
    talk, heard = scripted([OK, said], [OK])
    async with talking(talk) as url:
        await whole(client, url)
        with pytest.raises(AttemptFailed):
            await whole(client, url)
    assert len(heard) == 2


@pytest.mark.usefixtures("long_idle")
async def test_an_upstream_that_thought_and_then_failed_is_not_asked_again(client, monkeypatch):
    monkeypatch.setattr(http1, "STALE_WITHIN", 0.0)
    talk, heard = scripted([OK, b""], [OK])
    async with talking(talk) as url:
        await whole(client, url)
        with pytest.raises(AttemptFailed):
            await whole(client, url)
    assert len(heard) == 2


@pytest.mark.parametrize(
    "last",
    [
        OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"),
        OK.replace(b"1.1", b"1.0"),
        OK + b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        OK + b"x",
    ],
    ids=["connection: close", "HTTP/1.0", "a second answer", "a byte too many"],
)
async def test_a_connection_in_doubt_is_not_used_again(client, last):
    talk, heard = scripted([last, OK], [OK])
    async with talking(talk) as url:
        for _ in range(2):
            assert await whole(client, url) == b"hello"
    assert [connection for connection, _ in heard] == [1, 2]


@pytest.mark.parametrize("unasked", [b"HTTP/1.1 408 Timeout\r\ncontent-length: 0\r\n\r\n", b"x", b""])
async def test_an_idle_connection_on_which_something_comes_is_closed(client, unasked):
    gate, closed = asyncio.Event(), asyncio.Event()

    async def talk(reader, writer):
        await one_request(reader)
        writer.write(OK)
        await gate.wait()
        if unasked:
            writer.write(unasked)
        else:
            writer.write_eof()
        assert await reader.read() == b""
        closed.set()

    async with talking(talk) as url:
        await whole(client, url)
        gate.set()
        await asyncio.wait_for(closed.wait(), 1.0)


@contextlib.asynccontextmanager
async def closed_behind(answer):
    """A server of one `answer`; at the end of the block, the client must have closed the connection."""
    closed = asyncio.Event()

    async def talk(reader, writer):
        await one_request(reader)
        writer.write(answer)
        assert await reader.read() == b""
        closed.set()

    async with talking(talk) as url:
        yield url
        await asyncio.wait_for(closed.wait(), 1.0)


async def test_idle_connections_are_closed_after_their_time(client, monkeypatch):
    monkeypatch.setattr(pool, "KEEP_ALIVE", 0.05)
    async with closed_behind(OK) as url:
        await whole(client, url)


async def finished(client, url):
    """The first part of an answer, whose rest is not wanted."""
    response = await client.post(url, {}, b"{}", 1.0)

    def receive(part):
        response.finish()
        return False

    await response.each(receive)


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"4\r\nmore\r\n0\r\n\r\n"])
async def test_an_answer_of_which_nothing_more_is_wanted_gives_its_connection_back_when_it_ends(client, end):
    gate = asyncio.Event()

    async def talk(reader, writer):
        connections.append(await one_request(reader))
        writer.write(CHUNKED)
        await gate.wait()
        writer.write(end)
        await one_request(reader)
        writer.write(OK)

    connections = []
    async with talking(talk) as url, asyncio.timeout(1.0):
        await finished(client, url)
        assert not client._idle
        gate.set()
        while not client._idle:  # noqa: ASYNC110  # nobody is told of it
            await asyncio.sleep(0)
        assert await whole(client, url) == b"hello"
    assert len(connections) == 1


async def test_one_that_does_not_end_is_closed_after_its_time(client, monkeypatch):
    monkeypatch.setattr(exchange, "DRAIN_TIMEOUT", 0.0)
    monkeypatch.setattr(pool, "KEEP_ALIVE", 0.05)
    async with closed_behind(CHUNKED) as url:
        await finished(client, url)


async def test_an_answer_that_ends_with_a_half_close_is_whole_and_our_side_closes_too(client):
    closed = asyncio.Event()

    async def talk(reader, writer):
        await one_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        writer.write_eof()
        assert await reader.read() == b""
        closed.set()

    async with talking(talk) as url:
        assert await whole(client, url) == b"hello"
        await asyncio.wait_for(closed.wait(), 1.0)


async def test_an_upstream_that_writes_faster_than_it_is_read_has_to_wait(client):
    size = 50_000_000
    sent = 0

    async def talk(reader, writer):
        nonlocal sent
        await one_request(reader)
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n".encode())
        for _ in range(size // 100_000):
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    async with talking(talk) as url:
        response = await client.post(url, {}, b"{}", 1.0)
        await asyncio.sleep(0.1)
        assert response.held < 1_000_000
        assert sent < size
        received = 0

        def receive(part):
            nonlocal received
            received += len(part)
            return True

        await response.each(receive)
        assert received == size
        response.release()


def sized(size):
    """The side of an upstream that answers with `size` bytes at once."""

    async def talk(reader, writer):
        await one_request(reader)
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n".encode() + b"x" * size)
        await writer.drain()

    return talk


class Turns:
    """Counts the turns of the running event loop."""

    def __init__(self):
        self.turn = 0
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_soon(self._next)

    def _next(self):
        self.turn += 1
        self._handle = self._loop.call_soon(self._next)

    def stop(self):
        self._handle.cancel()


async def test_a_fast_upstream_gets_its_share_of_each_turn_and_no_more(client):
    """Others have their turn between two shares, although the event loop would hand out much more at once."""
    size = 4_000_000

    async with talking(sized(size)) as url:
        response = await client.post(url, {}, b"{}", 1.0)
        turns, shares = Turns(), Counter()

        def receive(part):
            shares[turns.turn] += len(part)
            return True

        await response.each(receive)
        turns.stop()
        assert sum(shares.values()) == size
        # What came before `each` is handed out at once.
        assert sorted(shares.values())[-2] <= TURN
        assert max(shares.values()) <= READ_BUFFER + TURN


async def test_a_share_that_is_not_worked_off_yet_waits_while_the_caller_is_slow(client):
    """It is neither lost nor handed out before its time."""
    size = 1_000_000

    async with talking(sized(size)) as url:
        response = await client.post(url, {}, b"{}", 1.0)
        loop, received, held = asyncio.get_running_loop(), [], []

        def release():
            held.append(len(received))
            response.hold(False)

        def receive(part):
            if not part:
                return False
            received.append(part)
            response.hold(True)
            held.append(len(received))
            loop.call_later(0.001, release)
            return True

        await response.each(receive)
        assert b"".join(received) == b"x" * size
        assert held[:-1:2] == held[1::2]


async def test_bytes_behind_a_large_answer_are_no_answer_to_the_next_request(client):
    """They wait for a later turn of the loop, in which another request may have begun."""
    first = b"HTTP/1.1 200 OK\r\ncontent-length: 65000\r\n\r\n" + b"x" * 65_000
    evil = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
    talk, heard = scripted([first + evil * 3_000, OK], [OK])
    async with talking(talk) as url:
        assert await whole(client, url) == b"x" * 65_000
        assert await whole(client, url) == b"hello"
    assert len(heard) == 2


async def test_an_upstream_that_reads_slowly_is_not_written_to_without_end(client):
    """Bytes that it has not taken stay in the caller's body, without a copy in a buffer."""
    gate = asyncio.Event()

    async def talk(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        await gate.wait()
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        writer.write(OK)

    async with talking(talk) as url:
        task = asyncio.create_task(whole(client, url, b"x" * 50_000_000))
        await asyncio.sleep(0.1)
        (connection,) = client._open
        assert connection._transport.get_write_buffer_size() < 1_000_000
        gate.set()
        assert await task == b"hello"


async def test_what_a_compressed_answer_unfolds_to_comes_in_parts(client):
    plain = b" ".join(b"%d" % number for number in range(700_000))
    packed = gzip.compress(plain)
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(packed)}\r\n\r\n".encode()
    talk, _ = scripted([head + packed])
    async with talking(talk) as url:
        response = await client.post(url, {}, b"{}", 1.0)
        sizes = [len(part) async for part in parts_of(response)]
        response.release()
    assert sum(sizes) == len(plain)
    assert max(sizes) <= http1.READ_BUFFER


async def test_an_answer_that_is_mostly_compression_is_malformed(client):
    """60 KB could become 60 MB."""
    bomb = gzip.compress(b" " * 5_000_000)
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(bomb)}\r\n\r\n".encode()
    talk, _ = scripted([head + bomb])
    async with talking(talk) as url:
        with pytest.raises(AttemptFailed, match="compressed more than 100 times") as caught:
            await whole(client, url)
    assert caught.value.kind is FailureKind.MALFORMED


async def parts_of(response):
    while part := await response.read():
        yield part


async def test_a_compressed_answer_that_is_cut_off_is_a_failure(client):
    talk, _ = scripted([b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n" + gzip.compress(b"hello")[:-4]])
    async with talking(talk) as url:
        with pytest.raises(AttemptFailed, match="ends early"):
            await whole(client, url)


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nx: ", b"a"),
    ],
    ids=["interim answers", "headers", "one header"],
)
async def test_headers_without_end_are_given_up(client, start, piece):
    async def talk(reader, writer):
        await one_request(reader)
        writer.write(start)
        while True:
            writer.write(piece * 1000)
            await writer.drain()

    async with talking(talk) as url, asyncio.timeout(5):
        with pytest.raises(AttemptFailed) as caught:
            await client.post(url, {}, b"{}", 1.0)
    assert caught.value.kind is FailureKind.MALFORMED


async def test_a_trailer_without_end_is_given_up(client):
    async def talk(reader, writer):
        await one_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: ")
        while True:
            writer.write(b"a" * 1000)
            await writer.drain()

    async with talking(talk) as url, asyncio.timeout(5):
        with pytest.raises(AttemptFailed, match="headers are larger"):
            await whole(client, url)


async def test_many_small_chunks_are_no_endless_header(client):
    """Chunk sizes in packets of their own must not add up over a long stream."""

    async def talk(reader, writer):
        await one_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(40):
            for piece in (b"1", b";" + b"x" * 5000, b"\r\n", b"a\r\n"):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")

    async with talking(talk) as url:
        assert await whole(client, url) == b"a" * 40


async def test_a_connection_of_some_age_is_not_used_again_however_busy(client, monkeypatch):
    """A new connection follows its name to other addresses."""
    talk, heard = scripted([OK, OK, OK], [OK])
    async with talking(talk) as url:
        for _ in range(2):
            assert await whole(client, url) == b"hello"
        monkeypatch.setattr(pool, "MAX_AGE", 0.0)
        assert await whole(client, url) == b"hello"
        assert await whole(client, url) == b"hello"
    assert [number for number, _ in heard] == [1, 1, 1, 2]


async def test_where_one_connection_is_dead_the_other_idle_ones_are_not_trusted(client, monkeypatch):
    monkeypatch.setattr(pool, "DEAD_AFTER", 0.01)
    both, connections = asyncio.Event(), []

    async def talk(reader, writer):
        connections.append(writer)
        await one_request(reader)
        if len(connections) == 2:
            both.set()
        await both.wait()
        writer.write(OK)
        await reader.read()  # a second request on it is swallowed

    async with talking(talk) as url:
        await asyncio.gather(whole(client, url), whole(client, url))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await whole(client, url)
        async with asyncio.timeout(2):
            assert await whole(client, url) == b"hello"
    assert len(connections) == 3


@pytest.mark.parametrize("trouble", ["fails", "hangs"])
async def test_while_dns_is_out_the_last_addresses_serve(client, monkeypatch, trouble):
    monkeypatch.setattr(names, "LOOKUP", 0.01)
    talk, heard = scripted([OK], [OK])
    loop = asyncio.get_running_loop()
    ask, out = loop.getaddrinfo, []

    async def lookup(host, port, **more):
        if host == "upstream.example":
            if out and trouble == "fails":
                raise socket.gaierror("no answer")
            if out:
                await asyncio.Event().wait()
            host = "127.0.0.1"
        return await ask(host, port, **more)

    monkeypatch.setattr(loop, "getaddrinfo", lookup)
    async with talking(talk) as url:
        for _ in range(2):
            assert await whole(client, url.replace("127.0.0.1", "upstream.example")) == b"hello"
            await asyncio.sleep(0.01)  # so that its end is seen
            out.append(True)
        with pytest.raises(AttemptFailed):
            await whole(client, url.replace("127.0.0.1", "never.seen.example"))
    assert len(heard) == 2


async def test_every_address_of_a_name_is_tried_and_the_name_looked_up_for_each_connection(client, monkeypatch):
    talk, heard = scripted([OK], [OK])
    lookups = []

    loop = asyncio.get_running_loop()
    ask = loop.getaddrinfo

    async def two_addresses(host, port, **more):
        if host != "upstream.example":  # uvloop asks for addresses too
            return await ask(host, port, **more)
        lookups.append(host)
        stream = socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, ""
        return [(*stream, ("127.0.0.1", free_port())), (*stream, ("127.0.0.1", port))]

    monkeypatch.setattr(loop, "getaddrinfo", two_addresses)
    async with talking(talk) as url:
        for _ in range(2):
            assert await whole(client, url.replace("127.0.0.1", "upstream.example")) == b"hello"
            await asyncio.sleep(0.01)  # so that its end is seen
    assert len(heard) == 2
    assert lookups == ["upstream.example"] * 2


async def test_close_ends_calls_under_way(client):
    asked = asyncio.Event()

    async def talk(reader, writer):
        await one_request(reader)
        asked.set()
        assert await reader.read() == b""

    async with talking(talk) as url:
        task = asyncio.create_task(whole(client, url))
        await asyncio.wait_for(asked.wait(), 1.0)
        await client.close()
        with pytest.raises(AttemptFailed):
            await task


async def test_a_header_that_is_no_utf8_goes_on_as_it_came(client):
    heads = []

    async def talk(reader, writer):
        heads.append((await one_request(reader))[0])
        writer.write(OK)

    async with talking(talk) as url:
        response = await client.post(url, {"openai-beta": "a\udcffb"}, b"{}", 1.0)
        response.release()
        with pytest.raises(AttemptFailed, match="cannot be sent"):
            await client.post(url, {"openai-beta": "\ud800"}, b"{}", 1.0)
    assert b"openai-beta: a\xffb\r\n" in heads[0]


async def test_a_call_that_is_cancelled_while_its_connection_is_made_leaves_nothing(client, monkeypatch):
    made = http1.Connection.connection_made

    def cancelled_now(connection, transport):
        made(connection, transport)
        task.cancel()

    monkeypatch.setattr(http1.Connection, "connection_made", cancelled_now)
    talk, heard = scripted([OK])
    async with talking(talk) as url:
        task = asyncio.create_task(whole(client, url))
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(client.close(), 1.0)
    assert not client._open
    assert not heard
