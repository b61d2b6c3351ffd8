"""A directory of manifests becomes `Observed`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from weir_operator.compile import compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.kinds import KINDS
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.manifests import MAX_BYTES, Loaded, load
from weir_operator.observe.observed import SecretKey
from weir_operator.problems.problem import Reason

TIER = """apiVersion: weir.dev/v1alpha1
kind: ModelTier
metadata: {name: budget}
spec:
  backends:
  - name: one
    provider: OpenAI
    model: gpt-4o-mini
    credentials: {secretRef: {name: openai, key: api-key}}
"""
SECRET = """apiVersion: v1
kind: Secret
metadata: {name: openai, labels: {weir.dev/credential: "true"}}
"""


def reading(folder: Path, text: str = TIER, **options) -> Loaded:
    (folder / "it.yaml").write_text(text)
    return load(folder, KINDS, **options)


def told(loaded: Loaded) -> list[tuple[Reason, str | None]]:
    return [(problem.reason, problem.where) for problem in loaded.problems]


def test_objects_are_of_the_given_namespace_unless_they_say_otherwise(tmp_path):
    other = TIER.replace("{name: budget}", "{name: budget, namespace: llm}")
    loaded = reading(tmp_path, TIER + "---\n" + other, namespace="team-a")
    assert [str(it.key) for it in loaded.observed.of("ModelTier")] == ["team-a/budget", "llm/budget"]
    assert loaded.observed.namespaces == {"team-a": {}, "llm": {}}
    assert (loaded.observed.local, loaded.observed.class_name) == (True, "weir")


def test_errors_of_a_spec_come_with_file_and_line(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "tier.yml").write_text("# comment\n---\n" + TIER.replace("OpenAI", "OpenAPI"))
    compiled = compile_config(load(tmp_path, KINDS).observed, KINDS, catalogue=Catalogue.load(), now=0.0)
    (problem,) = compiled.problems
    assert (problem.where, problem.field) == ("deep/tier.yml:9", "spec.backends[0].provider")


def test_a_field_that_is_not_there_is_at_the_nearest_one_that_is(tmp_path):
    (manifest,) = reading(tmp_path).observed.of("ModelTier")
    assert manifest.where("spec.backends[0].price.input") == "it.yaml:6"
    assert manifest.where("spec.nothing") == "it.yaml:4"
    assert manifest.where("nothing") == "it.yaml:1"


def test_a_file_is_as_good_as_a_directory(tmp_path):
    (tmp_path / "any.txt").write_text(TIER)
    assert len(load(tmp_path / "any.txt", KINDS).observed.of("ModelTier")) == 1
    assert not load(tmp_path, KINDS).observed.of("ModelTier")


def test_hidden_files_and_folders_are_left_out(tmp_path):
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "copy.yaml").write_text(TIER)
    (tmp_path / ".#it.yaml").write_text(TIER)
    loaded = reading(tmp_path)
    assert (len(loaded.observed.of("ModelTier")), loaded.problems) == (1, ())


def test_other_kinds_are_left_out_with_a_notice(tmp_path):
    kustomization = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
    loaded = reading(tmp_path, f"{TIER}---\n{kustomization}---\nmodel_list: []\n---\n- a\n")
    assert loaded.notices == (
        "it.yaml:11: Kustomization is not for Weir, left out",
        "it.yaml:14: no Kubernetes manifest, left out",
        "it.yaml:16: no Kubernetes manifest, left out",
    )
    assert not loaded.problems


def test_a_broken_file_leaves_the_others(tmp_path):
    (tmp_path / "a.yaml").write_text("a: [\n")
    (tmp_path / "b.yaml").write_bytes(b"a: \xff\n")
    (tmp_path / "c.yaml").symlink_to("nowhere")
    loaded = reading(tmp_path)
    assert told(loaded) == [
        (Reason.YAML_INVALID, "a.yaml:2"),
        (Reason.YAML_INVALID, "b.yaml"),
        (Reason.YAML_INVALID, "c.yaml"),
    ]
    assert len(loaded.observed.of("ModelTier")) == 1


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        (TIER.replace("kind: ModelTier\n", ""), Reason.NOT_A_MANIFEST, 1),
        (TIER.replace("kind: ModelTier", "kind: ModelTeir"), Reason.UNKNOWN_KIND, 1),
        (TIER.replace("v1alpha1", "v2"), Reason.UNKNOWN_KIND, 1),
        (TIER.replace("weir.dev/v1alpha1", "v1"), Reason.UNKNOWN_KIND, 1),
        (TIER.replace("{name: budget}", "{}"), Reason.METADATA_INVALID, 3),
        (TIER.replace("{name: budget}", "[budget]"), Reason.METADATA_INVALID, 3),
        (TIER.replace("{name: budget}", "{name: Budget}"), Reason.METADATA_INVALID, 3),
        (TIER.replace("{name: budget}", "{name: a, namespace: 3}"), Reason.METADATA_INVALID, 3),
        (SECRET.replace("name: openai, ", ""), Reason.METADATA_INVALID, 3),
        ("apiVersion: v1\nkind: Namespace\n", Reason.METADATA_INVALID, 1),
        (TIER + "sepc: {}\n", Reason.INVALID_SPEC, 10),
        (TIER + "kind: ModelTier\n", Reason.DUPLICATE_KEY, 10),
        (TIER + "---\n" + TIER, Reason.DUPLICATE_OBJECT, 13),
        (SECRET + "---\n" + SECRET, Reason.DUPLICATE_OBJECT, 7),
        (SECRET + "data: {api-key: '***'}\n", Reason.SECRET_INVALID, 4),
    ],
)
def test_what_is_wrong_with_an_object_comes_with_its_line(tmp_path, text, reason, line):
    assert told(reading(tmp_path, text)) == [(reason, f"it.yaml:{line}")]


def test_of_two_objects_of_one_name_the_first_counts(tmp_path):
    loaded = reading(tmp_path, TIER + "---\n" + TIER.replace("one", "two"))
    assert loaded.observed.of("ModelTier")[0].spec["backends"][0]["name"] == "one"
    assert "it.yaml:1 already" in loaded.problems[0].message


def test_a_list_is_what_is_in_it(tmp_path):
    item = TIER.replace("\n", "\n  ").rstrip()
    loaded = reading(tmp_path, f"apiVersion: v1\nkind: List\nitems:\n- {item}\n- 3\n")
    (manifest,) = loaded.observed.of("ModelTier")
    assert manifest.where("spec.backends[0].model") == "it.yaml:11"
    assert manifest.where("") == "it.yaml:4"


def test_secrets_are_decoded_as_the_api_server_does(tmp_path):
    text = SECRET + "data: {a: aGk=, b: aGk=}\nstringData: {b: plain, c: 3}\n"
    secret = reading(tmp_path, text).observed.secrets[ObjectName("default", "openai")]
    assert secret.data == {"a": b"hi", "b": b"plain"}
    assert secret.labels == {"weir.dev/credential": "true"}
    assert "hi" not in repr(secret)


def test_namespaces_bring_their_labels(tmp_path):
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: llm, labels: {team: a}}\n"
    assert reading(tmp_path, text).observed.namespaces == {"default": {}, "llm": {"team": "a"}}


KEY = SecretKey("default", "openai", "api-key")
FULL_NAME = "WEIR_SECRET_DEFAULT_OPENAI_API_KEY"


@pytest.mark.parametrize(
    ("environ", "value"),
    [
        ({FULL_NAME: "sk-1", "OPENAI_API_KEY": "sk-2"}, "sk-1"),
        ({"OPENAI_API_KEY": "sk-2\n"}, "sk-2"),
        ({FULL_NAME: "", "OPENAI_API_KEY": "sk-2"}, "sk-2"),
    ],
)
def test_a_secret_that_is_not_there_may_come_from_the_environment(tmp_path, environ, value):
    loaded = reading(tmp_path, environ=environ)
    assert loaded.observed.environment == {KEY: value}
    assert loaded.notices[0].startswith("Secret default/openai is not here; its key 'api-key' comes from $")
    assert value not in repr(loaded)


@pytest.mark.parametrize(
    "text",
    [
        TIER + "---\n" + SECRET,
        TIER.replace("model:", "baseURL: http://elsewhere/v1\n    model:"),
        TIER + TIER[TIER.index("  - name") :].replace("one", "two").replace("model:", "baseURL: http://x\n    model:"),
        TIER.replace("OpenAI", "Nobody"),
        TIER.replace("{name: openai, key: api-key}", "{name: [], key: api-key}"),
        TIER.replace("credentials:", "credentials: 3 #"),
        TIER[: TIER.index("spec:")] + "spec: 3\n",
    ],
)
def test_a_well_known_key_goes_only_where_it_belongs(tmp_path, text):
    assert not reading(tmp_path, text, environ={"OPENAI_API_KEY": "sk-2"}).observed.environment


def test_elsewhere_the_full_name_is_needed(tmp_path):
    text = TIER.replace("model:", "baseURL: http://elsewhere/v1\n    model:")
    assert reading(tmp_path, text, environ={FULL_NAME: "sk-1"}).observed.environment == {KEY: "sk-1"}


def test_the_providers_own_address_may_be_written_out(tmp_path):
    text = TIER.replace("model:", "baseURL: https://api.openai.com/v1/\n    model:")
    assert reading(tmp_path, text, environ={"OPENAI_API_KEY": "sk-2"}).observed.environment == {KEY: "sk-2"}


def test_a_file_that_is_too_large_is_not_parsed(tmp_path):
    loaded = reading(tmp_path, "# " + "é" * MAX_BYTES)
    assert told(loaded) == [(Reason.YAML_INVALID, "it.yaml")]
    assert "larger" in loaded.problems[0].message


def test_a_pipe_among_the_manifests_is_passed_over(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    assert len(reading(tmp_path).observed.of("ModelTier")) == 1
