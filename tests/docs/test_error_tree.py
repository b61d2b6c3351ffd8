"""The tree of errors that `weir_router.errors` draws is that of its classes, with their statuses."""

import re
from pathlib import Path

from weir_router import errors
from weir_router.errors import UpstreamRefused, WeirError

PAGE = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()
ROW = re.compile(r"^[├└]── (\w+) +(\d{3})?  ", re.MULTILINE)


def test_every_error_is_drawn_once_with_its_status() -> None:
    assert errors.__doc__ is not None
    drawn = [(name, int(status) if status else None) for name, status in ROW.findall(errors.__doc__)]
    own = [(it.__name__, it.status) for it in WeirError.__subclasses__() if it is not UpstreamRefused]
    assert sorted(own) == sorted((name, status) for name, status in drawn if status is not None)
    assert (UpstreamRefused.__name__, None) in drawn  # it has the upstream's status
    assert len(drawn) == len(own) + 1


def test_the_page_names_every_source() -> None:
    (row,) = re.findall(r"\| `x-weir-error-source` \| on errors: (.*) \|", PAGE)
    assert set(re.split(r", | or ", row)) == set(errors.Source)
