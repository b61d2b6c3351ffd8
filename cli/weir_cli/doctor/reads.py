"""Requests of a doctor to the API server that the Kubernetes client has no method for, and results that are kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from kubernetes import client

from weir_cli.cluster.connection import API_SECONDS

T = TypeVar("T")

NOT_FOUND = 404


class Once(Generic[T]):
    """A read that several checks need: made once, in whichever thread comes first; its error is kept as well."""

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._found: tuple[T | None, Exception | None] | None = None

    def __call__(self) -> T:
        """The result. Raises what the read raised."""
        with self._lock:
            if self._found is None:
                try:
                    self._found = (self._read(), None)
                except Exception as error:
                    self._found = (None, error)
            value, failure = self._found
        if failure is not None:
            raise failure
        return value  # type: ignore[return-value]


def get(api_client: client.ApiClient, path: str, accept: str = "application/json") -> Any:
    """The answer as it came. Raises `ApiException`, with the API server's words."""
    call: Any = api_client.call_api
    parts = api_client.param_serialize("GET", path, auth_settings=["BearerToken"], header_params={"Accept": accept})
    answer = call(*parts, _request_timeout=API_SECONDS)
    answer.read()
    if answer.status != 200:
        error = client.ApiException(status=answer.status, reason=answer.reason)
        error.body = answer.data.decode(errors="replace")
        raise error
    return answer


def or_none(read: Callable[[], T]) -> T | None:
    """The result of `read`; None for an object that does not exist."""
    try:
        return read()
    except client.ApiException as error:
        if error.status == NOT_FOUND:
            return None
        raise
