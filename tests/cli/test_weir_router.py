"""Runs `weir router` as a process on published files, mounted and swapped as the kubelet does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from cli.shell import Gateway, http, policy, running, save, tier, until, weir
from support.published import Volume, published
from weir_cli.app import app
from weir_cli.sim import SimModel, SimulatorThread
from weir_operator.compile import Compiled, compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.kinds import KINDS
from weir_operator.observe.manifests import load
from weir_router.contract import CallerKey
from weir_router.identify.keys import fingerprint

KEY = "weir_of-a-caller"
UPSTREAM_KEY = "sk-upstream-0123456789"


@contextlib.contextmanager
def serving(directory: Path, *options: str) -> Iterator[Gateway]:
    """Runs `weir router` on free ports."""
    listen = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    with running("router", "--config-dir", directory, *listen, *options) as command:
        found = command.wait_for(r"callers on (http://\S+),[^h]*(http://[^\s.]+\S*\d)")
        yield Gateway(command, found[1], found[2])


@pytest.fixture
def manifests_of(tmp_path: Path, simulator: SimulatorThread):
    """Compiles a tier with a credential, and a policy for `model`; the caller needs a key."""

    def compiled(model: str) -> Compiled:
        secret = {"apiVersion": "v1", "kind": "Secret", "stringData": {"k": UPSTREAM_KEY}}
        secret["metadata"] = {"name": "up", "labels": {"weir.dev/credential": "true"}}
        credentials = {"secretRef": {"name": "up", "key": "k"}}
        folder = tmp_path / "manifests"
        save(folder / "all.yaml", tier(simulator.url, credentials=credentials), policy(model=model), secret)
        result = compile_config(load(folder, KINDS).observed, KINDS, catalogue=Catalogue.load(), now=time.time())
        assert not result.problems
        keys = {fingerprint(KEY): CallerKey(namespace="default", name="ci")}
        return Compiled(result.config, msgspec.structs.replace(result.secrets, caller_keys=keys), ())

    return compiled


def ready(gateway: Gateway) -> dict[str, object]:
    found: dict[str, object] = http(f"{gateway.admin}/readyz").json()
    return found


def test_it_answers_from_published_files_and_follows_each_swap(tmp_path: Path, manifests_of):
    volume = Volume(tmp_path / "config")
    volume.swap(published(manifests_of("first"), 1).files)
    second = published(manifests_of("second"), 2)
    with serving(volume.directory) as gateway:
        assert ready(gateway) == {"ready": True, "revision": 1, "rejected": None}
        assert gateway.ask("first", KEY).status == 200
        assert gateway.ask("first").status == 401
        volume.swap({name: it for name, it in second.files.items() if not name.startswith("credential.")})
        until(lambda: "a credential of revision 2 is not there yet" in str(ready(gateway)["rejected"]))
        assert ready(gateway)["revision"] == 1
        assert gateway.ask("first", KEY).status == 200
        volume.swap(second.files)
        until(lambda: ready(gateway) == {"ready": True, "revision": 2, "rejected": None})
        assert gateway.ask("second", KEY).status == 200
        assert gateway.command.stop() == 0
        assert UPSTREAM_KEY not in gateway.command.said + "".join(gateway.command.stdout)


def test_without_config_it_listens_and_says_what_it_waits_for(tmp_path: Path, manifests_of):
    volume = Volume(tmp_path / "config")
    with serving(volume.directory) as gateway:
        answer = http(f"{gateway.admin}/readyz")
        assert answer.status == 503
        assert "no index.json" in answer.json()["waiting"]
        assert gateway.ask("first", KEY).status == 503
        volume.swap(published(manifests_of("first"), 1).files)
        until(lambda: http(f"{gateway.admin}/readyz").status == 200)
        assert gateway.ask("first", KEY).status == 200


@pytest.mark.parametrize(("grace", "whole"), [("0.2", False), ("20", True)])
def test_an_open_answer_has_the_time_that_grace_says(tmp_path: Path, grace: str, whole: bool):
    seconds = 3
    drop = SimModel(name="drop", tokens_per_second=20, answer_tokens=20 * seconds)
    with SimulatorThread([drop]) as simulator:
        save(tmp_path / "manifests" / "all.yaml", tier(simulator.url, backend="drop"), policy())
        result = compile_config(
            load(tmp_path / "manifests", KINDS).observed, KINDS, catalogue=Catalogue.load(), now=time.time()
        )
        secrets = msgspec.structs.replace(
            result.secrets, caller_keys={fingerprint(KEY): CallerKey(namespace="default", name="ci")}
        )
        volume = Volume(tmp_path / "config")
        volume.swap(published(Compiled(result.config, secrets, ()), 1).files)
        with serving(volume.directory, "--grace", grace) as gateway:
            chunks = gateway.stream("auto", KEY)
            next(chunks)
            began = time.monotonic()
            gateway.command.process.terminate()
            text = "".join(chunks)
            assert gateway.command.ended() == 0
            assert ("[DONE]" in text) == whole
            assert (time.monotonic() - began > seconds / 2) == whole


def test_its_help_has_an_example():
    assert "weir router --config-dir /etc/weir/config" in weir("router", "--help").stdout


def test_an_address_in_use_is_exit_2(tmp_path: Path):
    with serving(tmp_path) as gateway:
        taken = gateway.url.removeprefix("http://")
        assert weir("router", "--config-dir", tmp_path, "--listen", taken, "--admin", "127.0.0.1:0").returncode == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "the following arguments are required: --config-dir"),
        (("--config-dir", "x", "--listen", "nowhere"), "'nowhere' is not HOST:PORT"),
        (("--config-dir", "x", "--grace", "-1"), "--grace: -1 is not at least 0"),
        (("--config-dir", "x", "--max-in-flight", "many"), "--max-in-flight: 'many' is not a number"),
        (("--config-dir", "x", "--memory", "much"), "--memory: 'much' is not a number of bytes, e.g. 536870912"),
        (("--config-dir", "x", "--allow-origin", "http://x/y"), "--allow-origin: 'http://x/y' is not an origin"),
        (("--config-dir", "x", "--conf", "y"), "unrecognized arguments: --conf"),
    ],
)
def test_wrong_options_are_said(options: tuple[str, ...], said: str):
    done = weir("router", *options)
    assert (done.returncode, said in done.stderr) == (2, True)


def test_web_pages_of_an_allowed_origin_may_call(tmp_path: Path):
    with serving(tmp_path, "--allow-origin", "https://a.example", "--allow-origin", "https://b.example") as gateway:
        for page, status in (("https://a.example", 200), ("https://b.example", 200), ("https://c.example", 403)):
            assert http(f"{gateway.admin}/healthz", origin=page).status == status


def test_how_many_requests_it_serves_at_once_may_come_from_the_environment():
    done = weir("router", "--config-dir", "x", env={"WEIR_MAX_IN_FLIGHT": "0"})
    assert (done.returncode, "--max-in-flight: 0 is not at least 1" in done.stderr) == (2, True)


def test_all_of_weir_has_it_too():
    done = CliRunner().invoke(app, ["router", "--help"])
    assert (done.exit_code, "usage: weir router" in done.stdout) == (0, True)
    assert "Runs the router on published config" in CliRunner(env={"COLUMNS": "200"}).invoke(app, ["--help"]).stdout
