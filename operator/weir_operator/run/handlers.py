"""kopf's part: the life of the process. It starts the replica, and ends it on a signal.

It watches nothing: what is gathered is gathered once, by informers, which also tell of deletions that a broken watch
has missed. See docs/operator.md.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import kopf
from kubernetes.client import ApiClient

from weir_operator.run.replica import Replica
from weir_operator.run.settings import Settings

registry = kopf.OperatorRegistry()


class _Endless:
    """Pauses between tries: an API server that is away for an hour must not end the operator."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1.0, 2.0, 4.0), itertools.repeat(8.0))


@kopf.on.startup(registry=registry, errors=kopf.ErrorsMode.PERMANENT)
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    """Starts the replica."""
    settings.scanning.disabled = True  # there is no kind to look for
    settings.networking.error_backoffs = _Endless()
    memo.replica = Replica(memo.settings, memo.api_client)
    try:
        await memo.replica.start(memo.stop.set)
    except OSError as error:  # an address that is in use: the command reports it, so kopf must not wrap it
        memo.failure = error
        memo.stop.set()


@kopf.on.cleanup(registry=registry)
async def end(memo: kopf.Memo, **_: Any) -> None:
    """Ends it: the Lease is released, and routers go to another."""
    await memo.replica.stop()


@kopf.on.login(registry=registry)
def login(**arguments: Any) -> kopf.ConnectionInfo | None:
    """Logs in as our own client does."""
    return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)


async def run(settings: Settings, api_client: ApiClient) -> None:
    """Runs until SIGTERM or SIGINT. Raises the error that ended the replica."""
    memo = kopf.Memo(settings=settings, api_client=api_client, stop=asyncio.Event(), replica=None, failure=None)
    await kopf.operator(registry=registry, clusterwide=True, standalone=True, memo=memo, stop_flag=memo.stop)
    failure = memo.failure or (memo.replica and memo.replica.failure)
    if failure:
        raise failure
