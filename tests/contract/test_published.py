"""Published files, from both sides: the router reads exactly the files that the operator writes."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.test_golden import compiled as example
from support.published import VALUES, compiled, policy, published, tier
from weir_operator.compile import Compiled
from weir_operator.publish.publication import Publication
from weir_router.contract import CompiledConfig, ConfigRejected, Secrets, digest
from weir_router.contract.published import INDEX_FILE, Index, assemble, parse_index, shard_file

GOLDEN = Path(__file__).parent / "full.index.v1.json"

NAMES = st.text("abcxyz-0", min_size=1, max_size=8)
POLICIES = st.lists(
    st.builds(policy, NAMES, namespace=NAMES, created=st.sampled_from([0.0, 5.0]), not_ready=st.none() | st.text()),
    unique_by=lambda it: it.key,
    min_size=1,
    max_size=12,
)
TIERS = st.lists(
    st.builds(tier, NAMES, st.sampled_from([(), VALUES[:1], VALUES[1:], VALUES])),
    unique_by=lambda it: it.name,
    max_size=6,
)
CONFIGS = st.builds(
    lambda policies, tiers, routers, anonymous: compiled(
        *policies, tiers=tiers, routers=routers, anonymous_namespace=anonymous
    ),
    POLICIES,
    TIERS,
    st.integers(1, 9),
    st.none() | NAMES,
)
quick = settings(max_examples=40, deadline=None)


def read(publication: Publication, files: dict[str, bytes] | None = None) -> tuple[CompiledConfig, Secrets]:
    """The config and secrets that a router reads from the publication's index and `files`."""
    return assemble(parse_index(publication.files[INDEX_FILE]), publication.files if files is None else files)


@quick
@given(CONFIGS)
def test_what_is_published_is_what_was_compiled(what: Compiled):
    config, secrets = read(published(what, 7))
    used = {it.credential for tier in config.tiers.values() for it in tier.backends}
    assert config == msgspec.structs.replace(what.config, revision=7)
    assert list(config.tiers) == list(what.config.tiers)
    assert secrets.caller_keys == what.secrets.caller_keys
    assert secrets.credentials == {key: value for key, value in what.secrets.credentials.items() if key in used}


@quick
@given(CONFIGS, st.randoms(use_true_random=False))
def test_a_missing_file_is_refused_and_named(what: Compiled, rng):
    publication = published(what)
    lost = rng.choice(sorted(publication.index.files))
    files = {name: content for name, content in publication.files.items() if name != lost}
    with pytest.raises(ConfigRejected, match="revision 1 is not there yet") as caught:
        read(publication, files)
    assert lost in str(caught.value)


@quick
@given(CONFIGS, st.randoms(use_true_random=False))
def test_a_file_that_is_not_what_its_name_says_is_refused(what: Compiled, rng):
    publication = published(what)
    torn = rng.choice(sorted(publication.index.files))
    content = publication.files[torn]
    bad = rng.choice([b"", content[:-1], content[: len(content) // 2], gzip.compress(b"{}"), b"other"])
    with pytest.raises(ConfigRejected, match="damaged") as caught:
        read(publication, publication.files | {torn: bad})
    assert torn in str(caught.value)


@quick
@given(CONFIGS, CONFIGS)
def test_an_index_never_makes_a_config_of_another_one_s_files(one: Compiled, other: Compiled):
    first, second = published(one, 1), published(other, 2)
    if first.index.files <= second.index.files:
        assert read(first, second.files) == read(first)
    else:
        with pytest.raises(ConfigRejected, match="revision 1 is not there yet"):
            read(first, second.files)


@quick
@given(CONFIGS, CONFIGS)
def test_files_of_two_revisions_side_by_side_serve_either_index(one: Compiled, other: Compiled):
    first, second = published(one, 1), published(other, 2)
    both = first.files | second.files
    assert read(first, both) == read(first)
    assert read(second, both) == read(second)


@pytest.mark.parametrize(
    ("index", "why"),
    [
        (b"", "not an index"),
        (b"[]", "not an index"),
        (b"{}", "'missing' is not understood"),
        (b'{"apiVersion": "config.weir.dev/v2", "shards": "new"}', "upgrade the router"),
        (b'{"apiVersion": "config.weir.dev/v1", "shards": [1]}', "not an index"),
    ],
)
def test_what_is_no_index_is_refused_with_a_reason(index: bytes, why: str):
    with pytest.raises(ConfigRejected, match=why):
        parse_index(index)


def test_a_shard_of_a_wrong_shape_is_refused():
    shard = b'{"tiers": 3}'
    index = Index(shards={"00": digest(shard)})
    with pytest.raises(ConfigRejected, match="shard 00 of revision 0 cannot be read"):
        assemble(index, {shard_file("00", digest(shard)): gzip.compress(shard)})


def test_a_shard_that_is_known_is_not_read_again_and_missed_all_the_same_when_it_is_gone():
    files = published(compiled()).files
    index, known = parse_index(files[INDEX_FILE]), {}
    first, _ = assemble(index, files, known)
    again, _ = assemble(index, files, known)
    assert all(again.tiers[key] is tier for key, tier in first.tiers.items())
    shard = next(name for name in files if name.startswith("shard-"))
    with pytest.raises(ConfigRejected, match="is not there yet"):
        assemble(index, {name: it for name, it in files.items() if name != shard}, known)


def test_shards_that_are_known_change_no_result_and_old_ones_are_forgotten():
    known = {}
    for what in (compiled(), compiled(policy("b")), compiled(policy("b"), policy("c"))):
        publication = published(what)
        index = parse_index(publication.files[INDEX_FILE])
        assert assemble(index, publication.files, known) == read(publication)
        assert known.keys() == set(index.shards.values())


def test_no_refusal_shows_a_value():
    publication = published(compiled())
    (torn,) = (name for name in publication.files if name.startswith("credential."))
    with pytest.raises(ConfigRejected) as caught:
        read(publication, publication.files | {torn: b"sk-torn-value"})
    assert "sk-torn" not in str(caught.value)


def test_the_golden_index_is_what_the_full_example_publishes():
    text = msgspec.json.format(published(example("full"), 7).files[INDEX_FILE], indent=2).decode() + "\n"
    if os.environ.get("WEIR_WRITE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_the_golden_index_is_read_with_fields_that_a_newer_operator_adds():
    data = msgspec.json.decode(GOLDEN.read_bytes())
    newer = msgspec.json.encode(data | {"future": {"a": [1]}})
    config, secrets = assemble(parse_index(newer), published(example("full"), 7).files)
    assert config == example("full").config
    assert list(secrets.credentials.values()) == ["replace-me"]
