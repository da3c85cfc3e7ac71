"""The client for addresses of others against servers that want it to reach what it must not."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from server.kit.outgoing import NoAnswer, Outgoing, Refused
from server.kit.reachable import Reachable
from server.settings import SettingError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Names(AbstractResolver):
    """Answers each question with the next of its answers, as whoever owns a name can."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        answer = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in answer
        ]

    async def close(self) -> None: ...


class Place:
    """Local servers, and clients that may or may not reach them."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.reached: list[str] = []

    async def server(self, handler: Handler, tls: ssl.SSLContext | None = None) -> TestServer:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.reached.append(str(request.rel_url))
            return await handler(request)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        server = TestServer(app, host="127.0.0.1", scheme="http" if tls is None else "https")
        await server.start_server(ssl=tls)
        self._stack.push_async_callback(server.close)
        return server

    async def client(
        self, allowed: str = "", ports: str = "80,443", names: Names | None = None, tls: ssl.SSLContext | None = None
    ) -> Outgoing:
        outgoing = Outgoing(Reachable(ports, allowed), resolver=names, tls=tls)
        await outgoing.start()
        self._stack.push_async_callback(outgoing.close)
        return outgoing

    async def friend_of(self, server: TestServer, names: Names | None = None) -> Outgoing:
        return await self.client(allowed=f"127.0.0.1:{server.port}", names=names)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        yield Place(stack)


async def hello(request: web.Request) -> web.Response:
    return web.json_response({"hello": request.headers.get("Authorization", "nobody")})


async def test_an_allowed_server_answers(place: Place) -> None:
    server = await place.server(hello)
    outgoing = await place.friend_of(server)
    answer = await outgoing.get(f"http://127.0.0.1:{server.port}/x?y=1", headers={"Authorization": "Bearer z"})
    assert (answer.status, answer.json(), answer.content_type) == (200, {"hello": "Bearer z"}, "application/json")
    assert place.reached == ["/x?y=1"]


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://127.0.0.1:{port}/",
            "http://localhost:{port}/",
            "http://LOCALHOST.:{port}/",
            "http://0.0.0.0:{port}/",
        ),
        *("http://[::1]:{port}/", "http://[::]:{port}/", "http://[::ffff:127.0.0.1]:{port}/"),
        *("http://[::ffff:7f00:1]:{port}/", "http://[64:ff9b::7f00:1]:{port}/", "http://[2002:7f00:1::]:{port}/"),
        *(
            "http://2130706433:{port}/",
            "http://0x7f000001:{port}/",
            "http://0177.0.0.1:{port}/",
            "http://127.1:{port}/",
        ),
        *(
            "http://127.0.0.1.:{port}/",
            "http://0x7f.1:{port}/",
            "http://127.0.0.0x1:{port}/",
            "http://①②⑦.⓪.⓪.①:{port}/",
        ),
        *(
            "http://127.0.0.1%2f@example.org:{port}/",
            "http://user:secret@127.0.0.1:{port}/",
            "http://@127.0.0.1:{port}/",
        ),
        *("http://127.0.0.1\t:{port}/", "http://127.0.0.1\\@example.org:{port}/", "http:///127.0.0.1:{port}/"),
        *("file:///etc/passwd", "gopher://127.0.0.1:{port}/", "ftp://127.0.0.1/", "//127.0.0.1:{port}/", "", "http://"),
        *(
            "unix:///run/x.sock",
            "javascript:alert(1)",
            "http://[fe80::1%25eth0]:{port}/",
            "http://[",
            "http://a:99999/",
        ),
        "http://127.0.0.1:{port}/" + "a" * 5000,
    ],
)
async def test_nothing_of_this_machine_is_reached(place: Place, url: str) -> None:
    server = await place.server(hello)
    outgoing = await place.client(ports=f"80,443,{server.port}")
    with pytest.raises(Refused):
        await outgoing.get(url.format(port=server.port))
    assert place.reached == []
    assert outgoing.describe()["refused"] == 1


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.8.8.8", "169.254.169.254", "168.63.129.16"),
        *("172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.19.0.1", "203.0.113.9"),
        *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:8.8.8.8", "::8.8.8.8"),
        *("64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:808:808::1", "3fff::1"),
        *("fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "5f00::1", "4000::1"),
    ],
)
async def test_a_name_that_leads_to_a_special_address_is_refused(place: Place, address: str) -> None:
    for answer in ([address], ["93.184.215.14", address]):  # also when a public one stands before it
        outgoing = await place.client(names=Names(answer))
        with pytest.raises(Refused):
            await outgoing.get("https://example.org/")
        with pytest.raises(Refused):
            await outgoing.addresses("example.org", 443)
    with pytest.raises(Refused):
        await outgoing.addresses(address, 443)


@pytest.mark.parametrize("address", ["93.184.215.14", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001::1"])
async def test_public_addresses_are_for_everybody(place: Place, address: str) -> None:
    assert Reachable().refusal(address, 443) is None
    assert Reachable().refusal(address, 6379) == "port 6379 is not allowed"
    outgoing = await place.client(names=Names([address]))
    assert await outgoing.addresses("example.org", 443) == [address]


async def test_a_name_that_changes_its_mind_gains_nothing(place: Place) -> None:
    """DNS rebinding: public when it is looked at, this machine when it is connected to."""
    server = await place.server(hello)
    names = Names(["93.184.215.14"], ["127.0.0.1"])
    outgoing = await place.client(ports=f"443,{server.port}", names=names)
    assert await outgoing.addresses("rebind.example", server.port) == ["93.184.215.14"]
    with pytest.raises(Refused):
        await outgoing.get(f"http://rebind.example:{server.port}/")
    assert names.asked == 2
    assert place.reached == []


async def test_an_answer_of_dns_is_not_believed_twice(place: Place) -> None:
    """A redirect to the same name is resolved and checked again."""

    async def again(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/again", "Connection": "close"})

    server = await place.server(again)
    outgoing = await place.friend_of(server, Names(["127.0.0.1"], ["10.0.0.1"]))
    with pytest.raises(Refused):
        await outgoing.get(f"http://rebind.example:{server.port}/")
    assert place.reached == ["/"]


@pytest.mark.parametrize(
    "location",
    [
        *(
            "http://127.0.0.1:{other}/secret",
            "//localhost:{other}/",
            "http://[::1]:{other}/",
            "http://2130706433:{other}/",
        ),
        *(
            "file:///etc/passwd",
            "http://user:x@127.0.0.1:{port}/",
            "http://127.0.0.1:{port}/\\evil",
            "http://[",
            "ftp://a/",
        ),
    ],
)
async def test_a_redirect_is_checked_like_the_first(place: Place, location: str) -> None:
    other = await place.server(hello)

    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": location.format(other=other.port, port=request.url.port)})

    server = await place.server(redirect)
    outgoing = await place.client(allowed=f"127.0.0.1:{server.port}", ports=f"80,443,{other.port}")
    with pytest.raises(Refused):
        await outgoing.get(f"http://127.0.0.1:{server.port}/")
    assert place.reached == ["/"]


async def test_redirects_have_an_end_and_leave_credentials_behind(place: Place) -> None:
    async def redirect(request: web.Request) -> web.Response:
        step = int(request.query.get("n", "0")) + 1
        return web.Response(status=307, headers={"Location": f"/?n={step}"})

    server = await place.server(redirect)
    outgoing = await place.friend_of(server)
    answer = await outgoing.get(f"http://127.0.0.1:{server.port}/", redirects=2)
    assert (answer.status, place.reached) == (307, ["/", "/?n=1", "/?n=2"])
    posted = await outgoing.post(f"http://127.0.0.1:{server.port}/", form={"a": "b"}, redirects=5)
    assert (posted.status, len(place.reached)) == (307, 4)

    friend = await place.server(hello)

    async def away(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"http://127.0.0.1:{friend.port}/"})

    first = await place.server(away)
    both = await place.client(allowed=f"127.0.0.1:{first.port},127.0.0.1:{friend.port}")
    answer = await both.get(f"http://127.0.0.1:{first.port}/", headers={"authorization": "Bearer x"})
    assert answer.json() == {"hello": "nobody"}


async def test_what_is_too_much_is_not_taken(place: Place) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 4096)
            await asyncio.sleep(0)

    async def announced(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * 5000)

    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(bomb.compress(bytes(65536)) for _ in range(32)) + bomb.flush()
    assert len(packed) < 10_000

    async def bombs(request: web.Request) -> web.StreamResponse:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    for handler in (endless, announced, bombs):
        server = await place.server(handler)
        outgoing = await place.friend_of(server)
        with pytest.raises(NoAnswer, match=r"more than \d+ bytes"):
            await outgoing.get(f"http://127.0.0.1:{server.port}/", max_bytes=4999 if handler is announced else 100_000)


async def test_a_bomb_is_never_unpacked_whole(place: Place) -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = bomb.compress(bytes(4 << 20)) + bomb.flush()

    async def bombs(request: web.Request) -> web.StreamResponse:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    server = await place.server(bombs)
    outgoing = await place.friend_of(server)
    tracemalloc.start()
    try:
        with pytest.raises(NoAnswer):
            await outgoing.get(f"http://127.0.0.1:{server.port}/", max_bytes=10_000)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


async def test_packed_answers_are_unpacked_and_odd_ones_refused(place: Place) -> None:
    body = b'{"a": 1}' * 10

    async def packed(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        coding = request.query["coding"]
        sent = {"gzip": gzip.compress(body), "deflate": zlib.compress(body), "cut": gzip.compress(body)[:-12]}
        headers = {"Content-Encoding": "gzip" if coding == "cut" else coding}
        return web.Response(body=sent.get(coding, body), headers=headers)

    server = await place.server(packed)
    outgoing = await place.friend_of(server)
    for coding in ("gzip", "deflate"):
        assert (await outgoing.get(f"http://127.0.0.1:{server.port}/?coding={coding}")).body == body
    for coding in ("br", "cut", "gzip,gzip", "x-gzip"):
        with pytest.raises(NoAnswer):
            await outgoing.get(f"http://127.0.0.1:{server.port}/?coding={coding}")


async def test_the_slow_and_the_absent(place: Place) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        transport = request.transport
        while transport is not None and not transport.is_closing():
            await response.write(b"x")  # never silent, never done
            await asyncio.sleep(0.01)
        return response

    server = await place.server(slow)
    outgoing = await place.friend_of(server)
    with pytest.raises(NoAnswer, match=r"within 0\.2 s"):
        await outgoing.get(f"http://127.0.0.1:{server.port}/", seconds=0.2, max_bytes=1 << 40)
    port = server.port
    await server.close()
    with pytest.raises(NoAnswer):
        await outgoing.get(f"http://127.0.0.1:{port}/")


async def test_the_environment_has_no_say(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = await place.server(hello)
    server = await place.server(hello)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    outgoing = await place.friend_of(server)
    await outgoing.get(f"http://127.0.0.1:{server.port}/straight")
    assert place.reached == ["/straight"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For good.example, signed by itself: key and certificate in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "good.example")])
    moment = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=1))
        .not_valid_after(moment + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("good.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + made.public_bytes(Encoding.PEM))
    return file


async def test_who_answers_has_to_show_who_he_is(place: Place, certificate: Path) -> None:
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))

    async def down(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"http://good.example:{request.url.port}/plain"})

    server = await place.server(down, tls=server_side)
    names = Names(["127.0.0.1"])
    good, bad = (f"https://{name}.example:{server.port}/" for name in ("good", "bad"))
    friend = await place.client(f"127.0.0.1:{server.port}", names=names, tls=trusting)
    assert (await friend.get(good, redirects=0)).status == 302
    with pytest.raises(Refused, match="from https to http"):
        await friend.get(good)
    with pytest.raises(NoAnswer):
        await friend.get(bad)  # the certificate is another's
    stranger = await place.client(f"127.0.0.1:{server.port}", names=names)
    with pytest.raises(NoAnswer):
        await stranger.get(good)  # the certificate is nobody's
    with pytest.raises(Refused):
        await friend.get(good.replace("https", "http"), schemes=("https",))
    assert place.reached == ["/", "/"]


async def test_errors_keep_the_query_to_themselves(place: Place) -> None:
    outgoing = await place.client()
    with pytest.raises(Refused) as refused:
        await outgoing.get("http://127.0.0.1/callback?code=secret")
    assert "secret" not in str(refused.value)


def test_an_allowance_is_no_wider_than_it_says() -> None:
    reachable = Reachable("80,443", "10.1.0.0/16, 127.0.0.1:3000, [fd00::1]:8443")
    assert reachable.refusal("10.1.2.3", 443) is None
    assert reachable.refusal("127.0.0.1", 3000) is None
    assert reachable.refusal("fd00::1", 8443) is None
    for address, port in (("10.1.2.3", 3000), ("10.2.0.1", 443), ("127.0.0.1", 443), ("127.0.0.2", 3000)):
        assert reachable.refusal(address, port), (address, port)
    assert reachable.refusal("::ffff:10.1.2.3", 443)


@pytest.mark.parametrize(
    ("ports", "allowed"), [("http", ""), ("0", ""), ("70000", ""), ("80", "ten"), ("80", "10.0.0.1/8")]
)
def test_settings_that_cannot_be(ports: str, allowed: str) -> None:
    with pytest.raises(SettingError):
        Reachable(ports, allowed)
