"""Runs `weir up` as a process: serving, reloading after a save, and ending."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import threading
import time
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from cli.shell import QUICKSTART, Gateway, http, policy, running, save, tier, until, up, weir
from weir_cli.sim import SimModel, SimulatorThread


def serves(gateway: Gateway, *models: str) -> None:
    """Waits until callers may ask for exactly these models."""
    until(lambda: gateway.models() == set(models), lambda: f"{gateway.models()} {gateway.command.said}")


def test_it_answers_within_seconds(manifests: Path) -> None:
    started = time.monotonic()
    with up(manifests) as gateway:
        assert time.monotonic() - started < 10
        assert gateway.models() == {"auto"}
        answer = gateway.ask()
    assert answer.status == 200
    assert answer.headers["x-weir-backend"] == "one"


def test_the_request_log_is_json_on_stdout(manifests: Path) -> None:
    with up(manifests) as gateway:
        gateway.ask()
        gateway.ask("unknown")
        until(lambda: len(gateway.command.stdout) == 2)
    lines = [json.loads(line) for line in gateway.command.stdout]
    assert [(line["status"], line["model"]) for line in lines] == [(200, "auto"), (404, "unknown")]
    assert "2 + 2" not in "".join(gateway.command.stdout)


def test_without_log_stdout_stays_empty(manifests: Path) -> None:
    with up(manifests, "--no-log") as gateway:
        assert gateway.ask().status == 200
        gateway.command.stop()
    assert gateway.command.stdout == []


def test_the_admin_port_tells_of_readiness_state_and_metrics(manifests: Path) -> None:
    with up(manifests) as gateway:
        gateway.ask()
        assert http(f"{gateway.admin}/readyz").json() == {"ready": True, "revision": 1, "rejected": None}
        assert http(f"{gateway.admin}/healthz").status == 200
        assert gateway.state()["policies"] == ["default/assistants"]
        assert "default/small/one" in gateway.state()["backends"]
        assert "weir_requests_total{" in http(f"{gateway.admin}/metrics").text
        assert http(f"{gateway.url}/metrics").status == 404


def test_one_file_is_enough_and_its_replacement_is_seen(tmp_path: Path, simulator: SimulatorThread) -> None:
    file = save(tmp_path / "all.yaml", tier(simulator.url), policy())
    with up(file) as gateway:
        save(file, tier(simulator.url), policy(model="second"))
        serves(gateway, "second")
        save(file, tier(simulator.url), policy(model="third"))
        serves(gateway, "third")


def test_a_relative_path_is_enough(manifests: Path) -> None:
    with up(Path(manifests.name), cwd=manifests.parent) as gateway:
        save(manifests / "more.yaml", policy("more", "more"))
        serves(gateway, "auto", "more")


def test_a_save_is_served_within_a_second(manifests: Path) -> None:
    with up(manifests) as gateway:
        (manifests / "policy.yaml").write_text((manifests / "policy.yaml").read_text().replace("auto", "renamed"))
        saved = time.monotonic()
        serves(gateway, "renamed")
        assert time.monotonic() - saved < 5  # a second, and what a busy machine adds
        assert gateway.ask("renamed").status == 200
        assert gateway.ask("auto").status == 404
        gateway.command.wait_for(r"Reloaded: revision 2, 1 policy\.")


def test_an_editor_that_replaces_the_file_is_seen_each_time(manifests: Path) -> None:
    with up(manifests) as gateway:
        for model in ("one", "two", "three"):
            save(manifests / "policy.yaml", policy(model=model))
            serves(gateway, model)


def test_a_yaml_error_keeps_the_last_good_config_and_names_the_line(manifests: Path) -> None:
    good = (manifests / "policy.yaml").read_text()
    with up(manifests) as gateway:
        (manifests / "policy.yaml").write_text("kind: RoutingPolicy\nspec: {\n")
        gateway.command.wait_for(r"policy.yaml:3:.*YAMLInvalid")
        gateway.command.wait_for("Not reloaded")
        assert gateway.ask().status == 200
        (manifests / "policy.yaml").write_text(good.replace("auto", "mended"))
        serves(gateway, "mended")


def test_an_object_with_an_error_takes_only_itself_away(manifests: Path, simulator: SimulatorThread) -> None:
    with up(manifests) as gateway:
        save(manifests / "other.yaml", tier(simulator.url, "other", tyop=1), policy("other", "other", to="other"))
        serves(gateway, "auto", "other")
        gateway.command.wait_for(r"other.yaml:\d+: error ModelTier/default/other spec.backends\[0\].tyop")
        assert gateway.ask().status == 200
        broken = gateway.ask("other")
    assert broken.status == 503
    assert broken.json()["error"]["code"] == "policy_not_ready"


def test_a_secret_with_an_error_does_not_stop_a_reload(manifests: Path) -> None:
    with up(manifests) as gateway:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"key": "no base64!"}}
        save(manifests / "more.yaml", secret, policy("more", "more"))
        serves(gateway, "auto", "more")
        gateway.command.wait_for("SecretInvalid")


def test_a_deleted_file_takes_its_objects_away(manifests: Path) -> None:
    extra = save(manifests / "extra.yaml", policy("extra", "extra"))
    with up(manifests) as gateway:
        assert gateway.models() == {"auto", "extra"}
        extra.unlink()
        serves(gateway, "auto")


def test_files_in_new_folders_are_seen(manifests: Path) -> None:
    with up(manifests) as gateway:
        save(manifests / "team" / "deep" / "more.yaml", policy("more", "more"))
        serves(gateway, "auto", "more")
        save(manifests / "team" / "deep" / "more.yaml", policy("more", "again"))
        serves(gateway, "auto", "again")


def test_a_save_that_changes_nothing_says_nothing(manifests: Path) -> None:
    with up(manifests) as gateway:
        (manifests / "notes.txt").write_text("a")
        os.utime(manifests / "policy.yaml")
        save(manifests / "more.yaml", policy("more", "more"))
        serves(gateway, "auto", "more")
        assert gateway.state()["revision"] == 2
        gateway.command.stop()
    assert gateway.command.said.count("Reloaded") == 1


def test_a_directory_that_is_replaced_is_still_watched(manifests: Path) -> None:
    with up(manifests) as gateway:
        replacement = manifests.with_name("replacement")
        shutil.copytree(manifests, replacement)
        save(replacement / "policy.yaml", policy(model="replaced"))
        manifests.rename(manifests.with_name("old"))
        replacement.rename(manifests)
        serves(gateway, "replaced")
        save(manifests / "policy.yaml", policy(model="later"))
        serves(gateway, "later")


def test_while_the_directory_is_gone_the_last_config_goes_on(manifests: Path) -> None:
    with up(manifests) as gateway:
        away = manifests.rename(manifests.with_name("away"))
        time.sleep(1.0)  # nothing tells when it has been seen
        assert gateway.ask().status == 200
        save(away / "policy.yaml", policy(model="back"))
        away.rename(manifests)
        serves(gateway, "back")


def test_a_mounted_configmap_is_reloaded(tmp_path: Path, simulator: SimulatorThread) -> None:
    """Files are links into `..data`, a link that the kubelet swaps."""
    mount = tmp_path / "mount"
    save(mount / "..1" / "all.yaml", tier(simulator.url), policy())
    (mount / "..data").symlink_to("..1")
    (mount / "all.yaml").symlink_to("..data/all.yaml")
    with up(mount) as gateway:
        assert gateway.models() == {"auto"}
        for number, model in ((2, "second"), (3, "third")):
            save(mount / f"..{number}" / "all.yaml", tier(simulator.url), policy(model=model))
            (mount / "..data_tmp").symlink_to(f"..{number}")
            (mount / "..data_tmp").rename(mount / "..data")
            serves(gateway, model)


def test_a_directory_behind_a_link_that_moves_on_is_reloaded(tmp_path: Path, simulator: SimulatorThread) -> None:
    for name in ("first", "second"):
        save(tmp_path / name / "all.yaml", tier(simulator.url), policy(model=name))
    (tmp_path / "current").symlink_to("first")
    with up(tmp_path / "current") as gateway:
        (tmp_path / "next").symlink_to("second")
        (tmp_path / "next").rename(tmp_path / "current")
        serves(gateway, "second")


def test_a_rotated_secret_is_used_at_once(tmp_path: Path) -> None:
    def secret(key: str) -> dict[str, Any]:
        metadata = {"name": "provider", "labels": {"weir.dev/credential": "true"}}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"api-key": key}}

    with SimulatorThread([SimModel("m", key="new-key")]) as sim:
        credentials = {"secretRef": {"name": "provider", "key": "api-key"}}
        save(tmp_path / "a" / "all.yaml", tier(sim.url, backend="m", credentials=credentials), policy())
        save(tmp_path / "a" / "secret.yaml", secret("old-key"))
        with up(tmp_path / "a") as gateway:
            assert gateway.ask().status == 502
            save(tmp_path / "a" / "secret.yaml", secret("new-key"))
            until(lambda: gateway.ask().status == 200)
    assert "old-key" not in gateway.command.said + "".join(gateway.command.stdout)
    assert "new-key" not in gateway.command.said + "".join(gateway.command.stdout)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_an_open_stream_end_and_exits_with_0(tmp_path: Path, number: signal.Signals) -> None:
    with SimulatorThread([SimModel("slow", answer_tokens=40, tokens_per_second=25)]) as sim:
        file = save(tmp_path / "all.yaml", tier(sim.url, backend="slow"), policy())
        with up(file) as gateway:
            answers: list[str] = []
            stream = threading.Thread(target=lambda: answers.append(gateway.ask(stream=True).text))
            stream.start()
            until(lambda: gateway.state()["backends"]["default/small/one"]["inFlight"] == 1)
            assert gateway.command.stop(number) == 0
            stream.join()
    assert answers[0].rstrip().endswith("data: [DONE]")
    assert "error" not in answers[0]


def hang_on(gateway: Gateway) -> None:
    """A caller whose connection is cut."""
    with contextlib.suppress(OSError, HTTPException):
        gateway.ask()


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with SimulatorThread([SimModel("endless", ttft=60)]) as sim:
        file = save(tmp_path / "all.yaml", tier(sim.url, backend="endless"), policy())
        with up(file) as gateway:
            waiting = threading.Thread(target=hang_on, args=(gateway,))
            waiting.start()
            until(lambda: gateway.state()["backends"]["default/small/one"]["inFlight"] == 1)
            gateway.command.process.send_signal(signal.SIGINT)
            gateway.command.wait_for("Open answers are finished first")
            started = time.monotonic()
            gateway.command.process.send_signal(signal.SIGINT)
            assert gateway.command.ended() == 128 + signal.SIGINT
            assert time.monotonic() - started < 5
            waiting.join()


@pytest.mark.parametrize("option", ["--listen", "--admin"])
def test_a_port_in_use_is_exit_2_and_says_what_to_do(manifests: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = "--admin" if option == "--listen" else "--listen"
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = weir("up", manifests, option, address, other, "127.0.0.1:0")
    assert done.returncode == 2
    assert "in use" in done.stderr
    assert "--listen" in done.stderr
    assert "Unclosed" not in done.stderr


@pytest.mark.parametrize("address", ["8080", "localhost", "127.0.0.1:http", "127.0.0.1:99999", ":8080", ""])
def test_an_address_that_is_none_is_exit_2(manifests: Path, address: str) -> None:
    done = weir("up", manifests, "--listen", address)
    assert done.returncode == 2
    assert "HOST:PORT" in done.stderr


def test_an_empty_directory_is_exit_1(tmp_path: Path) -> None:
    done = weir("up", tmp_path)
    assert done.returncode == 1
    assert "no RoutingPolicy" in done.stderr


def test_a_directory_that_is_not_there_is_exit_2(tmp_path: Path) -> None:
    done = weir("up", tmp_path / "gone")
    assert done.returncode == 2
    assert "is not there" in done.stderr


def test_junk_beside_good_manifests_is_named_and_the_good_ones_serve(manifests: Path) -> None:
    (manifests / "junk.yaml").write_bytes(bytes(range(256)) * 40)
    (manifests / "link.yaml").symlink_to("nowhere.yaml")
    (manifests / "large.yaml").write_bytes(b"# " + b"x" * 5_000_000)
    os.mkfifo(manifests / "pipe.yaml")
    with up(manifests) as gateway:
        assert gateway.ask().status == 200
    for name in ("junk.yaml", "link.yaml", "large.yaml"):
        assert f"{name}: error" in gateway.command.said


def test_while_thousands_of_manifests_are_compiled_callers_are_answered(
    manifests: Path, simulator: SimulatorThread
) -> None:
    with up(manifests) as gateway:
        many = [policy(f"p{number}", f"m{number}") for number in range(500)]
        save(manifests / "many.yaml", *many)
        slowest = 0.0
        while len(gateway.models()) < 501:
            started = time.monotonic()
            assert gateway.ask().status == 200
            slowest = max(slowest, time.monotonic() - started)
    assert slowest < 2


def test_the_quickstart_runs_beside_weir_sim() -> None:
    with running("sim") as sim:
        sim.wait_for("simulated models on")
        with up(QUICKSTART) as gateway:
            assert gateway.ask().status == 200
        assert sim.stop() == 0


# Who may call.

ALL_ADDRESSES = ("--listen", "0.0.0.0:0")


def test_a_page_of_another_site_is_refused_with_the_option_that_allows_it(manifests: Path) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    page = "https://app.example.com"
    with up(manifests) as gateway:
        chat = f"{gateway.url}/v1/chat/completions"
        refused = http(chat, body, origin=page)
        assert (refused.status, refused.json()["error"]["code"]) == (403, "origin_not_allowed")
        assert "--allow-origin" in refused.json()["error"]["message"]
        assert http(chat, body, host="evil.example").json()["error"]["code"] == "host_not_allowed"
        assert http(f"{gateway.admin}/state", host="evil.example").status == 403
        assert http(chat, body, origin="http://localhost:3000").status == 200
        assert gateway.ask().status == 200
    with up(manifests, "--allow-origin", page, "--allow-origin", "http://models.internal") as gateway:
        chat = f"{gateway.url}/v1/chat/completions"
        answer = http(chat, body, origin=page)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, page)
        assert http(chat, body, origin="https://evil.example").status == 403
        assert http(chat, body, host="models.internal:8080").status == 200


def test_a_port_for_other_machines_asks_for_a_key_that_is_shown_once(manifests: Path) -> None:
    with up(manifests, *ALL_ADDRESSES) as gateway:
        key = gateway.command.wait_for(r"(?m)^(weir_\S{32})$")[1]
        assert gateway.ask().status == 401
        assert gateway.ask(key=key[:-1]).status == 401
        assert gateway.ask(key=key).status == 200
        save(manifests / "more.yaml", policy("more", "more"))
        gateway.command.wait_for("Reloaded")
        assert gateway.ask("more", key=key).status == 200
        until(lambda: len(gateway.command.stdout) == 4)
        gateway.command.stop()
    assert gateway.command.said.count(key) == 1
    assert key not in "".join(gateway.command.stdout)


def test_keys_that_are_there_are_enough_for_other_machines(manifests: Path) -> None:
    made = weir("key", "create", "ci")
    (manifests / "key.yaml").write_text(made.stdout)
    with up(manifests, *ALL_ADDRESSES) as gateway:
        gateway.command.wait_for("Callers need a key")
        assert gateway.ask().status == 401
        assert gateway.ask(key=made.stderr.strip().splitlines()[-1]).status == 200
    assert "weir_" not in gateway.command.said


def test_anonymous_serves_other_machines_without_a_key_but_no_page(manifests: Path) -> None:
    with up(manifests, *ALL_ADDRESSES, "--anonymous") as gateway:
        assert gateway.ask().status == 200
        assert http(f"{gateway.url}/v1/models", host="models.internal").status == 200
        assert http(f"{gateway.url}/v1/models", origin="https://evil.example").status == 403
    assert "weir_" not in gateway.command.said


def test_an_admin_port_for_other_machines_is_said_and_is_no_page_s(manifests: Path) -> None:
    with up(manifests, "--admin", "0.0.0.0:0") as gateway:
        gateway.command.wait_for("Other machines can read metrics and state")
        assert http(f"{gateway.admin}/state", host="models.internal").status == 200
        assert http(f"{gateway.admin}/state", origin="https://evil.example").status == 403


def test_options_that_contradict_each_other_are_exit_2(manifests: Path) -> None:
    done = weir("up", manifests, "--anonymous", "--require-keys")
    assert (done.returncode, "contradict" in done.stderr) == (2, True)


def test_what_is_no_origin_is_exit_2_and_says_how_one_looks(manifests: Path) -> None:
    done = weir("up", manifests, "--allow-origin", "https://app.example.com/path")
    assert (done.returncode, "is not an origin" in done.stderr) == (2, True)


def of(namespace: str, *manifests: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**it, "metadata": {**it["metadata"], "namespace": namespace}} for it in manifests]


def test_callers_are_of_the_one_namespace_that_all_policies_are_of(tmp_path: Path, simulator: SimulatorThread) -> None:
    file = save(tmp_path / "all.yaml", *of("team-a", tier(simulator.url), policy()))
    with up(file) as gateway:
        assert gateway.models() == {"auto"}
        assert gateway.ask().status == 200
        assert "namespace team-a, as all policies are" in gateway.command.said
    with up(file, "--namespace", "team-b") as gateway:
        answer = gateway.ask()
        assert answer.status == 404
        assert "weir up --namespace NAME" in answer.text


def test_with_policies_of_several_namespaces_the_404_and_the_terminal_say_the_option(
    tmp_path: Path, simulator: SimulatorThread
) -> None:
    both = [it for name in ("team-a", "team-b") for it in of(name, tier(simulator.url), policy())]
    with up(save(tmp_path / "all.yaml", *both)) as gateway:
        answer = gateway.ask()
        assert answer.status == 404
        assert "namespace default; weir up --namespace NAME" in answer.text
        assert "team-a" not in answer.text
        assert "--namespace, such as team-a, team-b." in gateway.command.said
    with up(tmp_path / "all.yaml", "-n", "team-b") as gateway:
        assert gateway.ask().status == 200
