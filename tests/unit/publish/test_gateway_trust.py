"""The authorities of the gateway's certificate in the operator: read, replaced with an overlap, and never lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from weir_operator.publish.authority import make_authority
from weir_operator.publish.gateway_trust import MAX_FILE_BYTES, OVERLAP, GatewayTrust
from weir_router.contract import CompiledConfig

START = datetime(2027, 1, 1, tzinfo=UTC)
ONE, TWO = (make_authority("gateway", START).certificate.decode() for _ in range(2))


class Trust(GatewayTrust):
    """One with a clock, which counts its changes."""

    def __init__(self, file: Path) -> None:
        self.clock = 0.0
        self.changes = 0
        then = lambda: START + timedelta(seconds=self.clock)
        super().__init__(file, self._count, monotonic=lambda: self.clock, now=then)

    def _count(self) -> None:
        self.changes += 1

    def looked(self) -> str:
        self.look()
        return self.authorities


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "ca.crt").write_text(ONE)
    return tmp_path / "ca.crt"


def test_replaced_authorities_count_until_every_pod_has_the_new_certificate(file: Path):
    it = Trust(file)
    assert (it.looked(), it.changes) == (ONE, 1)
    assert (it.looked(), it.changes) == (ONE, 1)
    file.write_text(TWO)
    assert (it.looked(), it.changes) == (ONE + TWO, 2)
    it.clock = OVERLAP - 1
    assert it.looked() == ONE + TWO
    it.clock = OVERLAP
    assert (it.looked(), it.changes) == (TWO, 3)


def test_only_certificates_that_are_valid_still_leave_the_file(file: Path):
    file.write_text(f"# Die Behörde\n{ONE}\n{ONE}")
    it = Trust(file)
    assert it.looked() == ONE
    it.clock = timedelta(days=400).total_seconds()
    assert (it.looked(), it.trouble) == (ONE, f"{file} has no authority of the gateway's certificate: {EXPIRED}")


EXPIRED = "there is no certificate that has not expired"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no", "what should be a certificate is none"),
        ("", EXPIRED),
        ("x" * (MAX_FILE_BYTES + 1), "it is larger than 64 KiB"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_used_changes_nothing_and_is_said(file: Path, content: str | None, said: str):
    it = Trust(file)
    it.look()
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    assert it.looked() == ONE
    assert said in it.trouble
    file.write_text(ONE)
    assert (it.looked(), it.trouble) == (ONE, "")


def test_a_new_replica_that_cannot_read_the_file_publishes_the_authorities_of_before(file: Path, tmp_path: Path):
    published = msgspec.structs.replace(CompiledConfig(), gateway_authorities=TWO)
    it = Trust(tmp_path / "missing")
    it.look()
    assert (it.to_publish(published), it.to_publish(None)) == (TWO, None)
    assert Trust(file).to_publish(published) == TWO
    it = Trust(file)
    it.look()
    assert it.to_publish(published) == ONE
    assert GatewayTrust(None).to_publish(published) is None
