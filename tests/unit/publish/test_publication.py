"""Published objects of a config: deterministic, split so that a change stays small, and without visible secrets."""

from __future__ import annotations

import gzip
import random
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.published import KEY_HASH, LLM_CREDENTIALS, NAMES, VALUES, compiled, policy, published, tier
from weir_operator.compile import Compiled
from weir_operator.compile.room import CREDENTIAL_SECRETS, credential_shard, shard_of
from weir_operator.kube.store import Kind
from weir_operator.publish.publication import ConfigTooLarge, Names, Publication
from weir_router.contract import CompiledConfig, Route, Secrets, digest
from weir_router.contract.published import INDEX_FILE, credential_file


def shards_of(publication: Publication) -> dict[str, str]:
    return publication.index.shards


def changed(before: Publication, after: Publication) -> set[str]:
    """The objects that differ."""
    old, new = dict(before.objects), dict(after.objects)
    return {name.name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}


def test_equal_configs_give_equal_bytes():
    rules = [policy(f"p{number}", models=("a", "b")) for number in range(20)]
    assert published(compiled(*rules)).files == published(compiled(*reversed(rules))).files


def test_sets_and_dictionaries_have_one_order():
    labels = {str(number): "x" for number in range(9)}
    backwards = dict(reversed(labels.items()))
    one, other = (policy(routes=(Route(name="r", tiers=(), require=it),)) for it in (labels, backwards))
    assert published(compiled(one)).files == published(compiled(other)).files


def test_only_the_index_knows_the_revision():
    what = published(compiled())
    assert changed(what, what.at(2)) == {"weir-index"}
    assert what.at(2).index.revision == 2


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 60), which=st.integers(0, 59))
def test_a_changed_policy_changes_its_shard_and_the_index_only(count: int, which: int):
    rules = [policy(f"p{number}") for number in range(count)]
    before = published(compiled(*rules))
    one = rules[which % count]
    rules[which % count] = policy(one.name, models=("changed",))
    shard = NAMES.shards[shard_of(one.key)].name
    assert changed(before, published(compiled(*rules))) == {shard, "weir-index"}


def test_a_new_generation_alone_is_told():
    before, after = compiled(), compiled()
    after.config.generations["RoutingPolicy/team-a/assistants"] = 2
    shard = NAMES.shards[shard_of("team-a/assistants")].name
    assert changed(published(before), published(after)) == {shard, "weir-index"}


def test_a_changed_credential_changes_the_secret_its_tier_and_the_index():
    before, after = published(compiled(tiers=[tier()])), published(compiled(tiers=[tier(values=VALUES[1:])]))
    shard = NAMES.shards[shard_of("llm/small")].name
    assert changed(before, after) == {LLM_CREDENTIALS, shard, "weir-index"}


def test_the_shard_of_a_name_never_changes():
    """Routers do not depend on the assignment, but a new one would write all shards anew."""
    assert [shard_of(it) for it in ("team-a/assistants", "llm/small", "llm/budget")] == ["11", "13", "03"]


def test_policies_spread_over_all_shards():
    assert len(shards_of(published(compiled(*(policy(f"p{number}") for number in range(200)))))) == 16


def test_what_is_named_comes_before_what_names_it():
    order = [name.name for name, _ in published(compiled()).objects]
    assert order[:2] == [LLM_CREDENTIALS, "weir-caller-keys"]
    assert order[-1] == "weir-index"


def test_no_config_map_holds_a_secret():
    for name, files in published(compiled()).objects:
        text = b"".join(gzip.decompress(it) if file.endswith(".gz") else it for file, it in files.items()).decode()
        found = [it for it in (VALUES[0], KEY_HASH) if it in text]
        assert not found if name.kind is Kind.CONFIG_MAP else found


def test_a_credential_that_no_backend_uses_is_not_published():
    assert credential_file(digest(VALUES[1].encode())) not in published(compiled()).files


def test_without_secrets_there_is_no_secret():
    what = Compiled(compiled(tiers=[tier(values=())]).config, Secrets(), ())
    assert all(name.kind is Kind.CONFIG_MAP for name, _ in published(what).objects)


def test_nothing_at_all_is_an_index():
    assert set(published(Compiled(CompiledConfig(), Secrets(), ())).files) == {INDEX_FILE}


def test_every_file_is_a_key_that_a_config_map_can_have():
    assert all(re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", name) for name in published(compiled()).files)


def test_the_index_names_every_other_file():
    what = published(compiled(policy("a"), policy("b")))
    assert what.index.files | {INDEX_FILE} == set(what.files)


def test_a_config_that_no_object_can_hold_is_refused_with_what_to_do():
    noise = random.Random(1).randbytes(1_200_000).hex()
    with pytest.raises(ConfigTooLarge, match=r"ConfigMap/weir-shard-11 would need .* Spread"):
        published(compiled(policy(not_ready=noise)))


def test_too_many_credentials_are_refused():
    values = [f"{number:01000}" for number in range(1_100)]
    secrets = Secrets(credentials={digest(it.encode()): it for it in values})
    with pytest.raises(ConfigTooLarge, match=f"Secret/{LLM_CREDENTIALS}"):
        published(Compiled(compiled(tiers=[tier(values=values)]).config, secrets, ()))


def of_namespaces(*namespaces: str, values: tuple[str, ...] = VALUES) -> Publication:
    """Tiers of namespaces, each with a credential of its own."""
    named = dict(zip(namespaces, values, strict=False))
    tiers = [msgspec.structs.replace(tier(values=[value]), namespace=name) for name, value in named.items()]
    secrets = Secrets(credentials={digest(value.encode()): value for value in named.values()})
    return published(Compiled(compiled(tiers=tiers).config, secrets, ()))


def test_a_namespace_s_credentials_are_in_one_secret_and_no_other_s_change_it():
    assert credential_shard("llm") != credential_shard("team-b")
    before, after = of_namespaces("llm"), of_namespaces("llm", "team-b")
    theirs = NAMES.credentials[credential_shard("team-b")]
    assert {theirs.name} == {it for it in changed(before, after) if "credentials" in it}
    assert list(dict(after.objects)[theirs]) == [credential_file(digest(VALUES[1].encode()))]
    assert VALUES[1].encode() not in dict(after.objects)[NAMES.credentials[credential_shard("llm")]].values()


def test_a_key_of_two_namespaces_is_in_both_of_their_secrets():
    what = of_namespaces("llm", "team-b", values=(VALUES[0], VALUES[0]))
    places = {name.name for name, files in what.objects if VALUES[0].encode() in files.values()}
    assert places == {NAMES.credentials[credential_shard(it)].name for it in ("llm", "team-b")}
    assert what.index.credentials == (digest(VALUES[0].encode()),)


@given(st.text(st.characters(categories=["Ll", "Nd"]), min_size=1, max_size=63))
def test_names_of_credential_secrets_are_known_before_any_namespace(namespace: str):
    names = Names("a" * 50).credentials
    assert len(names) == CREDENTIAL_SECRETS
    assert len(names[credential_shard(namespace)].name) <= 253


@pytest.mark.parametrize("installation", ["", "-a", "a-", "A", "a.b", "a" * 51, "a\n"])
def test_an_installation_must_do_as_a_name_and_a_label(installation: str):
    with pytest.raises(ValueError, match="installation"):
        Names(installation)


def test_a_publication_s_repr_shows_no_value():
    assert VALUES[0] not in repr(published(compiled()))
