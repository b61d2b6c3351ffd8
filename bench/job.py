"""The task of a load process of the benchmark. Made by the measurements, and read by `bench.load`."""

from __future__ import annotations

import msgspec


class Job(msgspec.Struct, kw_only=True):
    """Requests to send, and their number."""

    port: int
    path: str = "/v1/chat/completions"
    body: str
    headers: dict[str, str] = {}
    connections: int = 32
    total: int = 1000
    streamed: bool = False
    last: str = "[DONE]"  # end of a whole stream
    rate: float | None = None  # requests per second, without waiting for answers; None: as fast as answers come
    warm: float = 0.0  # with a rate: seconds before anything counts
    seconds: float = 0.0  # with a rate: seconds that count, in place of `total`
    windows: int = 1  # with a rate: how many times to count, one after the other
    timeout: float = 120.0  # seconds for the whole job

    def request(self) -> bytes:
        """The request, as it is on the wire."""
        body = self.body.encode()
        headers = {
            "host": "127.0.0.1",
            "content-type": "application/json",
            **self.headers,
            "content-length": str(len(body)),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {self.path} HTTP/1.1\r\n{lines}\r\n".encode() + body

    def last_bytes(self) -> bytes | None:
        """End of a whole stream; None: answers are plain."""
        return self.last.encode() if self.streamed else None
