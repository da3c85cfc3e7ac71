"""The fakes, and clients for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from server.integrations.signin.provider import Attempt
from server.kit.outgoing import Outgoing
from server.kit.reachable import Reachable
from tests.fakes.signin import Fake, FakeIssuer, key

ATTEMPT = Attempt("https://social.test/cb", "state-1", "nonce-1", "verifier-of-43-characters-or-more-as-rfc7636-asks")

MakeHttp = Callable[..., Awaitable[Outgoing]]


@pytest.fixture(scope="session")
def signer() -> rsa.RSAPrivateKey:
    return key()


@pytest.fixture
async def http() -> AsyncIterator[MakeHttp]:
    """A client that may reach these fakes."""
    async with AsyncExitStack() as stack:

        async def make(*fakes: Fake) -> Outgoing:
            outgoing = Outgoing(Reachable(allowed=",".join(fake.place for fake in fakes)))
            await outgoing.start()
            stack.push_async_callback(outgoing.close)
            return outgoing

        yield make


@pytest.fixture
async def issuer(signer: rsa.RSAPrivateKey) -> AsyncIterator[FakeIssuer]:
    async with FakeIssuer(signer) as fake:
        yield fake
