"""Routers connect to no address that the installation refuses, by its name or spelt out."""

import asyncio
import contextlib
import socket

import msgspec
import pytest

from support.callers import one
from support.servers import one_request, talking
from support.sidecar import sidecar
from support.stand import stand
from weir_cli.sim import SimModel
from weir_router.call.transport.aiohttp_client import AiohttpTransport
from weir_router.call.transport.auto import AutoTransport
from weir_router.call.transport.pool import Http1Transport
from weir_router.contract import HostPolicy
from weir_router.errors import AttemptFailed, FailureKind

OK = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello"
CLUSTER = HostPolicy(in_cluster=True)


async def answers(reader, writer):
    await one_request(reader)
    writer.write(OK)


@contextlib.asynccontextmanager
async def transport(kind, policy):
    made = kind(lambda: policy)
    yield made
    await made.close()


@pytest.fixture
async def resolve(monkeypatch):
    """Sets the addresses that the name `models.example` has from now on; other names have their own."""
    loop = asyncio.get_running_loop()
    ask, addresses = loop.getaddrinfo, []

    async def lookup(host, port, **more):
        if host != "models.example":
            return await ask(host, port, **more)
        return [
            (socket.AF_INET6 if ":" in it else socket.AF_INET, socket.SOCK_STREAM, 6, "", (it, port))
            for it in addresses
        ]

    monkeypatch.setattr(loop, "getaddrinfo", lookup)
    return lambda *given: addresses.__setitem__(slice(None), given)


@pytest.mark.parametrize("kind", [Http1Transport, AiohttpTransport])
@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.7",
        "fe80::1",
        "::ffff:169.254.169.254",
        "2002:a9fe:a9fe::",
        "64:ff9b::a9fe:a9fe",
        "192.0.0.192",
        "100.100.100.200",
        "fd00:ec2::254",
        "fd20:ce::254",
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "::",
        "10.0.0.1",
        "10.20.7.9",
        "::ffff:10.20.7.9",
    ],
)
async def test_a_name_that_leads_to_a_refused_address_is_not_connected_to(resolve, kind, address):
    resolve(address)
    policy = HostPolicy(
        in_cluster=True, addresses={"10.0.0.1": "the Kubernetes API server"}, networks=("fd00:1::/64", "10.20.0.0/16")
    )
    async with transport(kind, policy) as client:
        with pytest.raises(AttemptFailed) as caught:
            await client.post("http://models.example:1/v1", {}, b"{}", 1.0)
    assert caught.value.kind is FailureKind.HOST
    assert address not in caught.value.message


@pytest.mark.parametrize("kind", [Http1Transport, AiohttpTransport])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1"])
async def test_a_host_that_spells_out_a_refused_address_is_not_connected_to(kind, host):
    async with transport(kind, CLUSTER) as client:
        with pytest.raises(AttemptFailed) as caught:
            await client.post(f"http://{host}:1/v1", {}, b"{}", 1.0)
    assert caught.value.kind is FailureKind.HOST


@pytest.mark.parametrize("kind", [Http1Transport, AiohttpTransport])
async def test_of_several_addresses_the_allowed_ones_are_used(resolve, kind):
    resolve("169.254.169.254", "127.0.0.1", "fe80::1")
    async with talking(answers) as url, transport(kind, HostPolicy()) as client:
        response = await client.post(f"http://models.example:{url.rpartition(':')[2]}", {}, b"{}", 1.0)
        assert await response.read_all() == b"hello"
        response.release()


async def test_a_name_is_checked_for_each_connection_and_by_the_rules_of_that_time(resolve):
    """It may lead elsewhere since the last one, as after DNS rebinding; and the config may have changed."""
    policy = HostPolicy()
    async with talking(answers) as url:
        client = AutoTransport(lambda: policy)
        there = f"http://models.example:{url.rpartition(':')[2]}"

        async def reached():
            try:
                response = await client.post(there, {}, b"{}", 1.0)
            except AttemptFailed as failure:
                return failure.kind
            response.release()
            return response.status

        resolve("127.0.0.1")
        assert await reached() == 200
        resolve("169.254.169.254")
        assert await reached() is FailureKind.HOST
        resolve("127.0.0.1")
        policy = CLUSTER
        assert await reached() is FailureKind.HOST
        await client.close()


async def test_a_proxy_may_be_anywhere_but_leads_to_no_address_that_is_spelled_out(monkeypatch):
    asked = []

    async def proxy(reader, writer):
        asked.append((await one_request(reader))[0])
        writer.write(OK)

    async with talking(proxy) as url:
        monkeypatch.setenv("http_proxy", url.replace("127.0.0.1", "localhost"))
        async with transport(AutoTransport, CLUSTER) as client:
            with pytest.raises(AttemptFailed) as caught:
                await client.post("http://169.254.169.254/v1", {}, b"{}", 1.0)
            assert caught.value.kind is FailureKind.HOST
            response = await client.post("http://models.example/v1", {}, b"{}", 1.0)
            assert await response.read_all() == b"hello"
            response.release()
    assert len(asked) == 1


async def test_callers_hear_whose_rule_it_is_and_nothing_of_what_is_there():
    async with stand([SimModel("m")]) as s:
        s.apply(msgspec.structs.replace(s.config, hosts=CLUSTER))
        result = await one(s)
        assert result.status == 502
        assert result.headers["x-weir-error-source"] == "policy"
        assert s.last["error"] == "host_forbidden"
        assert "a loopback address" in s.last["attempts"][0]["message"]
        assert s.last["attempts"][0]["outcome"] == "host_forbidden"


async def test_a_sidecars_way_to_its_gateway_is_no_backend(tmp_path):
    async with sidecar(tmp_path) as side:
        config = side.local(SimModel("m"), namespace="elsewhere")
        side.knows(msgspec.structs.replace(config, hosts=CLUSTER))
        result = await one(side)
        assert result.status == 200
        assert side.relayed
