"""Tools without the right to read Services take the operator's verdict on their tiers."""

from __future__ import annotations

from typing import Any

import pytest

from weir_cli.cluster.services import services_there
from weir_operator.compile import compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.kinds import KINDS
from weir_operator.observe.observed import Manifest, Observed, by_kind


def tier(reason: str | None, name: str = "t", port: int = 80, namespace: str | None = None) -> Manifest:
    reference: dict[str, Any] = {"name": "own", "port": port} | ({"namespace": namespace} if namespace else {})
    price = {"input": "1", "output": "1"}
    backend = {"name": "b", "provider": "OpenAI", "model": "m", "price": price, "backendRef": reference}
    status = {"backends": [{"name": "b", "state": "Unusable", "reason": reason}]} if reason else None
    return Manifest("ModelTier", "llm", name, {"backends": [backend]}, status=status)


def reasons(*tiers: Manifest) -> list[str]:
    services, slices = services_there(tiers)
    observed = Observed(manifests=by_kind(tiers), services=services, slices=slices)
    return [it.reason for it in compile_config(observed, KINDS, catalogue=Catalogue.load(), now=0.0).problems]


@pytest.mark.parametrize(
    "reason",
    ["ServiceNotFoundOrNotGranted", "ServiceWithoutEndpoints", "ServicePortNotFound", "NoEndpoints"],
)
def test_what_the_operator_said_is_wrong_is_wrong(reason: str):
    assert reasons(tier(reason))[0] == reason


@pytest.mark.parametrize("reason", [None, "1 of 3 endpoints: timeout"])
@pytest.mark.parametrize("namespace", [None, "gpu"])
def test_everything_else_is_there_and_consents(reason: str | None, namespace: str | None):
    assert reasons(tier(reason, namespace=namespace)) == []


def test_two_ports_of_one_service_are_both_there():
    assert reasons(tier(None), tier(None, "u", port=81)) == []
