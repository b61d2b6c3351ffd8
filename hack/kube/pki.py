"""Certificates and kubeconfigs of the one-node cluster, made with openssl. Called by `cluster.py`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

DAYS = "365"

CLIENTS = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", "kube"),
    "kube-scheduler": ("system:kube-scheduler", "kube"),
    "kubelet": ("system:node:node1", "system:nodes"),
    "kube-proxy": ("system:kube-proxy", "kube"),
    "front-proxy": ("front-proxy", "kube"),
}
"""Common name and organisation, which are user and group to the API server."""


class Pki:
    """A folder with one authority, what it signed, and a kubeconfig per client."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, server: str, address: str, service: str) -> None:
        """Everything, for an API server at the URL `server`; once. `address`: the node's; `service`: the API's own."""
        self._folder.mkdir(parents=True, mode=0o700)
        name = ("-subj", "/CN=weir-cluster", "-days", DAYS)
        self._openssl("req", "-x509", *self._key("ca"), "-out", str(self.certificate("ca")), *name)
        self._openssl("genrsa", "-out", str(self.key("service-accounts")), "2048")
        public = ("-pubout", "-out", str(self.certificate("service-accounts")))
        self._openssl("rsa", "-in", str(self.key("service-accounts")), *public)
        names = ["DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc", "DNS:localhost"]
        self.sign("kube-apiserver", ("kube-apiserver", "kube"), [*names, f"IP:{address}", f"IP:{service}"])
        for client, subject in CLIENTS.items():
            self.sign(client, subject, ["DNS:node1", f"IP:{address}"])
            self._write_kubeconfig(client, server)

    def sign(self, name: str, subject: tuple[str, str], names: list[str]) -> None:
        """A key and a certificate for servers and clients; `subject` is common name and organisation."""
        request, extensions = self._folder / "request.pem", self._folder / "extensions"
        common_name, organisation = subject
        self._openssl("req", *self._key(name), "-out", str(request), "-subj", f"/O={organisation}/CN={common_name}")
        extensions.write_text(f"subjectAltName={','.join(names)}\nextendedKeyUsage=serverAuth,clientAuth\n")
        authority = ("-CA", str(self.certificate("ca")), "-CAkey", str(self.key("ca")), "-CAcreateserial")
        signed = ("-out", str(self.certificate(name)), "-extfile", str(extensions), "-days", DAYS)
        self._openssl("x509", "-req", "-in", str(request), *authority, *signed)

    def key(self, name: str) -> Path:
        """A private key."""
        return self._folder / f"{name}.key"

    def certificate(self, name: str) -> Path:
        """A certificate; of `service-accounts` the public key."""
        return self._folder / f"{name}.crt"

    def kubeconfig(self, client: str) -> Path:
        """How one of `CLIENTS` reaches the API server."""
        return self._folder / f"{client}.kubeconfig"

    def _key(self, name: str) -> tuple[str, ...]:
        return ("-newkey", "rsa:2048", "-nodes", "-keyout", str(self.key(name)))

    def _openssl(self, *args: str) -> None:
        subprocess.run(["openssl", *args], check=True, capture_output=True)

    def _write_kubeconfig(self, client: str, server: str) -> None:
        user = {"client-certificate": str(self.certificate(client)), "client-key": str(self.key(client))}
        cluster = {"server": server, "certificate-authority": str(self.certificate("ca"))}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "weir",
            "clusters": [{"name": "weir", "cluster": cluster}],
            "users": [{"name": client, "user": user}],
            "contexts": [{"name": "weir", "context": {"cluster": "weir", "user": client}}],
        }
        path = self.kubeconfig(client)
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=1))
