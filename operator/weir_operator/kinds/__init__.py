"""The kinds of `weir.dev/v1alpha1`: one folder each, and one row in `KINDS`.

A kind's folder holds all that is known of it: `schema` (spec and status as pydantic classes), `compile` and `checks`
(spec → config, and problems), `together` (all its objects in one config), `status` (conditions and fields). Its
`__init__` is the row that names these steps. To add a kind, add a folder and its row here, then run `make crds`.

Why the folder is here, above `compile` and `status`, and not a file in each room: a step needs the tools of its room
(reports of problems, judgements), so it stands above them; and the rooms take the rows as an argument, so they import
no kind. That way nothing imports upwards, a kind lives in one place, and a room can be tested with a kind of the test.

Compiled forms are in `weir_router.contract`, which routers need and which knows no schema.
"""

from weir_operator.kinds.modeltier import MODEL_TIER
from weir_operator.kinds.routingpolicy import ROUTING_POLICY
from weir_operator.kinds.row import Row

__all__ = ["KINDS", "MODEL_TIER", "ROUTING_POLICY", "Row"]

KINDS: tuple[Row, ...] = (MODEL_TIER, ROUTING_POLICY)
"""Every kind of the group. They are listed, compiled and judged in this order: a kind may use those before it."""
