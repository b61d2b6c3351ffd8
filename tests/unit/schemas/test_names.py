"""Classes of schemas and of the contract have different names, since the compiler turns the one into the other."""

from __future__ import annotations

import importlib

from weir_operator.kinds import KINDS
from weir_operator.schemas import common
from weir_operator.schemas.rules import Model
from weir_router import contract


def test_schemas_and_compiled_forms_share_no_class_name():
    modules = (common, *(importlib.import_module(kind.spec.__module__) for kind in KINDS))
    schemas = {
        name
        for module in modules
        for name, it in vars(module).items()
        if isinstance(it, type) and issubclass(it, Model)
    }
    assert len(schemas) > 30
    assert schemas.isdisjoint(contract.__all__)
