"""The parts of schemas that kinds share, and the type that describes a kind.

The kinds themselves are in `weir_operator.kinds`. The same classes validate a directory
(`weir_operator.observe.manifests`), feed the compiler, and become the CRDs (`weir_operator.kinds.crdgen`), so that a
laptop and a cluster refuse the same things with the same words.
"""

from weir_operator.schemas.common import GROUP, VERSION, Column, Kind

__all__ = ["GROUP", "VERSION", "Column", "Kind"]
