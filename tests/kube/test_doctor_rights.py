"""The rights that doctor asks about, beside those that the chart gives to the operator."""

from __future__ import annotations

import pytest
from binaries import ensure_tool

from support.helm import Helm
from weir_cli.cluster.installations import Installation
from weir_cli.doctor.operator_rights import Needs

Right = tuple[str, str, str]


def given(*values: str) -> set[Right]:
    """Group, resource and verb of each rule of the operator."""
    roles = [it for it in Helm(ensure_tool("helm")).render(*values) if it["kind"] in ("ClusterRole", "Role")]
    rules = [
        rule
        for role in roles
        if role["metadata"]["labels"].get("app.kubernetes.io/component") == "operator"
        for rule in role["rules"]
    ]
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("sidecars", [True, False])
@pytest.mark.parametrize("scopes", [("",), ("a", "b")])
def test_doctor_asks_about_every_right_of_the_chart(sidecars: bool, scopes: tuple[str, ...]):
    needs = Needs(Installation("weir", "llm"), scopes, sidecars=sidecars, services=True)
    asked = {
        (it["group"], f"{it['resource']}/{it['subresource']}" if "subresource" in it else it["resource"], it["verb"])
        for _, it in needs.rights()
        if "path" not in it
    }
    values = [f"--set=sidecar.enabled={str(sidecars).lower()}"]
    if scopes != ("",):
        # There, Namespaces are not needed: `from: Selector` then finds none, as the chart's value says.
        values += [f"--set=namespaces={{{','.join(scopes)}}}", "--set=rbac.readNamespaces=false"]
    assert asked == given(*values)
