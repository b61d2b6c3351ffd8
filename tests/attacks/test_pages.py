"""Web pages: a browser on the developer's machine is no way to spend the developer's money."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from attacks.town import Town, Upstream, policy, tier, town, upstream

FOREIGN = {"content-type": "text/plain", "origin": "https://evil.example"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Town, Upstream]]:
    """A router without keys, and its upstream."""
    folder = tmp_path_factory.mktemp("town")
    with upstream() as up, town(folder, tier(up.url), policy("default"), arguments=()) as it:
        yield it, up


@pytest.mark.parametrize(
    "headers",
    [
        FOREIGN,
        {"content-type": "text/plain", "origin": "null"},
        {"content-type": "text/plain", "sec-fetch-site": "cross-site"},
        {"host": "evil.example"},
        {"host": "127.0.0.1.nip.io"},
        {**FOREIGN, "authorization": "Bearer anything"},
    ],
)
def test_a_foreign_page_reaches_no_model_without_a_key(place: tuple[Town, Upstream], headers: dict[str, str]) -> None:
    it, up = place
    assert it.ask("").status == 200
    before = len(up.seen)
    found = it.ask("", headers=headers)
    assert found.status in (403, 421)
    assert "access-control-allow-origin" not in found.headers
    assert len(up.seen) == before
