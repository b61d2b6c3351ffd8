"""The client of commands that ask a cluster, and its errors as one line for people.

It can be imported without the Kubernetes client, which takes half a second to load and may not be installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from weir_cli.cluster.connection import NEEDS_CLIENT, NoPages, connect
from weir_cli.cluster.flags import Connection
from weir_cli.cluster.refusals import said, silence
from weir_cli.shared.output import fail

if TYPE_CHECKING:
    from weir_cli.cluster.api import Cluster


def opened(connection: Connection) -> Cluster:
    """The cluster of kubeconfig and flags. Raises `NoPages`."""
    try:
        from weir_cli.cluster.api import Cluster

        return Cluster(*connect(connection))
    except ImportError:
        raise NoPages(NEEDS_CLIENT) from None


@contextmanager
def answered() -> Iterator[None]:
    """Makes `NoPages` of the errors of the API server within the block."""
    import urllib3
    from kubernetes.client import ApiException

    try:
        yield
    except ApiException as error:
        raise NoPages(f"the API server says: {said(error)}") from None
    except urllib3.exceptions.HTTPError as error:
        raise NoPages(silence(error)) from None


@contextmanager
def cluster(connection: Connection) -> Iterator[Cluster]:
    """The cluster of kubeconfig and flags. Without it, and where the API server refuses within the block, the command
    ends with exit code 2.
    """
    try:
        there = opened(connection)
        with there.api_client, answered():
            yield there
    except NoPages as error:
        raise fail(str(error)) from None
