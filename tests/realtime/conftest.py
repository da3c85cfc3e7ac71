"""One node with a feature and an authenticator of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.realtime.stage import Feature, Node, Tokens, running


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
def feature() -> Feature:
    return Feature()


@pytest.fixture
async def node(feature: Feature, tokens: Tokens) -> AsyncIterator[Node]:
    node = Node(feature, tokens)
    feature.hub = node.hub
    async with running(node):
        yield node
