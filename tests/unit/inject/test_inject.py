"""The injected pod: its changes, the parts that stay, and that a second round changes nothing."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_cli import early
from weir_operator.sidecar.expected import CONTAINER, IDENTITY, KEPT, NO, YES
from weir_operator.sidecar.inject import (
    AUTHORITIES,
    GATEWAY_AUTHORITIES,
    METRICS,
    OVERRIDE_ENV_FROM,
    PLACEHOLDER,
    PORT,
    Injection,
    Settings,
    inject,
)

SETTINGS = Settings(
    image="weir:1",
    gateway="http://weir-gateway.w",
    config_server="https://weir-operator.w.svc:8443",
    installation="weir",
)
CA = "-----BEGIN CERTIFICATE-----\n..."
OPENAI = {"OPENAI_BASE_URL": "http://127.0.0.1:18080/v1", "OPENAI_API_KEY": PLACEHOLDER}
ANTHROPIC = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:18080", "ANTHROPIC_API_KEY": PLACEHOLDER}


def container(name: str = "app", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "app", **fields}


def pod(*containers: dict[str, Any], metadata: Any = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": metadata or {"name": "p"}, "spec": {"containers": list(containers or (container(),)), **spec}}


def patched(pod: dict[str, Any], injection: Injection) -> dict[str, Any]:
    """`pod` with the patch (RFC 6902), which only has additions and replaced variables."""
    result = copy.deepcopy(pod)
    for step in injection.patch:
        assert step["op"] == "add" or (step["op"] == "replace" and "/env/" in step["path"])
        *way, last = (part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:])
        at: Any = result
        for part in way:
            at = at[int(part)] if isinstance(at, list) else at[part]
        if step["op"] == "replace":
            at[int(last)] = step["value"]
        elif isinstance(at, list):
            at.insert(len(at) if last == "-" else int(last), step["value"])
        else:
            at[last] = step["value"]
    return result


def injected(before: dict[str, Any]) -> dict[str, Any]:
    return patched(before, inject(before, SETTINGS, CA))


def env(pod: dict[str, Any], number: int = 0, kind: str = "containers") -> dict[str, Any]:
    return {it["name"]: it.get("value") for it in pod["spec"][kind][number].get("env", ())}


def sidecar(pod: dict[str, Any]) -> dict[str, Any]:
    (it,) = (it for it in pod["spec"]["initContainers"] if it["name"] == CONTAINER)
    return it  # type: ignore[no-any-return]


def test_a_pod_gets_a_native_sidecar_and_base_urls_that_lead_to_it():
    after = injected(pod())
    assert sidecar(after)["restartPolicy"] == "Always"
    assert env(after) == OPENAI | ANTHROPIC
    assert after["metadata"]["annotations"] == {AUTHORITIES: CA}


def test_the_sidecar_knows_whose_it_is_and_where_to_go():
    args = sidecar(injected(pod()))["args"]
    assert args[:2] == ["sidecar", "--caller=$(WEIR_NAMESPACE)/$(WEIR_SERVICE_ACCOUNT)"]
    assert {"--port=18080", "--gateway=http://weir-gateway.w", "--config-server=https://weir-operator.w.svc:8443"} <= {
        *args
    }


def test_it_has_two_tokens_of_two_audiences_and_the_config_server_s_authority():
    identity, kept = injected(pod())["spec"]["volumes"]
    tokens = [it["serviceAccountToken"] for it in identity["projected"]["sources"] if "serviceAccountToken" in it]
    assert {it["path"]: it["audience"] for it in tokens} == {"token": "weir/weir", "config-token": "weir-config/weir"}
    assert (identity["name"], kept["name"], kept["emptyDir"]["medium"]) == (IDENTITY, KEPT, "Memory")


def test_a_public_authority_needs_no_file():
    before = pod()
    after = patched(before, inject(before, SETTINGS, ""))
    assert "annotations" not in after["metadata"]
    assert "downwardAPI" not in str(after["spec"]["volumes"])


def test_it_is_as_restricted_as_pod_security_asks_for():
    context = sidecar(injected(pod()))["securityContext"]
    assert context["runAsNonRoot"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_nothing_about_it_can_hold_the_pod():
    it = sidecar(injected(pod()))
    assert not {"startupProbe", "readinessProbe", "livenessProbe", "lifecycle"} & it.keys()
    assert it["resources"]["limits"].keys() == {"cpu", "memory"}


def test_it_is_in_the_form_that_opens_its_port_first_of_all(monkeypatch: pytest.MonkeyPatch):
    it = sidecar(injected(pod(metadata={"annotations": {PORT: "20000"}})))
    opened: list[str] = []
    monkeypatch.setattr(early, "listen", opened.extend)
    with early.start(["weir", *it["args"]], {variable["name"]: "team-a" for variable in it["env"]}):
        assert "--port=20000" in opened


def test_it_goes_before_the_other_init_containers_which_may_use_it():
    after = injected(pod(initContainers=[container("migrate"), container("warm", env=[{"name": "A", "value": "1"}])]))
    assert [it["name"] for it in after["spec"]["initContainers"]] == [CONTAINER, "migrate", "warm"]
    assert env(after, 1, "initContainers") == OPENAI | ANTHROPIC
    assert env(after, 2, "initContainers") == {"A": "1"} | OPENAI | ANTHROPIC


def test_what_the_pod_has_stays():
    volume, note = {"name": "data", "emptyDir": {}}, {"team": "a"}
    before = pod(container(env=[{"name": "A", "value": "1"}]), volumes=[volume], metadata={"annotations": note})
    after = injected(before)
    assert after["spec"]["volumes"][0] == volume
    assert after["metadata"]["annotations"] == {**note, AUTHORITIES: CA}
    assert env(after) == {"A": "1"} | OPENAI | ANTHROPIC


@pytest.mark.parametrize(
    ("own", "added"),
    [
        ({"OPENAI_BASE_URL": "https://own"}, ANTHROPIC),
        ({"ANTHROPIC_BASE_URL": "https://own"}, OPENAI),
        ({"OPENAI_API_KEY": "sk-own"}, {"OPENAI_BASE_URL": OPENAI["OPENAI_BASE_URL"]} | ANTHROPIC),
        ({"ANTHROPIC_API_KEY": "sk-own"}, OPENAI | {"ANTHROPIC_BASE_URL": ANTHROPIC["ANTHROPIC_BASE_URL"]}),
        ({"ANTHROPIC_AUTH_TOKEN": "own"}, OPENAI | {"ANTHROPIC_BASE_URL": ANTHROPIC["ANTHROPIC_BASE_URL"]}),
    ],
)
def test_a_variable_that_a_container_sets_is_not_touched(own: dict[str, str], added: dict[str, str]):
    variables = [{"name": name, "value": value} for name, value in own.items()]
    assert env(injected(pod(container(env=variables)))) == own | added


@pytest.mark.parametrize("empty", [{"value": ""}, {}, {"value": " "}])
@pytest.mark.parametrize("envs", [[], [{"secretRef": {"name": "s"}}]])
def test_an_empty_variable_counts_as_unset(empty: dict[str, str], envs: list[Any]):
    """Charts render an empty value where none was given, and it wins over an `envFrom`."""
    names = [
        "A",
        "OPENAI_BASE_URL",
        "OPENAI_API_KEY",
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
    ]
    before = pod(container(env=[{"name": it, **empty} for it in names], envFrom=envs))
    after = injected(before)
    assert [it["name"] for it in after["spec"]["containers"][0]["env"]] == names
    assert (OPENAI | ANTHROPIC).items() <= env(after).items()
    assert inject(after, SETTINGS, CA).patch == ()


def test_an_empty_key_beside_a_token_stays_empty():
    own = {"ANTHROPIC_API_KEY": "", "ANTHROPIC_AUTH_TOKEN": "own"}
    variables = [{"name": name, "value": value} for name, value in own.items()]
    url = {"ANTHROPIC_BASE_URL": ANTHROPIC["ANTHROPIC_BASE_URL"]}
    assert env(injected(pod(container(env=variables)))) == own | OPENAI | url


def test_of_two_values_of_a_variable_the_last_counts():
    def given(*values: str) -> dict[str, Any]:
        return pod(container(env=[{"name": "OPENAI_BASE_URL", "value": it} for it in values]))

    assert env(injected(given("", "https://own")))["OPENAI_BASE_URL"] == "https://own"
    assert env(injected(given("https://own", "")))["OPENAI_BASE_URL"] == OPENAI["OPENAI_BASE_URL"]


def test_a_variable_out_of_a_secret_is_set_too():
    own = {"name": "OPENAI_API_KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    assert env(injected(pod(container(env=[own]))))["OPENAI_API_KEY"] is None


@pytest.mark.parametrize("source", [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}, "prefix": "OPEN"}])
def test_what_an_env_from_may_set_is_left_alone_and_said(source: dict[str, Any]):
    injection = inject(pod(container(envFrom=[source])), SETTINGS, CA)
    (warning,) = injection.warnings
    assert warning.startswith("container app: OPENAI_BASE_URL")
    assert "OPENAI_BASE_URL" not in str(injection.patch)


def test_an_env_from_with_another_prefix_is_no_obstacle():
    assert env(injected(pod(container(envFrom=[{"prefix": "APP_"}])))) == OPENAI | ANTHROPIC


def test_an_annotation_says_that_no_env_from_sets_them():
    before = pod(container(envFrom=[{}]), metadata={"annotations": {OVERRIDE_ENV_FROM: "true"}})
    assert env(injected(before)) == OPENAI | ANTHROPIC


@pytest.mark.parametrize("kind", ["labels", "annotations"])
@pytest.mark.parametrize("value", NO)
def test_a_pod_that_does_not_want_one_gets_none(kind: str, value: str):
    assert inject(pod(metadata={kind: {"weir.dev/inject": value}}), SETTINGS, CA) == Injection()


@pytest.mark.parametrize(
    ("annotation", "value", "why"),
    [
        (METRICS, "yes", 'neither "true" nor "false"'),
        (OVERRIDE_ENV_FROM, "1", 'neither "true" nor "false"'),
        (PORT, "80", "no port from 1024 to 65535"),
        (PORT, "http", "no port from 1024 to 65535"),
    ],
)
def test_an_annotation_with_a_value_that_means_nothing_is_named(annotation: str, value: str, why: str):
    (warning,) = inject(pod(metadata={"annotations": {annotation: value}}), SETTINGS, CA).warnings
    assert annotation in warning
    assert why in warning


@pytest.mark.parametrize("value", YES)
def test_every_spelling_of_true_means_true(value: str):
    annotations = {METRICS: value, OVERRIDE_ENV_FROM: value}
    after = injected(pod(container(envFrom=[{}]), metadata={"annotations": annotations}))
    assert env(after) == OPENAI | ANTHROPIC
    assert "--admin=0.0.0.0:18090" in sidecar(after)["args"]


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (pod(hostNetwork=True), "every process of the node could use this pod's identity"),
        (pod(os={"name": "windows"}), "no image for Windows"),
        (pod(container(CONTAINER)), "a container called weir-sidecar"),
        (pod(volumes=[{"name": KEPT}]), "a volume called weir-kept"),
    ],
)
def test_what_would_break_a_pod_is_not_done_and_said(before: dict[str, Any], why: str):
    injection = inject(before, SETTINGS, CA)
    assert injection.patch == ()
    assert why in injection.warnings[0]


def test_it_goes_out_of_the_way_of_ports_that_containers_say_they_listen_on():
    ports = [{"containerPort": 18080}, {"containerPort": 18081}, {"containerPort": 18090}]
    after = injected(pod(container(ports=ports)))
    assert {"--port=18082", "--admin=127.0.0.1:18091"} <= {*sidecar(after)["args"]}
    assert env(after)["OPENAI_BASE_URL"] == "http://127.0.0.1:18082/v1"


@pytest.mark.parametrize(
    ("everywhere", "annotation", "is_open"),
    [
        (False, None, False),
        (False, "true", True),
        (False, "yes", False),
        (True, None, True),
        (True, "false", False),
    ],
)
def test_other_pods_reach_its_admin_port_only_where_that_is_asked_for(
    everywhere: bool, annotation: str | None, is_open: bool
):
    before = pod(metadata={"annotations": {METRICS: annotation}} if annotation else {})
    settings = msgspec.structs.replace(SETTINGS, metrics=everywhere)
    it = sidecar(patched(before, inject(before, settings, CA)))
    assert f"--admin={'0.0.0.0' if is_open else '127.0.0.1'}:18090" in it["args"]
    assert ("ports" in it) == is_open


def test_origins_whose_pages_may_call_are_arguments_of_the_sidecar():
    origins = ("https://app.example.com", "app:")
    pod_ = pod()
    after = patched(pod_, inject(pod_, msgspec.structs.replace(SETTINGS, allowed_origins=origins), CA))
    assert sidecar(after)["args"][-2:] == ["--allow-origin=https://app.example.com", "--allow-origin=app:"]


def test_a_pod_may_choose_the_port():
    after = injected(pod(metadata={"annotations": {PORT: "20000"}}))
    assert env(after)["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:20000"


@pytest.mark.parametrize("port", ["80", "70000", "x", "", "-1"])
def test_a_port_that_is_none_is_not_chosen(port: str):
    assert "--port=18080" in sidecar(injected(pod(metadata={"annotations": {PORT: port}})))["args"]


def test_a_container_that_another_webhook_added_meanwhile_is_led_to_the_sidecar_that_is_there():
    after = injected(pod(metadata={"annotations": {PORT: "20000"}}))
    after["spec"]["containers"].append(container("late"))
    again = injected(after)
    assert env(again, 1)["OPENAI_BASE_URL"] == "http://127.0.0.1:20000/v1"
    assert len(again["spec"]["initContainers"]) == 1


VARIABLES = st.sampled_from(["OPENAI_BASE_URL", "OPENAI_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", "A"])
VALUES = st.sampled_from([{"value": "own"}, {"value": ""}, {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}])
ENVS = st.lists(
    st.builds(lambda name, value: {"name": name, **value}, VARIABLES, VALUES),
    max_size=3,
    unique_by=lambda it: it["name"],
)
CONTAINERS = st.builds(
    lambda env, source, port: container(env=env, envFrom=source, ports=port),
    st.none() | ENVS,
    st.none() | st.just([{"prefix": "X_"}]) | st.just([{}]),
    st.none() | st.just([{"containerPort": 18080}]),
)
PODS = st.builds(
    lambda containers, init, volumes: pod(*containers, initContainers=init, volumes=volumes),
    st.lists(CONTAINERS, min_size=1, max_size=3),
    st.none() | st.lists(CONTAINERS, max_size=2),
    st.none() | st.just([]) | st.just([{"name": "data"}]),
)


@given(PODS)
def test_twice_is_once(before: dict[str, Any]):
    once = injected(before)
    assert inject(once, SETTINGS, CA).patch == ()


@given(PODS)
def test_no_value_that_was_there_changes(before: dict[str, Any]):
    after = injected(before)
    own = [it for it in after["spec"].get("initContainers") or () if it["name"] != CONTAINER]
    old, new = (
        before["spec"]["containers"] + (before["spec"]["initContainers"] or []),
        after["spec"]["containers"] + own,
    )
    for one, other in zip(old, new, strict=True):
        had = one.pop("env") or []
        now = (other.pop("env", None) or [])[: len(had)]
        assert [it for it, was in zip(now, had, strict=True) if was.get("value") != ""] == [
            it for it in had if it.get("value") != ""
        ]
        assert one == other


@pytest.mark.parametrize("annotations", [{}, {"team": "a"}])
@pytest.mark.parametrize("of_config_server", ["", CA])
def test_a_private_authority_of_the_gateway_comes_with_the_pod(annotations: dict[str, str], of_config_server: str):
    before = pod(metadata={"name": "p", "annotations": annotations} if annotations else None)
    after = patched(before, inject(before, SETTINGS, of_config_server, "GATEWAY"))
    named = {GATEWAY_AUTHORITIES: "GATEWAY"} | ({AUTHORITIES: CA} if of_config_server else {})
    assert after["metadata"]["annotations"] == annotations | named
    assert "--gateway-ca-file=/run/weir/gateway-ca.crt" in sidecar(after)["args"]
    (files,) = (it["downwardAPI"]["items"] for it in after["spec"]["volumes"][0]["projected"]["sources"][2:])
    ways = {it["path"]: it["fieldRef"]["fieldPath"] for it in files}
    assert ways["gateway-ca.crt"] == f"metadata.annotations['{GATEWAY_AUTHORITIES}']"
    assert len(ways) == len(named)
    assert inject(after, SETTINGS, of_config_server, "GATEWAY").patch == ()


def test_without_one_no_option_and_no_annotation_is_there():
    after = injected(pod())
    assert not any("gateway-ca" in it for it in (*sidecar(after)["args"], *after["metadata"]["annotations"]))
