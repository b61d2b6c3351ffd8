"""Requirements of the one-node cluster on the machine, and its changes to it. Called by `cluster.py`.

Changed are: a bridge with its route and one rule of the firewall, forwarding of IPv4, and packages that are missing.
A pod's packets stay on the bridge: what would leave by another interface is dropped.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

from node import ADDRESS, BRIDGE, NETWORK, SERVICES

PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "openssl": "openssl",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
"""Commands, and which package of Debian's has them."""

CONTROLLERS = ("cpu", "memory")
"""Cgroup controllers that a kubelet does not start without."""

PROBE = "weir-probe"
"""Name of objects that test whether they can be made: no longer than an interface's name may be."""

BRIDGE_MAC = "0a:58:" + IPv4Address(ADDRESS).packed.hex(":")
"""Made of `ADDRESS`. A bridge that was given none has the lowest of its ports', which goes with
that port's pod: what other pods send to it then is lost, DNS queries first of all, until they have learned the next.
"""

FORWARD = ("FORWARD", "-i", BRIDGE, "!", "-o", BRIDGE, "-j", "DROP")


class Missing(Exception):
    """This machine cannot run it; the message says what is missing and what to do."""


def check(folder: Path) -> None:
    """Raises `Missing` unless a node can run here, with its state below `folder`; installs missing packages first."""
    if sys.platform != "linux":
        raise Missing("a node needs Linux; this is " + sys.platform)
    if os.geteuid() != 0:
        raise Missing("a node needs root (kubelet and containerd make cgroups, mounts and network namespaces)")
    _install(sorted({package for command, package in PACKAGES.items() if not _there(command)}))
    reasons = {what: _failure(attempt) for what, attempt in attempts(folder)}
    if failed := [f"{what} fails ({reason})" for what, reason in reasons.items() if reason]:
        raise Missing("; ".join(failed))


def attempts(folder: Path) -> list[tuple[str, Callable[[], object]]]:
    """Operations of a node, each to be tried and undone: containers forbid some of them."""
    return [
        ("reading /dev/kmsg", lambda: os.close(os.open("/dev/kmsg", os.O_RDONLY))),
        ("making cgroups", _make_cgroups),
        ("making network namespaces", lambda: _made_and_gone("netns", PROBE)),
        ("making bridges", lambda: _made_and_gone("link", PROBE, "type", "bridge")),
        (f"mounting overlays in {folder}", lambda: _mount_overlay(folder)),
        ("using iptables", lambda: _run("iptables", "--table", "nat", "--list-rules")),
    ]


def _failure(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except subprocess.CalledProcessError as error:
        return str(error.stderr).strip().partition("\n")[0]
    except OSError as error:
        return f"{error.strerror or error}"
    return ""


def _make_cgroups() -> None:
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        groups, there = [root / PROBE], (root / "cgroup.controllers").read_text().split()
    else:
        groups, there = [root / name / PROBE for name in CONTROLLERS], [it.name for it in root.iterdir()]
    if missing := set(CONTROLLERS) - set(there):
        raise OSError(f"no controller {', '.join(sorted(missing))}")
    for group in groups:
        group.mkdir(exist_ok=True)
        group.rmdir()


def _made_and_gone(kind: str, name: str, *more: str) -> None:
    subprocess.run(["ip", kind, "delete", name], capture_output=True, check=False)  # of one that was interrupted
    _run("ip", kind, "add", name, *more)
    _run("ip", kind, "delete", name)


def _mount_overlay(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f"{PROBE}-") as made:
        for name in ("lower", "upper", "work", "merged"):
            Path(made, name).mkdir()
        options = f"lowerdir={made}/lower,upperdir={made}/upper,workdir={made}/work"
        _run("mount", "-t", "overlay", "overlay", "-o", options, f"{made}/merged")
        _run("umount", f"{made}/merged")


def _there(command: str) -> bool:
    return shutil.which(command) is not None


def _install(packages: list[str]) -> None:
    if not packages:
        return
    if not _there("apt-get"):
        raise Missing(f"{', '.join(packages)} missing (names of Debian's packages); install them")
    print(f"Installing Debian's {', '.join(packages)} ...", file=sys.stderr, flush=True)
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages]
    for command in (["apt-get", "update", "--quiet"], install):
        done = subprocess.run(
            command,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Missing(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr).strip()[-1000:]}")


def connect() -> None:
    """Makes the bridge. Service addresses are routed to it, so that they stay here even before kube-proxy is up."""
    if not (Path("/sys/class/net") / BRIDGE).exists():
        make_bridge()
    _run("ip", "route", "replace", SERVICES, "dev", BRIDGE)
    if subprocess.run(["iptables", "--check", *FORWARD], capture_output=True, check=False).returncode:
        _run("iptables", "--append", *FORWARD)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def make_bridge() -> None:
    """The bridge alone, with its addresses."""
    _run("ip", "link", "add", BRIDGE, "address", BRIDGE_MAC, "type", "bridge")
    _run("ip", "address", "add", f"{ADDRESS}/24", "dev", BRIDGE)
    _run("ip", "link", "set", BRIDGE, "up")


def disconnect() -> None:
    """Removes the bridge, and the rules of kube-proxy and our own."""
    if not (Path("/sys/class/net") / BRIDGE).exists():
        return
    subprocess.run(["iptables", "--delete", *FORWARD], capture_output=True, check=False)
    for port in (Path("/sys/class/net") / BRIDGE / "brif").iterdir():
        subprocess.run(["ip", "link", "delete", port.name], capture_output=True, check=False)
    _run("ip", "link", "delete", BRIDGE)
    for tool in ("iptables", "ip6tables"):
        rules = subprocess.run([f"{tool}-save"], capture_output=True, text=True, check=False).stdout
        if "KUBE-" in rules:
            kept = "".join(line for line in rules.splitlines(keepends=True) if "KUBE-" not in line)
            subprocess.run([f"{tool}-restore"], input=kept, text=True, check=True)


def end_shims(socket: Path) -> None:
    """Ends the shims of this containerd: one that was busy when it went would stay, and its pod's network with it."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            if b"shim" in command[0] and str(socket).encode() in command:
                os.kill(int(process.name), signal.SIGKILL)
        except OSError:  # it ended by itself
            continue


def clean(folder: Path, namespaces: list[Path]) -> None:
    """Removes what pods leave behind: mounts below `folder`, deepest first, network namespaces, links to their logs."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted((it for it in mounts if it.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], capture_output=True, check=False)
    for namespace in namespaces:
        subprocess.run(["ip", "netns", "delete", namespace.name], capture_output=True, check=False)
    for result in Path("/var/lib/cni/results").glob(f"{NETWORK}-*-eth0"):
        result.unlink()
        (result.parent / result.name.replace(NETWORK, "cni-loopback").replace("-eth0", "-lo")).unlink(missing_ok=True)
    for link in Path("/var/log/containers").glob("*.log"):  # the kubelet makes them there in any case
        if str(link.readlink()).startswith(f"{folder}/"):
            link.unlink()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
