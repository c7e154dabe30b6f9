"""What tests of the client share: an API server that says what it is told to."""

from collections.abc import AsyncIterator

import pytest
from tests.cluster_client.support import Scripted, scripted


@pytest.fixture
async def script() -> AsyncIterator[Scripted]:
    async with scripted() as running:
        yield running
