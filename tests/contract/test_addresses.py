"""The table of refused addresses, which operator and routers share."""

from __future__ import annotations

import ipaddress

import pytest

from weir_router.contract.addresses import HostPolicy, read, refused

CLUSTER = HostPolicy(in_cluster=True, addresses={"10.96.0.1": "the Kubernetes API server"})


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0XA9.254.43518",
        "0251.0376.0251.0376",
        "169.254.169.254.",
        "[::ffff:169.254.169.254]",
        "::a9fe:a9fe",
        "::ffff:0:a9fe:a9fe",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::",
        "2001:0:a9fe:a9fe::1",
        "2001:0:a00:1:0:0:5601:5601",
        "fd00::5efe:a9fe:a9fe",
        "fe80::1%eth0",
    ],
)
def test_every_spelling_of_a_link_local_address_is_refused(host):
    address = read(host)
    assert address is not None
    assert refused(address, HostPolicy()) == "a link-local address"


@pytest.mark.parametrize(
    "host", ["100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254", "fd00:42::42"]
)
def test_addresses_of_metadata_services_are_refused(host):
    assert refused(ipaddress.ip_address(host), HostPolicy()) == "a metadata service's address"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "127.1", "2130706433", "017700000001", "0.0.0.0", "0", "::", "::1", "::7f00:1"]
)
def test_a_router_in_a_cluster_does_not_call_itself(host):
    address = read(host)
    assert address is not None
    assert refused(address, CLUSTER) in ("a loopback address", "an unspecified address")
    assert refused(address, HostPolicy()) is None


@pytest.mark.parametrize("host", ["10.96.0.1", "::ffff:10.96.0.1", "174063617"])
def test_addresses_of_the_installation_are_refused_by_name(host):
    address = read(host)
    assert address is not None
    assert refused(address, CLUSTER) == "the Kubernetes API server"


@pytest.mark.parametrize("host", ["10.20.0.0", "10.20.255.255", "0x0a140001", "::ffff:10.20.3.4", "fd00:1::9"])
def test_networks_of_the_installation_are_refused(host):
    address = read(host)
    assert address is not None
    stated = HostPolicy(networks=("10.20.0.0/16", "fd00:1::/64"))
    assert refused(address, stated) == "an address of a network that this installation refuses"
    assert refused(address, HostPolicy()) is None


@pytest.mark.parametrize("host", ["10.0.0.7", "192.168.1.1", "8.8.8.8", "2001:db8::1", "fd00::1", "2002:808:808::1"])
def test_other_addresses_are_allowed(host):
    assert refused(ipaddress.ip_address(host), CLUSTER) is None
    assert refused(ipaddress.ip_address(host), HostPolicy(networks=("10.20.0.0/16", "fd00:1::/64"))) is None


@pytest.mark.parametrize(
    "host", ["", ".", "example.com", "1.2.3.4.5", "999.1", "08.1", "0b1", "1.2.3.256", "4294967296", "x", "1..2", "-1"]
)
def test_a_name_is_no_address(host):
    assert read(host) is None
