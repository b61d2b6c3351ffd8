"""Arguments and files of each program of the one-node cluster. Pure: paths and addresses in, arguments and files out.

Called by `cluster.py`. All of it listens on the loopback or on the bridge, which no real interface is part of.
"""

from __future__ import annotations

import json
from pathlib import Path

from pki import Pki

BRIDGE = "weir0"
NETWORK = "weir"
ADDRESS = "10.244.0.1"
PODS = "10.244.0.0/24"
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
PORT = 6443
SERVER = f"https://{ADDRESS}:{PORT}"
ETCD, ETCD_PEER = "http://127.0.0.1:23790", "http://127.0.0.1:23800"
NODE = "node1"
PAUSE_IMAGE = "localhost/pause:1"


def etcd(state: Path) -> list[str]:
    """The store. `--unsafe-no-fsync`: the data need not outlive the machine."""
    peers = [f"--listen-peer-urls={ETCD_PEER}", f"--initial-advertise-peer-urls={ETCD_PEER}"]
    clients = [f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}"]
    data = [f"--data-dir={state / 'etcd'}", f"--initial-cluster=default={ETCD_PEER}"]
    return [*data, *clients, *peers, "--unsafe-no-fsync", "--log-level=warn"]


def kube_apiserver(pki: Pki) -> list[str]:
    """The API server, with node authorisation, RBAC and the aggregation layer, which metrics-server needs."""
    return [
        f"--etcd-servers={ETCD}",
        f"--bind-address={ADDRESS}",
        f"--advertise-address={ADDRESS}",
        f"--secure-port={PORT}",
        f"--service-cluster-ip-range={SERVICES}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--client-ca-file={pki.certificate('ca')}",
        f"--tls-cert-file={pki.certificate('kube-apiserver')}",
        f"--tls-private-key-file={pki.key('kube-apiserver')}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki.certificate('service-accounts')}",
        f"--service-account-signing-key-file={pki.key('service-accounts')}",
        f"--kubelet-client-certificate={pki.certificate('admin')}",
        f"--kubelet-client-key={pki.key('admin')}",
        "--kubelet-preferred-address-types=InternalIP",  # the node's name resolves nowhere
        f"--requestheader-client-ca-file={pki.certificate('ca')}",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki.certificate('front-proxy')}",
        f"--proxy-client-key-file={pki.key('front-proxy')}",
        "--enable-aggregator-routing",
        "--allow-privileged",
    ]


def kube_controller_manager(pki: Pki) -> list[str]:
    """Deployments, garbage collection, ServiceAccount tokens and the rest."""
    return [
        *_as_client(pki, "kube-controller-manager"),
        f"--service-account-private-key-file={pki.key('service-accounts')}",
        f"--root-ca-file={pki.certificate('ca')}",
        f"--cluster-signing-cert-file={pki.certificate('ca')}",
        f"--cluster-signing-key-file={pki.key('ca')}",
        f"--cluster-cidr={PODS}",
        "--use-service-account-credentials",
        "--horizontal-pod-autoscaler-sync-period=5s",  # 15 s by default: scenarios wait for it
    ]


def kube_scheduler(pki: Pki) -> list[str]:
    """Pods to the one node."""
    return _as_client(pki, "kube-scheduler")


def _as_client(pki: Pki, name: str) -> list[str]:
    config = pki.kubeconfig(name)
    asks = [f"--kubeconfig={config}", f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}"]
    return [*asks, "--leader-elect=false", "--bind-address=127.0.0.1"]


def containerd(state: Path) -> list[str]:
    """The container runtime, apart from one that the machine may run already."""
    return [f"--config={state / 'containerd.toml'}"]


def containerd_config(state: Path) -> str:
    """Its config. `restrict_oom_score_adj`: without CAP_SYS_RESOURCE no sandbox would start."""
    return f"""version = 2
root = "{state / "containerd"}"
state = "{state / "containerd-run"}"
[grpc]
  address = "{socket(state)}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{state / "cni"}"
"""


def socket(state: Path) -> Path:
    """Path of containerd's socket."""
    return state / "containerd.sock"


def cni_config(state: Path) -> str:
    """Pods on the bridge, with addresses from a file of our own."""
    ranges = {"type": "host-local", "dataDir": str(state / "addresses"), "ranges": [[{"subnet": PODS}]]}
    ipam = ranges | {"routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipMasq": False, "hairpinMode": True, "ipam": ipam}
    return json.dumps({"cniVersion": "0.4.0", "name": NETWORK, "plugins": [bridge]})


def kubelet(state: Path, pki: Pki) -> list[str]:
    """The node's agent."""
    return [
        f"--config={state / 'kubelet.json'}",
        f"--kubeconfig={pki.kubeconfig('kubelet')}",
        f"--hostname-override={NODE}",
        f"--node-ip={ADDRESS}",
        f"--root-dir={state / 'kubelet'}",
    ]


def kubelet_config(state: Path, pki: Pki) -> str:
    """Its config: cgroups of either version, swap or not, and no image collected while a disk fills up."""
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki.certificate("ca"))},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "failSwapOn": False,
        "failCgroupV1": False,
        "containerRuntimeEndpoint": f"unix://{socket(state)}",
        "clusterDNS": [ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": "/etc/resolv.conf",
        "podLogsDir": str(state / "pods"),
        "tlsCertFile": str(pki.certificate("kubelet")),
        "tlsPrivateKeyFile": str(pki.key("kubelet")),
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "enforceNodeAllocatable": [],
    }
    return json.dumps(config, indent=1)


def kube_proxy(pki: Pki) -> list[str]:
    """Services, by iptables. The machine's own limits of connections stay as they are."""
    return [
        f"--kubeconfig={pki.kubeconfig('kube-proxy')}",
        f"--hostname-override={NODE}",
        f"--cluster-cidr={PODS}",
        "--proxy-mode=iptables",
        f"--nodeport-addresses={PODS}",
        "--bind-address=127.0.0.1",
        "--conntrack-max-per-core=0",
        "--conntrack-min=0",
    ]


def coredns(state: Path) -> list[str]:
    """Names of Services."""
    return ["-conf", str(state / "Corefile")]


def corefile(pki: Pki) -> str:
    """Its config. Names outside of the cluster are not looked up: pods reach nothing there."""
    return f"""cluster.local:53 in-addr.arpa:53 {{
  bind {ADDRESS}
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {pki.kubeconfig("admin")}
  }}
}}
.:53 {{
  bind {ADDRESS}
  template ANY ANY {{
    rcode NXDOMAIN
  }}
}}
"""


def metrics_server(pki: Pki) -> list[str]:
    """CPU and memory of pods, for `kubectl top` and autoscaling."""
    config = pki.kubeconfig("admin")
    return [
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--bind-address={ADDRESS}",
        "--secure-port=4443",
        f"--tls-cert-file={pki.certificate('kube-apiserver')}",
        f"--tls-private-key-file={pki.key('kube-apiserver')}",
        f"--kubelet-certificate-authority={pki.certificate('ca')}",
        "--kubelet-preferred-address-types=InternalIP",
        "--metric-resolution=15s",
    ]


def metrics_api() -> str:
    """How the API server finds metrics-server, which is no pod: a Service without a selector, and its one endpoint."""
    place = {"name": "metrics-server", "namespace": "kube-system"}
    port = {"name": "https", "port": 4443, "protocol": "TCP"}
    objects = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": place,
            "spec": {"ports": [port | {"port": 443, "targetPort": 4443}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": place | {"labels": {"kubernetes.io/service-name": "metrics-server"}},
            "addressType": "IPv4",
            "ports": [port],
            "endpoints": [{"addresses": [ADDRESS]}],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": "v1beta1.metrics.k8s.io"},
            "spec": {
                "group": "metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,  # it is this machine, and the certificate is for another name
                "service": place | {"port": 443},
            },
        },
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
