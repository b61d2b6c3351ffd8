"""Pods of a namespace, or those of all namespaces with a label, from the API server. The edge of
`weir_operator.sidecar.census`: it decides nothing. Blocking; needs `list` on pods.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import urllib3
from kubernetes import client

from weir_operator.kube.objects import JSON

PODS_REQUEST_SECONDS = 10.0
"""Seconds for one request."""

PAGE = 250
"""Pods of one answer: about 2 MB."""

PAGES = 20
"""Answers about one namespace, at most: 5,000 pods. Those beyond are not looked at."""

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Bytes of one answer, at most."""


class PodsNotListed(Exception):
    """Pods cannot be listed; the message says why, and what to do."""


def pods(api_client: client.ApiClient, namespace: str, selector: str = "") -> Iterator[JSON]:
    """The pods of a namespace with the labels of `selector`, page by page. Raises `PodsNotListed`."""
    listed, further = client.CoreV1Api(api_client).list_namespaced_pod, ""
    for _ in range(PAGES):
        more = {"_continue": further} if further else {}
        body = _asked(f"namespace {namespace}", listed, namespace, limit=PAGE, label_selector=selector, **more)
        yield from body["items"]
        further = body["metadata"].get("continue") or ""
        if not further:
            return


def labelled_pods(api_client: client.ApiClient, selector: str) -> Iterator[JSON]:
    """The pods of all namespaces with the labels of `selector`, out of the API server's memory and not out of etcd.
    Raises `PodsNotListed`.
    """
    listed = client.CoreV1Api(api_client).list_pod_for_all_namespaces
    yield from _asked("the cluster", listed, label_selector=selector, resource_version="0")["items"]


def _asked(where: str, listed: Any, *arguments: str, **options: Any) -> Any:
    try:
        answer = listed(*arguments, **options, _preload_content=False, _request_timeout=PODS_REQUEST_SECONDS)
        data = answer.read(MAX_ANSWER_BYTES + 1)
        answer.release_conn()
        if answer.status >= 400:
            raise client.ApiException(status=answer.status, reason=answer.reason)
    except client.ApiException as error:
        rule = '{apiGroups: [""], resources: ["pods"], verbs: ["list"]}'
        advice = f"; add to the operator's role: {rule}" if error.status == 403 else ""
        raise PodsNotListed(f"pods of {where} cannot be listed: {error.status} {error.reason}{advice}") from None
    except urllib3.exceptions.HTTPError as error:
        raise PodsNotListed(f"pods of {where} cannot be listed: {type(error).__name__}") from None
    if len(data) > MAX_ANSWER_BYTES:
        answer.close()
        raise PodsNotListed(f"pods of {where} cannot be listed: an answer has more than {MAX_ANSWER_BYTES >> 20} MiB")
    body = msgspec.json.decode(data)
    return {"items": body.get("items") or (), "metadata": body.get("metadata") or {}}
