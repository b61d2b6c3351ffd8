"""Every command's help, exit codes and output, through the entry that users have."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_group
from typer.testing import CliRunner, Result

from cli.shell import QUICKSTART, ROOT, environment, http, policy, running, save, tier, up, weir
from weir_cli.app import app
from weir_cli.sim import SimulatorThread
from weir_cli.sim.fleet import TIERS
from weir_router.__about__ import __version__

COMMANDS = {
    "up": "weir up examples/quickstart",
    "connect": "weir connect claude-code",
    "demo": "weir demo --serve",
    "validate": "weir validate manifests",
    "explain": "weir explain examples/quickstart",
    "catalogue": "weir catalogue",
    "probe": "kubectl weir probe llm/budget",
    "sim": "curl -X PUT",
    "diff": "kubectl weir diff -f manifests/",
    "pause": "kubectl weir pause llm/budget",
    "resume": "kubectl weir resume llm/budget",
    "override": "kubectl weir override team-a/assistants --tier llm/premium --for 2h",
    "operator": "weir operator --namespace weir-system",
    "status": "weir status --url http://127.0.0.1:9090",
    "doctor": "kubectl weir doctor",
    "router": "weir router --config-dir /etc/weir/config",
    "sidecar": "weir sidecar --caller team-a/web",
    "key create": "weir key create ci --namespace team-a > manifests/ci-key.yaml",
    "import litellm": "weir import litellm config.yaml",
}


def run(*arguments: str | Path) -> Result:
    """The command in this process, on a wide terminal without keys in its environment."""
    hidden = {"OPENAI_API_KEY": None, "ANTHROPIC_API_KEY": None}
    return CliRunner(env={"COLUMNS": "250", **hidden}).invoke(app, [str(it) for it in arguments])


def facts(result: Result) -> Any:
    """The output of `--output json`, decoded."""
    return json.loads(result.stdout)


def problem(folder: Path, text: str) -> dict[str, Any]:
    """The only problem of a manifest."""
    (folder / "a.yaml").write_text(text)
    result = run("validate", folder, "-o", "json")
    assert result.exit_code == 1
    (found,) = facts(result)["problems"]
    assert found["message"] in run("validate", folder).stdout
    assert found["where"] in run("validate", folder).stdout
    return dict(found)


def test_help_lists_every_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert all(name.split()[0] in result.stdout for name in COMMANDS)


def test_every_command_has_its_example_here() -> None:
    assert {name.split()[0] for name in COMMANDS} == set(get_group(app).commands)


@pytest.mark.parametrize(("command", "example"), COMMANDS.items(), ids=COMMANDS)
def test_the_help_of_a_command_has_an_example_on_a_line_of_its_own(command: str, example: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert [line for line in result.stdout.splitlines() if line.strip().startswith(example)]


def test_version_is_the_package_s() -> None:
    assert weir("--version").stdout == f"weir {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["validate"], ["validate", "--nonsense", "."], ["key", "nonsense"]]
)
def test_wrong_arguments_are_exit_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_a_name_that_looks_like_markup_is_printed_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "[red]x[" / "b]"
    assert "[red]x[" in run("validate", folder).stderr
    odd = policy("x")
    odd["spec"]["[/bold]"] = 1
    save(folder / "all.yaml", tier("http://127.0.0.1:9"), policy(model="[/b]"), odd)
    assert "[/bold]" in run("validate", folder).stdout
    assert "[/b]" in run("explain", folder, "[/hi]", "--model", "[/b]").stdout
    assert "[/i]" in run("explain", folder, "hi", "--model", "[/i]").stderr


@pytest.mark.parametrize("command", [["up", QUICKSTART], ["sim"], ["demo"], ["validate", QUICKSTART]])
def test_ctrl_c_while_it_starts_leaves_no_traceback(tmp_path: Path, command: list[str | Path]) -> None:
    """Ctrl-C during the imports: here one of the libraries raises it when it is imported."""
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    paths = environment()["PYTHONPATH"]
    done = weir(*command, env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{paths}"})
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize("command", [["validate", QUICKSTART], ["explain", QUICKSTART, "Grüße 🐟"], ["catalogue"]])
def test_a_terminal_that_knows_ascii_only_gets_what_it_knows(command: list[str | Path]) -> None:
    assert weir(*command, env={"PYTHONIOENCODING": "ascii"}).returncode == 0


# validate


def test_the_quickstart_is_valid() -> None:
    result = run("validate", QUICKSTART)
    assert result.exit_code == 0
    assert "4 tiers, 1 policy, 0 errors, 0 warnings" in result.stdout
    assert facts(run("validate", QUICKSTART, "--output", "json")) == {
        "valid": True,
        "problems": [],
        "notices": [],
        "tiers": ["default/budget", "default/mid-range", "default/premium", "default/ultra-budget"],
        "policies": ["default/assistants"],
    }


def test_validate_names_a_wrong_value(tmp_path: Path) -> None:
    text = (QUICKSTART / "tiers.yaml").read_text().replace('output: "0.01"', 'output: "cheap"')
    found = problem(tmp_path, text)
    line = next(number for number, it in enumerate(text.splitlines(), 1) if "cheap" in it)
    assert (found["where"], found["field"]) == (f"a.yaml:{line}", "spec.backends[0].price.output")


def test_validate_names_an_unknown_field_and_what_was_meant(tmp_path: Path) -> None:
    text = (QUICKSTART / "tiers.yaml").read_text().split("---")[0].replace("    limits:", "    limit:", 1)
    found = problem(tmp_path, text)
    assert found["field"] == "spec.backends[0].limit"
    assert "limits" in found["action"]


def test_validate_names_an_error_of_yaml(tmp_path: Path) -> None:
    found = problem(tmp_path, "kind: ModelTier\nspec: [\n  a: }\n")
    assert (found["where"], found["reason"]) == ("a.yaml:3", "YAMLInvalid")


def test_validate_names_a_key_that_stands_twice(tmp_path: Path) -> None:
    text = yaml.safe_dump(tier("http://127.0.0.1:9100")) + "kind: ModelTier\n"
    found = problem(tmp_path, text)
    assert (found["where"], found["reason"]) == (f"a.yaml:{text.count(chr(10))}", "DuplicateKey")


def test_validate_names_a_tier_that_is_not_there(tmp_path: Path) -> None:
    save(tmp_path / "all.yaml", tier("http://127.0.0.1:9100"), policy(to="smal"))
    result = run("validate", tmp_path, "-o", "json")
    first = facts(result)["problems"][0]
    assert first["reason"] == "TierNotFoundOrNotGranted"
    assert first["field"].startswith("spec.routes[0].tiers[0]")
    assert first["where"].startswith("all.yaml:")


def test_warnings_fail_only_when_strict(tmp_path: Path) -> None:
    unpriced = tier("http://127.0.0.1:9100")
    del unpriced["spec"]["backends"][0]["price"]
    save(tmp_path / "all.yaml", unpriced, policy())
    assert "PriceUnknown" in run("validate", tmp_path).stdout
    assert run("validate", tmp_path).exit_code == 0
    assert run("validate", tmp_path, "--strict").exit_code == 1


def test_validate_of_what_is_not_there_is_exit_2(tmp_path: Path) -> None:
    assert run("validate", tmp_path / "gone").exit_code == 2


def test_validate_takes_one_file_and_a_pipe() -> None:
    assert run("validate", QUICKSTART / "tiers.yaml").exit_code == 0
    done = weir("validate", "/dev/stdin", "-o", "json", stdin="kind: [")
    assert done.returncode == 1
    assert "YAMLInvalid" in done.stdout


# explain


def explained(*arguments: str | Path) -> Any:
    result = run("explain", *arguments, "-o", "json")
    assert result.exit_code == 0, result.stderr
    return facts(result)


def test_explain_tells_class_route_candidates_and_prices() -> None:
    story = explained(QUICKSTART, "What is 2 + 2?")
    assert (story["policy"], story["model"], story["complexity"]) == ("default/assistants", "auto", "Simple")
    assert story["route"] == "quick"
    first = story["candidates"][0]
    assert (first["tier"], first["backend"]) == ("default/ultra-budget", "minnow")
    assert (first["price"]["input"], first["price"]["output"]) == (0.005, 0.01)
    assert all(candidate["reason"] for candidate in story["candidates"])
    assert story["catalogueDate"].startswith("20")


def test_explain_shows_people_what_it_tells_machines() -> None:
    story, shown = explained(QUICKSTART, "What is 2 + 2?"), run("explain", QUICKSTART, "What is 2 + 2?").stdout
    for fact in (story["policy"], story["complexity"], story["reason"], story["route"], story["catalogueDate"]):
        assert fact in shown
    assert all(candidate["model"] in shown for candidate in story["candidates"])


def test_explain_says_that_manifests_beside_have_errors(tmp_path: Path) -> None:
    save(tmp_path / "all.yaml", tier("http://127.0.0.1:9"), tier("http://127.0.0.1:9", "other", tyop=1), policy())
    result = run("explain", tmp_path, "hi", "-o", "json")
    assert facts(result)["route"] == "all"
    assert f"1 error in {tmp_path}; weir validate tells" in result.stderr


def test_explain_takes_a_moment_and_a_latency_budget() -> None:
    full = ROOT / "examples" / "full"
    asked = (full, "Hi", "--namespace", "team-a")
    friday, saturday = ("--at", "2026-12-04T23:00:00+01:00"), ("--at", "2026-12-05T12:00:00+01:00")
    assert explained(*asked, *friday)["route"] == "nightly"
    story = explained(*asked, *saturday, "--header", "x-weir-ttft: 800ms")
    assert (story["route"], story["latencyBudget"], story["at"]) == ("hurried", 0.8, "2026-12-05T11:00:00Z")
    assert {
        "route": "nightly",
        "reason": "it is Saturday 12:00 in Europe/Berlin, not Friday, Saturday 22:00-06:00 Europe/Berlin",
    } in story["passedOver"]
    shown = run("explain", *asked, *saturday, "--header", "x-weir-ttft: 800ms").stdout
    assert "at 2026-12-05T11:00:00Z, first content within 0.8 s" in shown
    ends = (["--at", "9999-12-31T23:59:59-14:00"], ["--at", "0001-01-01T00:00:00+14:00"])
    for wrong in (["--at", "tomorrow"], ["--at", "2026-12-05T12:00:00"], *ends, ["--header", "x-weir-ttft: soon"]):
        result = run("explain", *asked, *wrong)
        assert result.exit_code in (1, 2)
        assert "such as" in result.stderr


def test_validate_names_two_models_for_embeddings_in_one_route(tmp_path: Path) -> None:
    one = {"name": "one", "provider": "OpenAI", "baseURL": "http://127.0.0.1:9/v1", "endpoints": ["Embeddings"]}
    backends = [{**one, "model": "v-small"}, {**one, "name": "two", "model": "v-large"}]
    spec = {"metadata": {"name": "vectors"}, "spec": {"backends": backends}}
    route = {"name": "vectors", "when": {"operations": ["Embeddings"]}, "tiers": [{"name": "vectors"}]}
    rules = {"metadata": {"name": "documents"}, "spec": {"models": [{"name": "documents"}], "routes": [route]}}
    kinds = {"apiVersion": "weir.dev/v1alpha1"}
    save(tmp_path / "all.yaml", {**kinds, "kind": "ModelTier", **spec}, {**kinds, "kind": "RoutingPolicy", **rules})
    result = run("validate", tmp_path)
    assert result.exit_code == 1
    assert "MixedEmbeddings" in result.stdout
    assert "2 models for embeddings: v-large, v-small;" in " ".join(result.stdout.split())


def test_explain_knows_operations(tmp_path: Path) -> None:
    full = ROOT / "examples" / "full"
    asked = (full, "a text", "--namespace", "team-a", "--operation", "Embeddings")
    story = explained(*asked)
    assert (story["route"], story["operation"], story["features"]) == (
        "vectors",
        "Embeddings",
        {"tokens": 2, "turns": 1},
    )
    assert [it["backend"] for it in story["candidates"]] == ["own"]
    assert not story["candidates"][0]["fields"], "a chat's defaults are not for embeddings"
    assert {"route": "quick", "reason": "the operation is Embeddings, not Chat or Responses"} in story["passedOver"]
    assert {it["reason"] for it in story["skipped"]} == {"does not list Embeddings in its endpoints"}
    assert "operation Embeddings" in run("explain", *asked).stdout
    assert "operation Chat" not in run("explain", QUICKSTART, "hi").stdout
    file = tmp_path / "body.json"
    for fields in ({"input": ["one", "two"]}, {"input": [1, 2]}, {"input": "one", "encoding_format": "base64"}):
        file.write_text(json.dumps({"model": "auto", **fields}))
        assert explained(full, "--request", file, "--namespace", "team-a")["operation"] == "Embeddings"
    file.write_text(json.dumps({"model": "auto", "input": "one"}))
    assert explained(full, "--request", file, "--namespace", "team-a")["operation"] == "Responses"
    none = explained(QUICKSTART, "a text", "--operation", "Embeddings")
    assert none["unable"] == "no route of default/assistants serves Embeddings: name it in when.operations of a route"


def test_explain_shows_homes_and_tool_loops(tmp_path: Path) -> None:
    call = {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}]}
    turns = [{"role": "user", "content": "Hi"}, call, {"role": "tool", "tool_call_id": "1", "content": "word " * 9_000}]
    file = tmp_path / "body.json"
    file.write_text(json.dumps({"model": "auto", "messages": turns}))
    story = explained(QUICKSTART, "--request", file)
    assert (story["toolLoop"], story["complexity"]) == (True, "Simple")
    assert "in a tool loop" in run("explain", QUICKSTART, "--request", file).stdout


def test_explain_fits_a_terminal_of_80_columns() -> None:
    arguments = ["explain", str(ROOT / "examples" / "full"), "Compare the two.", "--namespace", "team-a"]
    shown = CliRunner(env={"COLUMNS": "80"}).invoke(app, arguments).stdout
    assert re.search(r"llm/premium / sonnet, claude-sonnet-5 +│ +2 │ +10 │", shown)
    assert re.search(r"price from spec and catalogue 20\d\d", shown)


def test_without_a_terminal_no_table_is_folded() -> None:
    features = [line for line in weir("catalogue", "gpt-4o", env={"COLUMNS": ""}).stdout.splitlines() if "Docu" in line]
    assert features
    assert all("JSONSchema, Tools, Vision" in line for line in features)


def test_a_friendly_question_about_a_proof_is_not_simple() -> None:
    assert explained(QUICKSTART, "Hi, can you prove Fermat's theorem")["complexity"] != "Simple"


def request(folder: Path, **body: Any) -> Path:
    """A file with a request's body."""
    file = folder / "request.json"
    file.write_text(json.dumps({"model": "auto", "messages": [{"role": "user", "content": "Hi"}], **body}))
    return file


def test_explain_reads_a_whole_request_with_tools_and_an_image(tmp_path: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    file = request(tmp_path, tools=tools, messages=[{"role": "user", "content": [image]}])
    features = explained(QUICKSTART, "--request", file)["features"]
    assert (features["tools"], features["images"]) == (1, 1)


def test_explain_reads_an_anthropic_request(tmp_path: Path) -> None:
    file = request(tmp_path, max_tokens=10, system="Be brief.")
    assert explained(QUICKSTART, "--request", file, "--dialect", "Anthropic")["route"] == "quick"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["hi", "--model", "gpt-9"], 1, "may not ask for 'gpt-9'; it may ask for auto"),
        ([], 2, "--request"),
        (["hi", "--header", "novalue"], 2, "NAME:VALUE"),
        (["--request", "gone.json"], 2, "cannot read gone.json"),
        (["--request", str(QUICKSTART / "tiers.yaml")], 1, "JSON"),
    ],
)
def test_explain_says_what_is_wrong(arguments: list[str], code: int, told: str) -> None:
    result = run("explain", QUICKSTART, *arguments)
    assert result.exit_code == code
    assert told in result.stderr


def test_explain_says_who_may_ask_for_nothing() -> None:
    result = run("explain", ROOT / "examples" / "full", "hi", "--namespace", "elsewhere")
    assert result.exit_code == 1
    assert "lets elsewhere/anonymous ask for anything" in result.stderr


@pytest.mark.parametrize(
    ("when", "arguments"),
    [
        ({"headers": [{"name": "X-Stage", "exact": "canary"}]}, ["--header", "x-stage: canary"]),
        ({"features": ["letters"]}, ["--feature", "letters"]),
        ({"userTiers": ["paid"]}, ["--user-tier", "paid"]),
        ({"callers": [{"apiKeys": [{"name": "ci"}]}]}, ["--caller", "ci"]),
    ],
)
def test_explain_takes_routes_by_header_feature_tier_and_caller(
    tmp_path: Path, when: dict[str, Any], arguments: list[str]
) -> None:
    routes = [{"name": "special", "when": when, "tiers": [{"name": "small"}]}, *policy()["spec"]["routes"]]
    save(tmp_path / "all.yaml", tier("http://127.0.0.1:9100"), policy(routes=routes))
    assert explained(tmp_path, "hi")["route"] == "all"
    assert explained(tmp_path, "hi", *arguments)["route"] == "special"


# key create, import litellm, sim, demo


def test_a_key_lets_its_caller_in_and_no_other(manifests: Path) -> None:
    routes = [
        {"name": "paid", "when": {"userTiers": ["paid"]}, "tiers": [{"name": "small"}]},
        *policy()["spec"]["routes"],
    ]
    save(manifests / "policy.yaml", policy(routes=routes))
    made = weir("key", "create", "ci", "--user-tier", "paid")
    key = made.stderr.strip().splitlines()[-1]
    assert key not in made.stdout
    (manifests / "key.yaml").write_text(made.stdout)
    with up(manifests, "--require-keys") as gateway:
        answer = gateway.ask(key=key)
        assert (answer.status, answer.headers["x-weir-route"]) == (200, "paid")
        assert gateway.ask(key=key[:-1]).status == 401
        assert gateway.ask().status == 401
        (manifests / "key.yaml").unlink()
        gateway.command.wait_for("Reloaded")
        assert gateway.ask(key=key).status == 401
    assert key not in gateway.command.said + "".join(gateway.command.stdout)


def test_key_create_as_json_has_both_and_keeps_them_apart() -> None:
    made = facts(run("key", "create", "ci", "-n", "team-a", "-o", "json"))
    assert made["key"].startswith("weir_")
    assert made["secret"]["metadata"]["namespace"] == "team-a"
    assert made["key"] not in json.dumps(made["secret"])


@pytest.mark.parametrize("arguments", [["No_Name"], ["ci", "--namespace", "-"], [""], ["ci", "-n", "a.b"]])
def test_a_key_for_a_name_that_kubernetes_refuses_is_exit_2(arguments: list[str]) -> None:
    result = run("key", "create", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""


@pytest.mark.parametrize("sample", ["simple", "balanced", "latency", "production"])
def test_what_is_imported_from_litellm_is_valid_and_runs(tmp_path: Path, sample: str) -> None:
    config = ROOT / "tests" / "unit" / "importer" / f"{sample}.yaml"
    done = weir("import", "litellm", config, "-o", tmp_path / "manifests")
    assert done.returncode == 0
    keys = dict(
        line.removeprefix("#     export ").split("=")
        for file in (tmp_path / "manifests").glob("*.yaml")
        for line in file.read_text().splitlines()
        if line.startswith("#     export ")
    )
    env = dict.fromkeys(keys, "sk-test")
    checked = weir("validate", tmp_path / "manifests", env=env)
    assert checked.returncode == 0, checked.stdout
    with up(tmp_path / "manifests", env=env) as gateway:
        assert gateway.models()


def test_sim_answers_both_dialects_and_ends_with_0() -> None:
    with running("sim", "--listen", "127.0.0.1:0") as sim:
        url = sim.wait_for(r"models on (http://[\d.:]+\d)")[1]
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}
        version = {"anthropic-version": "2023-06-01"}
        assert http(f"{url}/v1/chat/completions", {**body, "model": "sim-minnow"}).status == 200
        assert http(f"{url}/v1/messages", {**body, "model": "sim-sprat"}, **version).status == 200
        assert sim.stop() == 0


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Any, Path]:
    """Exit code, summary and picture of a short demo."""
    picture = tmp_path_factory.mktemp("demo") / "demo.svg"
    done = weir("demo", "--duration", "8", "--output", "json", "--svg", picture)
    return done.returncode, json.loads(done.stdout), picture


def test_in_the_demo_every_request_is_answered_although_a_model_dies(demonstration: tuple[int, Any, Path]) -> None:
    code, summary, _ = demonstration
    assert code == 0
    assert summary["unanswered"] == 0
    assert summary["answered"] >= 50
    assert summary["failovers"] >= 1
    assert 0 < summary["dollars"] < summary["allPremiumDollars"]
    assert any("dies" in event for event in summary["events"])


def test_in_the_demo_every_tier_answers(demonstration: tuple[int, Any, Path]) -> None:
    answered = {key.split("/")[1] for key, place in demonstration[1]["backends"].items() if place["answered"]}
    assert answered == set(TIERS)


def test_the_demo_draws_its_picture(demonstration: tuple[int, Any, Path]) -> None:
    text = demonstration[2].read_text()
    assert text.startswith("<svg")
    assert "premium" in text


def test_the_demo_without_serve_minds_no_port_that_is_taken(simulator: SimulatorThread) -> None:
    taken = simulator.url.removeprefix("http://")
    assert weir("demo", "--duration", "5", "--listen", taken, "-o", "json").returncode == 0


@pytest.mark.parametrize("option", ["--listen", "--admin"])
def test_the_demo_that_serves_needs_its_ports(simulator: SimulatorThread, option: str) -> None:
    other = "--admin" if option == "--listen" else "--listen"
    addresses = (option, simulator.url.removeprefix("http://"), other, "127.0.0.1:0")
    done = weir("demo", "--duration", "5", "--serve", *addresses)
    assert done.returncode == 2
    assert option in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_shows_what_it_has_seen(number: signal.Signals) -> None:
    with running("demo") as demo:
        demo.wait_for("requests a second")
        assert demo.stop(number) == 130
    assert "answered" in "".join(demo.stdout)


def test_what_the_demo_says_to_try_works_until_ctrl_c() -> None:
    with running("demo", "--duration", "5", "--serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") as demo:
        demo.wait_for(r"print\(client.*\)\)\n")
        _, curl, python = "".join(demo.stdout).partition("The gateway is up")[2].split("\n\n")
        for command in (["bash", "-c", curl], [sys.executable, "-c", python]):
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            assert re.search("chat.completion|ChatCompletion", done.stdout)
        # What callers ask for afterwards, right or wrong, changes nothing about the demo's own success.
        assert http(curl.split()[1], {}).status == 400
        assert demo.stop(signal.SIGINT) == 0
