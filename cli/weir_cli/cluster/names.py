"""`NAMESPACE/NAME` on the command line. Pure; no Kubernetes client is needed for it."""

from __future__ import annotations

import re

from weir_cli.shared.output import fail
from weir_operator.kube.objects import ObjectName
from weir_operator.schemas.common import DNS_LABEL, DNS_SUBDOMAIN

_PLACE = re.compile(f"{DNS_LABEL[:-1]}/{DNS_SUBDOMAIN[1:]}")


def is_place(text: str) -> bool:
    """Whether `text` has the form NAMESPACE/NAME."""
    return _PLACE.match(text) is not None


def place(text: str, what: str) -> ObjectName:
    """`text` as a place; `what` it names, for the error. Raises `typer.Exit`."""
    if not is_place(text):
        raise fail(f"{text!r} is not NAMESPACE/NAME of a {what}, such as llm/budget.")
    namespace, _, name = text.partition("/")
    return ObjectName(namespace, name)
