"""`NAME` and `NAMESPACE/NAME` on the command line. Pure; no Kubernetes client is needed for it."""

from __future__ import annotations

import re

from weir_cli.shared.output import fail
from weir_operator.kube.objects import ObjectName
from weir_operator.schemas.common import DNS_LABEL, DNS_SUBDOMAIN

_NAME = re.compile(DNS_SUBDOMAIN)
_PLACE = re.compile(f"{DNS_LABEL[:-1]}/{DNS_SUBDOMAIN[1:]}")


def is_place(text: str) -> bool:
    """Whether `text` has the form NAMESPACE/NAME."""
    return _PLACE.match(text) is not None


def is_name(text: str) -> bool:
    """Whether `text` can be the name of an object, e.g. `assistants`."""
    return _NAME.match(text) is not None


def checked(text: str, what: str) -> str:
    """`text`, if it is NAME or NAMESPACE/NAME; `what` it names, for the error. Raises `typer.Exit`."""
    if not is_name(text) and not is_place(text):
        raise fail(f"{text!r} is neither NAME nor NAMESPACE/NAME of a {what}, such as budget or llm/budget.")
    return text


def place(text: str, what: str, namespace: str) -> ObjectName:
    """`text` as a place: NAMESPACE/NAME, or NAME in `namespace`. Raises `typer.Exit`."""
    if is_name(checked(text, what)):
        return ObjectName(namespace, text)
    named, _, name = text.partition("/")
    return ObjectName(named, name)
