"""The built wheel in a clean virtual environment, as users install it."""

from __future__ import annotations

import json
import venv
import zipfile
from pathlib import Path

import pytest

from support.outside import run

ROOT = Path(__file__).parents[2]

# The clean environment downloads its packages, and a slow index is not the wheel's fault.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with only the wheel, without an extra."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    run(str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", f"weir-router @ {wheel.as_uri()}")
    return folder / "bin"


def test_the_wheel_holds_the_three_packages_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"weir_router", "weir_operator", "weir_cli"}


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    """The wheel holds data files, too, such as the catalogue."""
    packages = [ROOT / "router" / "weir_router", ROOT / "operator" / "weir_operator", ROOT / "cli" / "weir_cli"]
    files = [(package, file) for package in packages for file in package.rglob("*") if file.is_file()]
    sources = {str(file.relative_to(package.parent)) for package, file in files if "__pycache__" not in file.parts}
    assert sources <= set(zipfile.ZipFile(wheel).namelist())


def test_weir_says_its_version(installed: Path) -> None:
    version = (ROOT / "router" / "weir_router" / "__about__.py").read_text().split('"')[-2]
    assert version in run(str(installed / "weir"), "--version")


def test_weir_help_lists_the_commands(installed: Path) -> None:
    text = run(str(installed / "weir"), "--help")
    assert {"up", "validate", "explain", "demo", "sim", "catalogue"} <= set(text.split())


def test_python_dash_m_weir_cli_is_the_same_program(installed: Path) -> None:
    assert run(str(installed / "python"), "-m", "weir_cli", "--version") == run(str(installed / "weir"), "--version")


def test_the_router_is_imported_without_the_operators_libraries(installed: Path) -> None:
    program = (
        "import sys, weir_router.app; print(sorted({'kopf', 'kubernetes', 'pydantic', 'yaml'} & sys.modules.keys()))"
    )
    assert run(str(installed / "python"), "-c", program).strip() == "[]"


def test_the_installed_demo_runs_without_a_checkout_and_answers_everything(installed: Path) -> None:
    summary = json.loads(run(str(installed / "weir"), "demo", "--duration", "5", "--output", "json"))
    assert summary["answered"] > 0
    assert summary["unanswered"] == 0
