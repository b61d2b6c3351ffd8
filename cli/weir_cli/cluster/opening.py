"""The client of commands that ask a cluster, and its errors as one line for people.

It can be imported without the Kubernetes client, which takes half a second to load and may not be installed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weir_cli.cluster.connection import NEEDS_CLIENT, NoPages
from weir_cli.shared.output import fail

if TYPE_CHECKING:
    from weir_cli.cluster.api import Cluster

Context = Annotated[str | None, typer.Option(help="Of the kubeconfig; default: the current one.")]


@contextmanager
def cluster(context: str | None) -> Iterator[Cluster]:
    """The cluster of the kubeconfig. An error of the API server within the block ends the command with exit code 2."""
    try:
        import urllib3
        from kubernetes.client import ApiException

        from weir_cli.cluster.api import Cluster
        from weir_cli.cluster.connection import connect
    except ImportError as error:
        raise fail(NEEDS_CLIENT) from error
    try:
        api_client, namespace = connect(None, context)
        with api_client:
            yield Cluster(api_client, namespace)
    except NoPages as error:
        raise fail(str(error)) from None
    except ApiException as error:
        raise fail(f"the API server says: {said(error)}") from None
    except urllib3.exceptions.HTTPError as error:
        raise fail(f"the API server does not answer: {type(error).__name__}") from None


def said(error: Any) -> str:
    """The API server's own words, of which the client makes a page."""
    try:
        return str(json.loads(error.body)["message"])
    except (KeyError, TypeError, ValueError):
        return f"{error.status} {error.reason}"
