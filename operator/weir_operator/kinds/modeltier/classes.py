"""Tiers of other classes, for the message of a policy that names one. PURE; used by `kinds.modeltier.compile`.

Only a tier that grants the policy's namespace is mentioned, so that a status is no oracle for what exists elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from pydantic import ValidationError

from weir_operator.compile.callers import Labelled, resolve
from weir_operator.compile.classes import class_of
from weir_operator.kinds.modeltier.schema import ModelTierSpec
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import Manifest, Observed

KIND = "ModelTier"


@dataclass(frozen=True)
class OtherClasses:
    """The tiers that an installation does not serve. A spec is only read when a policy names its tier."""

    observed: Observed
    _read: dict[ObjectName, ModelTierSpec | None] = field(default_factory=dict)

    def granting(self, name: ObjectName, namespace: str) -> str | None:
        """The class of the tier `name`, if it is another class than ours and the tier grants `namespace`."""
        manifest = self._manifests.get(name)
        if manifest is None:
            return None
        if name not in self._read:
            self._read[name] = _spec(manifest)
        spec = self._read[name]
        if spec is None:
            return None
        granted = (resolve(it.namespaces, name.namespace, self._namespaces) for it in spec.grants)
        return spec.class_name if any(them is None or namespace in them for them in granted) else None

    @cached_property
    def _manifests(self) -> dict[ObjectName, Manifest]:
        ours = self.observed.class_name
        return {it.key: it for it in self.observed.of(KIND) if class_of(it.spec) != ours}

    @cached_property
    def _namespaces(self) -> Labelled | None:
        known = self.observed.namespaces
        return None if known is None else Labelled(known)


def _spec(manifest: Manifest) -> ModelTierSpec | None:
    try:
        return ModelTierSpec.model_validate(manifest.spec)
    except ValidationError:
        return None
