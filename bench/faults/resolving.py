"""`python -m bench.faults.resolving HOSTS up ...`: the command `weir` with a file in the place of DNS for its names.

The file has lines `address name`, is read for each look-up, and wins over the system. Started by `proxies`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import uvloop

from weir_cli.main import main


def resolve_by(hosts: Path) -> None:
    """Look-ups of every uvloop from now on."""
    system = uvloop.Loop.getaddrinfo

    def known() -> dict[str, str]:
        return {name: address for address, name in map(str.split, hosts.read_text().splitlines())}

    async def getaddrinfo(loop: uvloop.Loop, host: Any, port: Any, **options: Any) -> Any:
        return await system(loop, known().get(host, host), port, **options)

    uvloop.Loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    resolve_by(Path(sys.argv[1]))
    sys.argv = ["weir", *sys.argv[2:]]
    main()
