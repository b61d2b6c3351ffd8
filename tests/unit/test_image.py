"""Contents of the image, as far as they can be checked without building one."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from weir_router.__about__ import __version__

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.txt", "requirements-build.txt")


def locked(name: str) -> dict[str, str]:
    """The locked versions by package."""
    found = re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE)
    return {canonicalize_name(package): version for package, version in found}


def runtime() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *(it for extra in project["optional-dependencies"].values() for it in extra)]
    return [it for it in map(Requirement, texts) if it.name != project["name"]]


@pytest.mark.parametrize("requirement", runtime(), ids=lambda it: it.name)
def test_what_pyproject_asks_for_is_locked(requirement: Requirement) -> None:
    """Otherwise, pip, which checks hashes, refuses to build the image: run hack/lock."""
    version = locked("requirements.txt").get(canonicalize_name(requirement.name))
    assert version is not None
    assert requirement.specifier.contains(version)


@pytest.mark.parametrize("lock", LOCKS)
def test_the_image_has_the_versions_that_the_tests_ran_on(lock: str) -> None:
    tested = locked("requirements-dev.txt")
    differing = {name for name, version in locked(lock).items() if tested.get(name, version) != version}
    assert not differing


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_comes_with_hashes(lock: str) -> None:
    entries = re.split(r"^(?=[a-z])", (ROOT / lock).read_text(), flags=re.MULTILINE)[1:]
    assert entries
    assert all(" --hash=sha256:" in entry for entry in entries)


def test_nothing_of_ours_imports_what_the_image_goes_without() -> None:
    """The Dockerfile removes kubernetes.aio, a third of the image."""
    assert "kubernetes/aio" in (ROOT / "Dockerfile").read_text()
    sources = [path for package in ("router", "operator", "cli") for path in (ROOT / package).rglob("*.py")]
    users = [path.name for path in sources if re.search(r"kubernetes(\.| import )aio", path.read_text())]
    assert not users


def test_the_context_of_the_build_is_a_list_of_what_is_needed() -> None:
    """Other files of a checkout, kubeconfigs and keys included, reach no layer."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert all(line.startswith("!") for line in lines[1:-1])


def test_the_example_for_clusters_has_the_image_that_is_made_and_installed() -> None:
    """`make image`, the chart's defaults and examples/cluster name the same image."""
    chart = yaml.safe_load((ROOT / "helm" / "weir" / "Chart.yaml").read_text())
    values = yaml.safe_load((ROOT / "helm" / "weir" / "values.yaml").read_text())
    assert chart["appVersion"] == __version__
    image = f"{values['image']['repository']}:{__version__}"
    simulator = (ROOT / "examples" / "cluster" / "1-simulator.yaml").read_text()
    assert f"image: {image}\n" in simulator


def build(**environment: str) -> subprocess.CompletedProcess[str]:
    """`hack/image/build` with a builder that prints its arguments."""
    return subprocess.run(
        [str(ROOT / "hack" / "image" / "build")],
        env={**os.environ, "BUILDER": "echo", **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


PINNED = f"registry.internal/python:3.12-slim@sha256:{'0' * 64}"


@pytest.mark.parametrize("base", ["", "python:3.12-slim", "python@sha256:12", f"{PINNED}0"])
def test_a_release_s_base_image_must_be_named_by_digest(base: str) -> None:
    done = build(PINNED="yes", BASE=base)
    assert (done.returncode, done.stdout) == (1, "")
    assert "@sha256:..." in done.stderr


@pytest.mark.parametrize("options", [{"PINNED": "yes", "BASE": PINNED}, {"BASE": PINNED, "PINNED": "no"}])
def test_the_build_is_told_its_base_and_its_commit(options: dict[str, str]) -> None:
    done = build(REVISION="abc", **options)
    assert done.returncode == 0, done.stderr
    assert f"--build-arg BASE={PINNED} " in done.stdout
    assert "--build-arg REVISION=abc " in done.stdout


def test_the_image_says_what_it_was_made_of() -> None:
    last = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert 'org.opencontainers.image.base.name="${BASE}"' in last
    assert 'org.opencontainers.image.revision="${REVISION}"' in last
    assert "\nARG BASE\n" in last
