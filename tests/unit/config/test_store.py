"""The config is swapped whole, and the last good one is kept."""

import msgspec
import pytest

from weir_router.config.store import ConfigStore, decode
from weir_router.contract import Backend, CompiledConfig, ConfigRejected, Dialect, Secrets, Tier

BACKEND = Backend(name="b", provider=Dialect.OPENAI, base_url="http://x/v1", model="m", credential="hash")
WITH_CREDENTIAL = CompiledConfig(revision=2, tiers={"llm/t": Tier(namespace="llm", name="t", backends=(BACKEND,))})


def test_listeners_hear_of_a_swap():
    store, heard = ConfigStore(), []
    store.subscribe(lambda config, secrets: heard.append((config.revision, secrets)))
    store.apply(CompiledConfig(revision=7), Secrets())
    assert heard == [(7, Secrets())]


def test_a_late_listener_hears_of_the_config_that_is_there():
    store, heard = ConfigStore(), []
    store.apply(CompiledConfig(revision=7), Secrets())
    store.subscribe(lambda config, secrets: heard.append(config.revision))
    assert heard == [7]


def test_a_config_whose_credential_has_not_arrived_is_refused_and_the_last_good_one_kept():
    store = ConfigStore()
    store.apply(CompiledConfig(revision=1), Secrets())
    with pytest.raises(ConfigRejected, match="credential"):
        store.apply(WITH_CREDENTIAL, Secrets())
    assert store.config.revision == 1
    assert "'b'" in store.rejected


def test_a_good_config_clears_the_rejection():
    store = ConfigStore()
    with pytest.raises(ConfigRejected):
        store.apply(WITH_CREDENTIAL, Secrets())
    store.apply(WITH_CREDENTIAL, Secrets(credentials={"hash": "value"}))
    assert store.rejected is None


def test_an_unknown_major_version_is_refused_whatever_else_it_holds():
    with pytest.raises(ConfigRejected, match="v2"):
        decode(b'{"apiVersion": "config.weir.dev/v2", "tiers": "something new"}')


def test_a_store_refuses_an_unknown_version_too():
    with pytest.raises(ConfigRejected, match="upgrade"):
        ConfigStore().apply(CompiledConfig(api_version="config.weir.dev/v9"), Secrets())


def test_unknown_fields_are_ignored():
    assert decode(b'{"apiVersion": "config.weir.dev/v1", "revision": 3, "new": {"a": 1}}').revision == 3


def test_a_config_survives_the_wire():
    assert decode(msgspec.json.encode(WITH_CREDENTIAL)) == WITH_CREDENTIAL


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"apiVersion": 3}', b'{"apiVersion": "config.weir.dev/v1", "tiers": []}']
)
def test_what_is_not_a_config_is_refused_with_a_reason(data):
    with pytest.raises(ConfigRejected):
        decode(data)
