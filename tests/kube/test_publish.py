"""Publishing to a real API server: the objects, the order of writes, and their survival of faults."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from apiserver import ApiServer
from kubernetes import client

from support.published import KEY_HASH, LLM_CREDENTIALS, VALUES, compiled, policy, published, tier
from weir_operator.compile import Compiled
from weir_operator.compile.room import credential_shard
from weir_operator.kube.store import Kind, ObjectId, PublishFailed, Stored
from weir_operator.publish.publisher import OLD_SECONDS, RETIRE_AFTER, ConfigTooLarge, Published, Publisher
from weir_operator.publish.state_keys import KEEP_SECONDS, ROTATE_SECONDS, SPREAD, StateKeys
from weir_router.contract import CompiledConfig, ConfigRejected, Secrets, digest
from weir_router.contract.published import INDEX_FILE, assemble, credential_file, parse_index

ONE = compiled(policy("a"), policy("b", models=("b",)))
TWO = compiled(policy("a"), policy("b", models=("changed",)), tiers=[tier(values=VALUES[1:])])


class Cluster:
    """A namespace as a pod sees it that mounts everything, and a publisher with a clock that tests move."""

    def __init__(self, server: ApiServer, api: client.ApiClient, namespace: str) -> None:
        self.server = server
        self.api = api
        self.namespace = namespace
        self.now = 0.0
        self.publisher = self.new_publisher()

    def new_publisher(self, **options: Any) -> Publisher:
        return Publisher(self.api, self.namespace, "weir", monotonic=lambda: self.now, **options)

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        done = self.server.kubectl("-n", self.namespace, *arguments, input=input)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def objects(self, kinds: str = "configmap,secret") -> dict[str, Any]:
        found = json.loads(self.kubectl("get", kinds, "-o", "json"))["items"]
        return {f"{it['kind']}/{it['metadata']['name']}": it for it in found}

    def versions(self) -> dict[str, str]:
        return {name: it["metadata"]["resourceVersion"] for name, it in self.objects().items()}

    def files(self, kinds: str = "configmap,secret") -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for it in self.objects(kinds).values():
            text, binary = it.get("data", {}), it.get("binaryData", {})
            if it["kind"] == "Secret":
                text, binary = {}, text
            found |= {name: value.encode() for name, value in text.items()}
            found |= {name: base64.b64decode(value) for name, value in binary.items()}
        return found

    def routed(self) -> tuple[CompiledConfig, Secrets]:
        """The config and secrets that a new router would use."""
        files = self.files()
        return assemble(parse_index(files[INDEX_FILE]), files)


def connect(server: ApiServer) -> client.ApiClient:
    """The administrator's client."""
    options = client.Configuration(host=server.url, api_key={"BearerToken": f"Bearer {server.token}"}, retries=False)
    options.ssl_ca_cert = str(server.ca_file)
    options.proxy = None  # one in the environment could not reach this machine's loopback
    return client.ApiClient(options)


@pytest.fixture(scope="module")
def api(apiserver: ApiServer) -> Iterator[client.ApiClient]:
    with connect(apiserver) as api:
        yield api


@pytest.fixture
def cluster(apiserver: ApiServer, api: client.ApiClient, namespace: str) -> Cluster:
    return Cluster(apiserver, api, namespace)


def names(objects: tuple[ObjectId, ...]) -> list[str]:
    return [it.name for it in objects]


def models(what: tuple[CompiledConfig, Secrets]) -> set[str]:
    return {model for policy in what[0].policies for model in policy.models}


def test_a_router_reads_what_was_compiled(cluster: Cluster):
    result = cluster.publisher.publish(ONE)
    assert (result.revision, names(result.written)[0], names(result.written)[-1]) == (
        1,
        LLM_CREDENTIALS,
        "weir-index",
    )
    config, secrets = cluster.routed()
    assert config == msgspec.structs.replace(ONE.config, revision=1)
    assert (secrets.caller_keys, list(secrets.credentials.values())) == (ONE.secrets.caller_keys, [VALUES[0]])


def test_everything_says_whose_it_is(cluster: Cluster):
    cluster.publisher.publish(ONE)
    for it in cluster.objects().values():
        assert it["metadata"]["labels"] == {
            "app.kubernetes.io/name": "weir",
            "app.kubernetes.io/instance": "weir",
            "app.kubernetes.io/component": "router-config",
            "app.kubernetes.io/managed-by": "weir-operator",
            "weir.dev/installation": "weir",
        }


def test_no_config_map_holds_a_secret(cluster: Cluster):
    cluster.publisher.publish(ONE)
    for name, content in cluster.files("configmap").items():
        text = (gzip.decompress(content) if name.endswith(".gz") else content).decode()
        assert VALUES[0] not in text
        assert KEY_HASH not in text
    assert VALUES[0] in {it.decode("latin-1") for it in cluster.files("secret").values()}


def test_unchanged_content_is_not_written_again_nor_by_a_new_operator(cluster: Cluster):
    cluster.publisher.publish(ONE)
    before = cluster.versions()
    assert cluster.publisher.publish(ONE) == Published(1)
    cluster.now += 2 * RETIRE_AFTER
    assert cluster.publisher.publish(ONE) == Published(1)
    assert cluster.new_publisher().publish(ONE) == Published(1)
    assert cluster.versions() == before


def test_one_changed_policy_writes_its_shard_and_the_index(cluster: Cluster):
    cluster.publisher.publish(ONE)
    result = cluster.publisher.publish(compiled(policy("a", models=("new",)), policy("b", models=("b",))))
    assert result.revision == 2
    assert len(result.written) == 2
    assert models(cluster.routed()) == {"new", "b"}


def test_the_revision_goes_on_after_a_restart_and_after_the_index_is_lost(cluster: Cluster):
    cluster.publisher.publish(ONE)
    second = cluster.new_publisher()
    assert second.publish(TWO).revision == 2
    cluster.kubectl("delete", "configmap", "weir-index")
    assert second.publish(TWO).revision == 3
    cluster.kubectl("patch", "configmap", "weir-index", "-p", '{"data": {"index.json": "{"}}')
    assert second.publish(TWO).revision == 4
    assert models(cluster.routed()) == {"auto", "changed"}


def test_an_index_of_another_major_version_is_followed_by_a_higher_revision(cluster: Cluster):
    cluster.publisher.publish(ONE)
    newer = json.dumps({"data": {"index.json": '{"apiVersion": "config.weir.dev/v9", "revision": 41, "shards": 3}'}})
    cluster.kubectl("patch", "configmap", "weir-index", "-p", newer)
    assert cluster.new_publisher().publish(ONE).revision == 42


def test_what_somebody_deleted_or_spoilt_is_put_back_as_the_same_revision(cluster: Cluster):
    cluster.publisher.publish(ONE)
    shard = next(name for name in cluster.objects() if "shard" in name).removeprefix("ConfigMap/")
    cluster.kubectl("delete", "configmap", shard)
    cluster.kubectl("delete", "secret", "weir-caller-keys")
    cluster.kubectl("label", "secret", LLM_CREDENTIALS, "app.kubernetes.io/name=spoilt", "--overwrite")
    result = cluster.publisher.publish(ONE)
    assert (result.revision, set(names(result.written))) == (1, {shard, LLM_CREDENTIALS, "weir-caller-keys"})
    assert models(cluster.routed()) == {"auto", "b"}


def test_the_old_config_is_whole_until_the_index_is_written(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    """An operator that dies at any step leaves the old config or the new one, never less."""
    cluster.publisher.publish(ONE)
    write = cluster.publisher._store.write

    def dying(name: ObjectId, files: dict[str, bytes], old: Stored | None) -> Stored:
        assert models(cluster.routed()) == {"auto", "b"}
        if name.name == "weir-index":
            raise KeyboardInterrupt
        return write(name, files, old)

    monkeypatch.setattr(cluster.publisher._store, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        cluster.publisher.publish(TWO)
    config, secrets = cluster.routed()
    assert config == msgspec.structs.replace(ONE.config, revision=1)
    assert list(secrets.credentials.values()) == [VALUES[0]]
    result = cluster.new_publisher().publish(TWO)
    assert (result.revision, names(result.written)) == (2, ["weir-index"])
    assert models(cluster.routed()) == {"auto", "changed"}


def test_what_is_no_longer_named_stays_for_a_while_and_then_goes(cluster: Cluster):
    cluster.publisher.publish(ONE)
    old = cluster.files()
    assert cluster.publisher.publish(TWO).call_again_in == RETIRE_AFTER
    assert assemble(parse_index(old[INDEX_FILE]), cluster.files())[0].revision == 1
    cluster.now += RETIRE_AFTER - 1
    assert cluster.publisher.publish(TWO) == Published(2, call_again_in=1.0)
    cluster.now += 1
    result = cluster.publisher.publish(TWO)
    assert {LLM_CREDENTIALS, "weir-shard-13"} <= set(names(result.removed))
    assert cluster.files() == published(TWO, 2).files
    assert cluster.publisher.publish(TWO) == Published(2)


def test_only_the_last_two_revisions_are_kept_however_often_it_changes(cluster: Cluster):
    for number in range(5):
        cluster.publisher.publish(compiled(policy(models=(f"m{number}",))))
    (shard,) = (it for name, it in cluster.objects().items() if name.endswith("shard-11"))
    assert len(shard["binaryData"]) == 2


def test_objects_that_are_no_longer_needed_go_away(cluster: Cluster):
    cluster.publisher.publish(ONE)
    nothing = Compiled(CompiledConfig(), Secrets(), ())
    cluster.publisher.publish(nothing)
    cluster.now += RETIRE_AFTER
    cluster.publisher.publish(nothing)
    assert set(cluster.objects()) == {"ConfigMap/weir-index"}


def test_a_new_operator_does_not_know_how_old_the_index_is_and_waits(cluster: Cluster):
    cluster.publisher.publish(ONE)
    cluster.publisher.publish(TWO)
    assert cluster.new_publisher().publish(TWO) == Published(2, call_again_in=RETIRE_AFTER)


def test_a_conflict_is_read_again_and_what_others_added_stays(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    cluster.publisher.publish(ONE)
    write, times = cluster.publisher._store.write, iter([1])

    def late(name: ObjectId, files: dict[str, bytes], old: Stored | None) -> Stored:
        if name.name == "weir-index" and next(times, None):
            cluster.kubectl("annotate", "configmap", "weir-index", "somebody=else")
        return write(name, files, old)

    monkeypatch.setattr(cluster.publisher._store, "write", late)
    result = cluster.publisher.publish(TWO)
    assert (result.revision, names(result.written)[-1]) == (2, "weir-index")
    assert cluster.objects()["ConfigMap/weir-index"]["metadata"]["annotations"] == {"somebody": "else"}


def test_of_two_operators_at_once_the_later_index_stands_on_the_earlier(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
):
    cluster.publisher.publish(ONE)
    write, other = cluster.publisher._store.write, iter([cluster.new_publisher()])

    def overtaken(name: ObjectId, files: dict[str, bytes], old: Stored | None) -> Stored:
        if publisher := next(other, None):
            publisher.publish(compiled(policy("c", models=("c",))))
        return write(name, files, old)

    monkeypatch.setattr(cluster.publisher._store, "write", overtaken)
    assert cluster.publisher.publish(TWO).revision == 3
    assert models(cluster.routed()) == {"auto", "changed"}


def test_conflicts_without_end_are_told(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    cluster.publisher.publish(ONE)
    write = cluster.publisher._store.write

    def always_late(name: ObjectId, files: dict[str, bytes], old: Stored | None) -> Stored:
        cluster.kubectl("annotate", name.kind.lower(), name.name, f"at={cluster.now}", "--overwrite")
        cluster.now += 1
        return write(name, files, old)

    monkeypatch.setattr(cluster.publisher._store, "write", always_late)
    with pytest.raises(PublishFailed, match="second operator"):
        cluster.publisher.publish(TWO)
    assert models(cluster.routed()) == {"auto", "b"}


def test_an_object_of_somebody_else_is_not_overwritten(cluster: Cluster):
    cluster.kubectl("create", "configmap", "weir-index", "--from-literal=mine=1")
    with pytest.raises(PublishFailed, match="weir-index is there without the labels of this installation"):
        cluster.publisher.publish(ONE)
    assert cluster.objects()["ConfigMap/weir-index"]["data"] == {"mine": "1"}


def test_objects_of_the_installation_that_are_not_published_here_are_left_alone(cluster: Cluster):
    cluster.kubectl("create", "secret", "generic", "tls", "--from-literal=crt=1")
    cluster.kubectl("label", "secret", "tls", "weir.dev/installation=weir")
    cluster.now += 2 * RETIRE_AFTER
    cluster.publisher.publish(ONE)
    assert "Secret/tls" in cluster.objects()


def test_two_installations_in_one_namespace_do_not_touch_each_other(cluster: Cluster):
    cluster.publisher.publish(ONE)
    before = cluster.versions()
    other = Publisher(cluster.api, cluster.namespace, "other", monotonic=lambda: cluster.now)
    cluster.now += 2 * RETIRE_AFTER
    assert other.publish(TWO).revision == 1
    assert before.items() <= cluster.versions().items()


def test_the_one_secret_of_earlier_versions_goes_after_an_hour_and_no_router_is_without(cluster: Cluster):
    cluster.publisher.publish(ONE)
    file = credential_file(digest(VALUES[0].encode()))
    earlier = ObjectId(Kind.SECRET, "weir-credentials")
    files = {file: VALUES[0].encode(), credential_file(digest(b"gone")): b"gone"}
    cluster.publisher._store.write(earlier, files, None)
    cluster.kubectl("delete", "secret", LLM_CREDENTIALS)
    upgraded = cluster.new_publisher()
    result = upgraded.publish(ONE)
    assert (result.revision, names(result.written)) == (1, [LLM_CREDENTIALS])
    cluster.now += RETIRE_AFTER
    result = upgraded.publish(ONE)
    assert (names(result.removed), result.call_again_in) == (["weir-credentials"], OLD_SECONDS - RETIRE_AFTER)
    assert list(cluster.objects("secret")["Secret/weir-credentials"]["data"]) == [file]
    assert upgraded.publish(ONE) == Published(1, call_again_in=OLD_SECONDS - RETIRE_AFTER)
    cluster.now += OLD_SECONDS - RETIRE_AFTER
    assert names(upgraded.publish(ONE).removed) == ["weir-credentials"]
    assert list(cluster.routed()[1].credentials.values()) == [VALUES[0]]
    assert upgraded.publish(ONE).call_again_in is None


def test_a_config_that_is_too_large_is_refused_before_anything_is_written(cluster: Cluster):
    cluster.publisher.publish(ONE)
    before = cluster.versions()
    values = [f"{number:01000}" for number in range(1_100)]
    secrets = Secrets(credentials={digest(it.encode()): it for it in values})
    with pytest.raises(ConfigTooLarge):
        cluster.publisher.publish(Compiled(compiled(tiers=[tier(values=values)]).config, secrets, ()))
    assert cluster.versions() == before


def test_what_is_said_to_fit_does_fit(cluster: Cluster):
    """Names may weigh more than values; etcd's limit counts them, the API server's does not."""
    values = [f"sk-{number:045}" for number in range(5_000)]
    secrets = Secrets(credentials={digest(it.encode()): it for it in values})
    what = Compiled(compiled(tiers=[tier(values=values)]).config, secrets, ())
    size = sum(
        len(it) for it in dict(published(what).objects)[cluster.publisher.names.credentials[credential_shard("llm")]]
    )
    assert size > 350_000
    cluster.publisher.publish(what)
    assert len(cluster.routed()[1].credentials) == 5_000


def test_where_two_revisions_do_not_fit_the_new_one_goes_first(cluster: Cluster):
    def what(digit: str) -> Compiled:
        values = [f"sk-{digit}{number:0500}" for number in range(900)]
        secrets = Secrets(credentials={digest(it.encode()): it for it in values})
        return Compiled(compiled(tiers=[tier(values=values)]).config, secrets, ())

    cluster.publisher.publish(what("1"))
    old = cluster.files()
    cluster.publisher.publish(what("2"))
    assert len(cluster.routed()[1].credentials) == 900
    with pytest.raises(ConfigRejected, match="a credential"):
        assemble(parse_index(old[INDEX_FILE]), cluster.files())


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([], "list on configmaps"),
        (["list"], "create on secrets"),
        (["list", "create"], "update on secrets"),
        (["list", "create", "update"], "delete on configmaps"),
    ],
)
def test_a_missing_right_is_named(cluster: Cluster, rules: list[str], said: str):
    if "create" in rules:
        cluster.publisher.publish(ONE)
    role = {"kind": "Role", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "r"}}
    role["rules"] = [{"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": rules}] if rules else []
    cluster.kubectl("apply", "-f", "-", input=json.dumps(role))
    cluster.kubectl("create", "rolebinding", "r", "--role=r", "--user=nobody")
    with connect(cluster.server) as api:
        api.set_default_header("Impersonate-User", "nobody")
        limited = Publisher(api, cluster.namespace, "weir", monotonic=lambda: cluster.now)
        if "update" in rules:
            limited.publish(compiled(policy("c")))
            cluster.now += RETIRE_AFTER
        with pytest.raises(PublishFailed, match=f"the operator's Role needs {said}"):
            limited.publish(TWO if "update" not in rules else compiled(policy("c")))


def test_a_namespace_that_is_not_there_is_named(cluster: Cluster):
    with pytest.raises(PublishFailed, match="is there a namespace nowhere"):
        Publisher(cluster.api, "nowhere", "weir").publish(ONE)


def test_an_api_server_that_is_away_is_told_without_what_was_sent():
    options = client.Configuration(host="http://127.0.0.1:9", retries=False)
    options.proxy = None
    with (
        client.ApiClient(options) as api,
        pytest.raises(PublishFailed, match=r"cannot list ConfigMaps in x: \w+Error$"),
    ):
        Publisher(api, "x", "weir").publish(ONE)


class Days:
    """A wall clock that tests move."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def keys(self, **options: Any) -> StateKeys:
        return StateKeys(wall=lambda: self.now, **options)


def state_keys(cluster: Cluster) -> list[str]:
    return [it.key for it in cluster.routed()[1].state_keys]


def test_keys_of_state_outlive_operators_and_are_replaced_in_time(cluster: Cluster):
    days = Days()
    result = cluster.new_publisher(state_keys=days.keys()).publish(ONE)
    (first,) = state_keys(cluster)
    assert result.call_again_in == ROTATE_SECONDS
    second = cluster.new_publisher(state_keys=days.keys())
    assert second.publish(ONE) == Published(1, call_again_in=ROTATE_SECONDS)
    days.now += ROTATE_SECONDS
    assert second.publish(ONE).revision == 2
    assert state_keys(cluster)[0] == first
    assert len(state_keys(cluster)) == 2
    days.now += SPREAD + KEEP_SECONDS
    cluster.new_publisher(state_keys=days.keys()).publish(ONE)
    assert first not in state_keys(cluster)
    assert len(state_keys(cluster)) == 2  # the second has sealed for thirty days, and so has a successor


def test_two_replicas_that_lead_in_turns_keep_the_same_keys(cluster: Cluster):
    days = Days()
    publishers = [cluster.new_publisher(state_keys=days.keys()) for _ in range(2)]
    for number in range(4):
        publishers[number % 2].publish(ONE)
    assert publishers[0].publish(ONE).revision == 1
    days.now += ROTATE_SECONDS
    for number in range(4):
        publishers[1 - number % 2].publish(ONE)
    assert publishers[0].publish(ONE).revision == 2
    assert len(state_keys(cluster)) == 2


def test_a_deleted_secret_of_state_is_written_back_from_memory_and_otherwise_made_anew(cluster: Cluster):
    days = Days()
    publisher = cluster.new_publisher(state_keys=days.keys())
    publisher.publish(ONE)
    (first,) = keys = state_keys(cluster)
    cluster.kubectl("delete", "secret", "weir-state-keys")
    assert names(publisher.publish(ONE).written) == ["weir-state-keys"]
    assert state_keys(cluster) == keys
    seen = cluster.routed()[1].state_keys
    cluster.kubectl("delete", "secret", "weir-state-keys")
    cluster.new_publisher(state_keys=days.keys(mirrored=lambda: seen)).publish(ONE)
    assert state_keys(cluster) == keys
    cluster.kubectl("delete", "secret", "weir-state-keys")
    assert cluster.new_publisher(state_keys=days.keys()).publish(ONE).revision == 2
    assert first not in state_keys(cluster)


def test_keys_of_state_are_in_their_secret_only(cluster: Cluster):
    cluster.new_publisher(state_keys=Days().keys()).publish(ONE)
    (key,) = state_keys(cluster)
    holders = {
        name
        for name, it in cluster.objects().items()
        for file, content in {**it.get("data", {}), **it.get("binaryData", {})}.items()
        if key in _readable(file, content)
    }
    assert holders == {"Secret/weir-state-keys"}


def _readable(file: str, content: str) -> str:
    if not file.endswith(".gz"):
        return content + base64.b64decode(content + "==", validate=False).decode("latin-1")
    return gzip.decompress(base64.b64decode(content)).decode()
