"""Consequences of a change, shown before it is made. Used by `weir pause` and `weir override`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.markup import escape

from weir_cli.diff.compare import ObjectChange, compare, side
from weir_cli.shared.output import Exit, errors, fail
from weir_operator.observe.observed import Manifest, Observed

if TYPE_CHECKING:
    from weir_cli.cluster.objects import Visible


def replaced(observed: Observed, manifest: Manifest) -> Observed:
    """The same objects, with `manifest` in the place of the one of its name."""

    def swap(manifests: Sequence[Manifest]) -> tuple[Manifest, ...]:
        return tuple(manifest if it.id == manifest.id else it for it in manifests)

    return replace(observed, manifests={kind: swap(them) for kind, them in observed.manifests.items()})


def consequences(observed: Observed, manifest: Manifest, now: float) -> list[ObjectChange]:
    """The objects that stop working once `manifest` is as given."""
    changes = compare(side(observed, now), side(replaced(observed, manifest), now))
    return [it for it in changes if it.worse]


def confirmed(seen: Visible, manifest: Manifest, now: float, *, force: bool, but: str = "") -> None:
    """Ends the command with exit code 1 if something `but` one object would stop working, unless by force."""
    for note in seen.notes:
        errors.print(f"note: {escape(note)}", highlight=False, soft_wrap=True)
    broken = [it for it in consequences(seen.observed, manifest, now) if it.object != but]
    for it in broken:
        for condition in it.conditions:
            if condition.worse:
                told = f"{it.object}: {condition.type} becomes {condition.after}: {condition.message}"
                errors.print(escape(told), highlight=False, soft_wrap=True)
    if broken and not force:
        raise fail("nothing was changed, because of the above; --force does it all the same.", Exit.PROBLEMS)
