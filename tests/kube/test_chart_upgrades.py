"""Upgrades by real versions of Helm on a real API server never take a pod, or are refused with what to do instead.

The server has no controllers: `Release.scaled` does what an autoscaler does.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from apiserver import ApiServer
from binaries import ensure_tool, find, find_tool

from support.helm import CHART, ROOT, Helm, only
from support.kube import run
from weir_cli.doctor.checks import APPLY_CRDS

NUMBERS = itertools.count(1)
CRDS = ("modeltiers.weir.dev", "routingpolicies.weir.dev")


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    """An API server of its own, since releases own CRDs; with the kinds of KEDA."""
    assets = find()
    if assets is None:
        pytest.fail("No kube-apiserver yet: run hack/kube/ensure once (make test does).", pytrace=False)
    with ApiServer(assets) as server:
        foreign = str(ROOT / "tests" / "kube" / "foreign" / "crds.yaml")
        run(server, "apply", "--server-side", "-f", foreign)
        run(server, "wait", "--for=condition=Established", "--timeout=20s", "-f", foreign)
        yield server


@dataclass
class Release:
    """One release in one namespace. `crds` is whether it installs them."""

    helm: Helm
    server: ApiServer
    namespace: str
    name: str = "weir"
    crds: bool = False

    def try_(self, command: str, *args: str) -> subprocess.CompletedProcess[str]:
        """Runs one of Helm's commands on the cluster; a failure is not raised."""
        there = ("--kubeconfig", str(self.server.kubeconfig), "--namespace", self.namespace)
        return self.helm.run(command, self.name, *args, *there)

    def chart(self, command: str, *sets: str, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """`helm install` or `helm upgrade` with values."""
        values = [option for it in (*sets, f"crds.install={json.dumps(self.crds)}") for option in ("--set", it)]
        return self.try_(command, str(CHART), *values, *flags)

    def install(self, *sets: str) -> None:
        done = self.chart("install", *sets)
        assert done.returncode == 0, done.stderr

    def upgrade(self, *sets: str) -> str:
        """Upgrades and returns the notes; other values stay."""
        done = self.chart("upgrade", *sets, flags=("--reuse-values",))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def takes_back(self, *sets: str) -> None:
        """Upgrades where the chart wants another number than `kubectl scale` set. Helm 4 wants a flag for that."""
        if self.helm.run("version", "--short").stdout.startswith("v4"):
            assert "conflict" in (told := self.refused(*sets))
            assert ".spec.replicas" in told
            done = self.chart("upgrade", *sets, flags=("--reuse-values", "--force-conflicts"))
            assert done.returncode == 0, done.stderr
        else:
            self.upgrade(*sets)

    def refused(self, *sets: str) -> str:
        """The words with which an upgrade is refused, on one line."""
        before = self.replicas("gateway"), self.replicas("operator")
        done = self.chart("upgrade", *sets, flags=("--reuse-values",))
        assert done.returncode != 0, done.stdout
        assert (self.replicas("gateway"), self.replicas("operator")) == before
        return " ".join(done.stderr.split())

    def deployment(self, part: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            run(self.server, "get", "deployment", f"{self.name}-{part}", "-n", self.namespace, "-o", "json")
        )
        return found

    def replicas(self, part: str = "gateway") -> int:
        return int(self.deployment(part)["spec"]["replicas"])

    def scaled(self, to: int, part: str = "gateway") -> None:
        """Writes the Deployment's scale, as an autoscaler does."""
        run(self.server, "scale", "deployment", f"{self.name}-{part}", "-n", self.namespace, f"--replicas={to}")

    def numbers_since(self, version: str, part: str = "gateway") -> list[int]:
        """`spec.replicas` after every write since a resourceVersion, from the API server's history."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments"
        query = f"watch=1&resourceVersion={version}&timeoutSeconds=1&fieldSelector=metadata.name={self.name}-{part}"
        events = run(self.server, "get", "--raw", f"{path}?{query}").splitlines()
        return [json.loads(it)["object"]["spec"]["replicas"] for it in events]


@pytest.fixture(params=["helm", "helm3"])
def helm(request: pytest.FixtureRequest) -> Helm:
    """Each version of Helm that the chart supports."""
    path = find_tool(request.param)
    if path is None:
        pytest.fail(f"No {request.param} yet: run hack/kube/ensure {request.param} once.", pytrace=False)
    return Helm(path)


@pytest.fixture
def place(server: ApiServer) -> str:
    """A fresh namespace."""
    name = f"place-{next(NUMBERS)}"
    run(server, "create", "namespace", name)
    return name


@pytest.fixture
def release(helm: Helm, server: ApiServer, place: str) -> Release:
    """A release that is not installed yet."""
    return Release(helm, server, place)


ON = "gateway.autoscaling.type={}"
HPA, KEDA, OFF = ON.format("HPA"), ON.format("KEDA"), ON.format("")


@pytest.mark.parametrize("first", [HPA, KEDA])
def test_autoscaling_on_and_off_and_by_another_takes_no_pod(release: Release, first: str) -> None:
    release.install("gateway.replicas=5")
    version = release.deployment("gateway")["metadata"]["resourceVersion"]
    # On: the five stay, though the autoscaler may go down to two
    release.upgrade(first)
    assert release.replicas() == 5
    # What the autoscaler has decided stays as well, in any upgrade
    release.scaled(8)
    release.upgrade("gateway.logRequests=false")
    assert release.replicas() == 8
    # By the other, and off: then, too, and in the upgrades after that
    release.upgrade(KEDA if first == HPA else HPA)
    assert release.replicas() == 8
    notes = release.upgrade(OFF)
    assert "keeps its 8 pods, though gateway.replicas is 5" in notes
    assert "scale deployment weir-gateway --replicas=5" in notes
    release.upgrade("gateway.logRequests=true")
    # And on again; a minimum that is more is the autoscaler's to reach
    release.upgrade(first, "gateway.autoscaling.minReplicas=9")
    numbers = release.numbers_since(version)
    assert numbers[-1] == 8
    assert min(numbers) == 5


def test_a_gateway_without_pods_starts_with_those_that_the_autoscaler_needs(release: Release) -> None:
    release.install("gateway.replicas=0")
    release.upgrade(HPA)
    assert release.replicas() == 2


def test_an_autoscaler_that_would_stop_pods_at_once_is_refused(release: Release) -> None:
    release.install("gateway.replicas=12")
    told = release.refused(HPA)
    assert "maxReplicas is 10, but weir-gateway has 12 pods" in told
    assert "Set maxReplicas to 12 or more" in told
    release.upgrade(HPA, "gateway.autoscaling.maxReplicas=12")
    assert release.replicas() == 12
    assert "maxReplicas is 11, but weir-gateway has 12 pods" in release.refused("gateway.autoscaling.maxReplicas=11")


def test_a_number_that_no_manifest_ever_had_survives_upgrades_and_rollbacks(release: Release) -> None:
    """Helm does not know the field if there was an autoscaler from the start, so it cannot set it back."""
    release.install(HPA)
    release.scaled(7)
    release.upgrade("gateway.logRequests=false")
    assert release.replicas() == 7
    release.scaled(9)
    done = release.try_("rollback", "1")
    assert done.returncode == 0, done.stderr
    assert release.replicas() == 9
    release.upgrade(OFF)
    assert release.replicas() == 9


@pytest.mark.parametrize("part", ["gateway", "operator"])
def test_pods_that_were_added_by_hand_stay_until_the_value_is_lowered(release: Release, part: str) -> None:
    release.install(f"{part}.replicas=4")
    release.scaled(6, part)
    release.upgrade(f"{part}.podLabels.a=b")
    assert release.replicas(part) == 6
    release.upgrade(f"{part}.replicas=5")  # raised or the same: not what stops pods
    assert release.replicas(part) == 6
    release.takes_back(f"{part}.replicas=3")
    assert release.replicas(part) == 3
    release.upgrade(f"{part}.replicas=4")
    assert release.replicas(part) == 4


def test_fewer_by_hand_than_the_value_are_the_value_again(release: Release) -> None:
    release.install("gateway.replicas=3")
    release.scaled(1)
    release.takes_back("gateway.logRequests=false")
    assert release.replicas() == 3


def test_a_gateway_of_an_older_chart_keeps_its_pods(release: Release) -> None:
    release.install("gateway.replicas=3")
    run(release.server, "annotate", "deployment", "weir-gateway", "-n", release.namespace, "weir.dev/replicas-")
    release.scaled(6)
    release.upgrade("gateway.logRequests=false")
    assert release.replicas() == 6


def test_another_name_of_the_installation_is_refused(release: Release) -> None:
    release.install()
    told = release.refused("fullnameOverride=other")
    assert "this release is installed as weir, and would be other" in told
    assert "Set fullnameOverride=weir; for the new name install a second release with crds.install=false" in told


def test_another_class_is_refused(release: Release) -> None:
    release.install()
    told = release.refused("className=second")
    assert "className is second, and this installation serves weir" in told
    assert "Install a second release with className=second and crds.install=false" in told


def test_a_second_release_beside_or_elsewhere_takes_nothing_from_the_first(release: Release, place: str) -> None:
    release.install("gateway.replicas=3")
    beside = Release(release.helm, release.server, place, name="second")
    beside.install("className=second")
    run(release.server, "create", "namespace", f"{place}-b")
    elsewhere = Release(release.helm, release.server, f"{place}-b")
    elsewhere.install("className=third")
    for it in (beside, elsewhere):
        it.upgrade("gateway.logRequests=false")
        done = it.try_("uninstall")
        assert done.returncode == 0, done.stderr
    assert release.replicas() == 3
    run(release.server, "get", f"mutatingwebhookconfigurations/weir.{place}.sidecar.weir.dev")


@pytest.fixture
def without_crds(server: ApiServer) -> Iterator[None]:
    """No CRDs of Weir before and after the test."""
    remove = ("delete", "crd", *CRDS, "--ignore-not-found", "--wait")
    run(server, *remove)
    yield
    run(server, *remove)


TIER = """
apiVersion: weir.dev/v1alpha1
kind: ModelTier
metadata: {name: kept}
spec: {backends: [{name: a, provider: OpenAI, model: gpt-4o-mini, baseURL: "http://a.example/v1"}]}
"""


def test_kept_crds_are_taken_over_as_the_page_says(release: Release, place: str, without_crds: None) -> None:
    release.crds = True
    release.install()
    run(release.server, "wait", "--for=condition=Established", "--timeout=20s", "crd", *CRDS)
    run(release.server, "apply", "-n", place, "-f", "-", input=TIER)

    def there() -> bool:
        return release.server.kubectl("get", "modeltier", "kept", "-n", place).returncode == 0

    # A second release finds the CRDs of the first
    second = Release(release.helm, release.server, place, name="second", crds=True)
    done = second.chart("install", "className=second")
    assert done.returncode != 0
    assert "invalid ownership metadata" in done.stderr
    # They outlast their release, with the objects, and the same release has them again
    for _ in range(2):
        assert release.try_("uninstall").returncode == 0
        assert there()
        release.install()
    assert release.try_("uninstall").returncode == 0
    # A release of another name takes them over with the flag, and only with it
    done = second.chart("install", "className=second")
    assert done.returncode != 0
    assert "invalid ownership metadata" in done.stderr
    done = second.chart("install", "className=second", flags=("--take-ownership",))
    assert done.returncode == 0, done.stderr
    assert there()
    second.upgrade("gateway.logRequests=false")
    # Without the flag it works for a release that leaves the CRDs alone
    release.crds = False
    release.install()
    assert there()


def test_doctors_command_brings_older_crds_up_to_date(release: Release, without_crds: None) -> None:
    """Helm 4 is a manager of its fields, so that another client's apply needs a flag."""
    release.crds = True
    release.install()
    for name in CRDS:
        done = release.server.kubectl("get", "crd", name, "-o", "json")
        older = json.loads(done.stdout)
        for version in older["spec"]["versions"]:
            version["schema"]["openAPIV3Schema"]["description"] = "An older version."
        manager = "helm" if release.helm.run("version", "--short").stdout.startswith("v4") else "kubectl"
        apply = ("apply", "--server-side", "--force-conflicts", f"--field-manager={manager}", "-f", "-")
        run(release.server, *apply, input=json.dumps(older))
    command = [str(release.server.assets / "kubectl"), *shlex.split(APPLY_CRDS)[1:]]
    env = os.environ | {"KUBECONFIG": str(release.server.kubeconfig)}
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "An older version." not in run(release.server, "get", "crd", *CRDS, "-o", "json")


def test_the_notes_say_that_nobody_may_scrape(release: Release) -> None:
    said = "name its namespace in networkPolicy.monitoring"
    scraped = ("monitoring.podMonitor.enabled=true", "networkPolicy.monitoring={monitoring}")
    for values, told in ((scraped[:1], True), (scraped, False), ((), False)):
        done = release.chart("install", *values, flags=("--dry-run=client",))
        assert done.returncode == 0, done.stderr
        assert (said in done.stdout) == told


def test_crds_that_would_be_deleted_with_all_objects_are_not(release: Release, place: str, without_crds: None) -> None:
    release.crds = True
    release.install("crds.keep=false")
    release.crds = False
    told = release.refused()
    assert "Helm would delete them, and with them every ModelTier and RoutingPolicy" in told
    release.crds = True
    release.upgrade("crds.keep=true")
    release.crds = False
    release.upgrade()
    run(release.server, "get", "crd", *CRDS)


@pytest.mark.parametrize("helm_name", ["helm", "helm3"])
def test_a_dry_run_on_the_server_shows_the_number_that_an_upgrade_would_set(
    server: ApiServer, place: str, helm_name: str
) -> None:
    release = Release(Helm(ensure_tool(helm_name)), server, place)
    release.install("gateway.replicas=5")
    done = release.chart("upgrade", HPA, flags=("--reuse-values", "--dry-run=server"))
    assert done.returncode == 0, done.stderr
    assert "\n  replicas: 5\n" in done.stdout


@pytest.mark.parametrize("on_the_server", [True, False])
def test_without_helm_on_the_cluster_the_ways_of_the_page_keep_the_pods(
    server: ApiServer, place: str, on_the_server: bool
) -> None:
    """Rendered manifests take the field away, unless it is given up first, as docs/autoscaling.md says."""

    def manifest(*values: str) -> str:
        objects = Helm(ensure_tool("helm")).render(*values, namespace=place)
        return json.dumps(only(objects, "Deployment", "weir-gateway"))

    def kubectl_apply(text: str) -> int:
        run(server, "apply", *(["--server-side"] if on_the_server else []), "-f", "-", input=text)
        return Release(Helm(ensure_tool("helm")), server, place).replicas()

    fixed, scaled = manifest("--set", "gateway.replicas=5"), manifest("--set", HPA)
    assert kubectl_apply(fixed) == 5
    assert kubectl_apply(scaled) == 1  # what the page warns of
    assert kubectl_apply(fixed) == 5
    if on_the_server:
        run(server, "scale", "deployment/weir-gateway", "-n", place, "--replicas=6")
        assert kubectl_apply(scaled) == 6
    else:
        run(server, "apply", "set-last-applied", "-f", "-", input=scaled)
        assert kubectl_apply(scaled) == 5


def mend(release: Release, page: str, folder: Path, flag: str = "") -> subprocess.CompletedProcess[str]:
    """Runs the shell lines of a runbook's part "Mend" as they stand, in the release's namespace, by its Helm; the last
    one with a flag that the page names.
    """
    part = (ROOT / "docs" / "runbooks" / f"{page}.md").read_text().partition("## Mend")[2].partition("## ")[0]
    lines = "".join(re.findall(r"```sh\n(.*?)```", part, re.DOTALL)).replace("weir-system", release.namespace)
    assert "helm upgrade" in lines
    assert flag in part
    (folder / "helm").unlink(missing_ok=True)
    (folder / "helm").symlink_to(release.helm.path)
    path = os.pathsep.join([str(folder), str(release.server.assets), os.environ["PATH"]])
    env = os.environ | {"PATH": path, "KUBECONFIG": str(release.server.kubeconfig)}
    command = ["sh", "-ec", f"{lines.rstrip()} {flag}"]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def webhooks(release: Release) -> Any:
    name = f"weir.{release.namespace}.sidecar.weir.dev"
    found = json.loads(run(release.server, "get", "mutatingwebhookconfiguration", name, "-o", "json"))
    return found["webhooks"]


BY_HAND: list[Any] = [
    {"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"},
    {"op": "replace", "path": "/webhooks/0/rules", "value": []},
    {"op": "replace", "path": "/webhooks/0/clientConfig/service/name", "value": "other"},
    {"op": "add", "path": "/webhooks/0/namespaceSelector/matchLabels", "value": {"a": "b"}},
    {"op": "add", "path": "/webhooks/1/matchConditions", "value": [{"name": "never", "expression": "false"}]},
    {"op": "remove", "path": "/webhooks/1"},
]
"""Changes of the webhooks by another client, among them kinds that outlast an upgrade by one Helm or both."""


@pytest.mark.parametrize("page", ["WeirWebhookChanged", "WeirWebhookMissing"])
def test_the_runbooks_commands_put_the_webhook_back(release: Release, tmp_path: Path, page: str) -> None:
    release.install()
    before = webhooks(release)
    name = f"mutatingwebhookconfiguration/weir.{release.namespace}.sidecar.weir.dev"
    if page == "WeirWebhookMissing":
        run(release.server, "delete", name)
    else:
        run(release.server, "patch", name, "--type=json", "--patch", json.dumps(BY_HAND))
    done = mend(release, page, tmp_path)
    assert done.returncode == 0, done.stderr
    assert webhooks(release) == before


@pytest.mark.parametrize("gone", [True, False])
def test_the_runbooks_commands_give_the_operator_its_rights_back(release: Release, tmp_path: Path, gone: bool) -> None:
    release.install()
    there = ("-n", release.namespace)
    of = [("clusterrole", f"weir:{release.namespace}:weir:operator"), ("role", "weir-operator", *there)]

    def rules() -> list[str]:
        return [run(release.server, "get", *it, "-o", "jsonpath={.rules}") for it in of]

    before = rules()
    assert all(before)
    for it in of:
        if gone:
            run(release.server, "delete", *it)
        else:
            run(release.server, "patch", *it, "--type=merge", "--patch", '{"rules": []}')
    done = mend(release, "WeirClusterUnknown", tmp_path)
    if done.returncode and not gone:  # Helm 4
        assert "conflict" in done.stderr
        done = mend(release, "WeirClusterUnknown", tmp_path, "--force-conflicts")
    assert done.returncode == 0, done.stderr
    assert rules() == before
