"""The work queue ends when it is told to, whatever its workers are at just then."""

from __future__ import annotations

import asyncio

import pytest

from clickstream_operator.naming import Key
from clickstream_operator.work_queue import WorkQueue

KEY: Key = ("web", "shop")


@pytest.mark.parametrize("turns", range(12))
def test_it_ends_though_it_is_cancelled_while_a_worker_wakes(turns):
    """Each number of the loop's turns between waking it and ending it is another moment of the worker's."""

    async def scenario() -> None:
        queue = WorkQueue(lambda _: asyncio.sleep(0, None), workers=1)
        running = asyncio.create_task(queue.run())
        await queue.add(KEY, after=60)
        for _ in range(20):  # until the worker waits for that
            await asyncio.sleep(0)
        await queue.add(KEY, after=30)  # which wakes it
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        _, left = await asyncio.wait([running], timeout=0.5)
        assert not left

    asyncio.run(scenario())
