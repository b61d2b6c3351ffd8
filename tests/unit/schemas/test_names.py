"""Classes of schemas and of the contract have different names: the compiler reads the one and makes the other."""

from __future__ import annotations

from weir_operator.schemas import common, modeltier, routingpolicy
from weir_operator.schemas.rules import Model
from weir_router import contract


def test_schemas_and_compiled_forms_share_no_class_name():
    schemas = {
        name
        for module in (common, modeltier, routingpolicy)
        for name, it in vars(module).items()
        if isinstance(it, type) and issubclass(it, Model)
    }
    assert len(schemas) > 30
    assert schemas.isdisjoint(contract.__all__)
