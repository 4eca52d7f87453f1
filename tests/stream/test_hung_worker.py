"""A worker that stands still is told by /live within its limit, and ends by itself when retries are spent."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.stream.conftest import Deploy
from tests.stream.deployment import PATIENCE_S, Deployment, Worker, comment, until

pytestmark = pytest.mark.connected


@pytest.fixture
async def deployment(deploy: Deploy) -> Deployment:
    return await deploy(live_within_s=2, give_up_after_s=6)


async def says_it_is_not_live(worker: Worker) -> bool:
    address = await worker.address()
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(1)) as session,
            session.get(f"{address}/live") as answer,
        ):
            return answer.status == 503
    except TimeoutError:
        return True  # what a probe takes for a failure too
    except aiohttp.ClientError:
        return False


@pytest.mark.parametrize("how", ["held", "blocking", "stalled"])
async def test_a_hung_worker_is_not_live_and_ends_un_acked(
    deployment: Deployment, tmp_path: Path, how: str
) -> None:
    """Its scorer never answers, its event loop is blocked, or it fetches no more although there is more."""
    worker = await deployment.worker(module=("tests.stream.staged", how, str(tmp_path)))
    await deployment.send([comment(1)])
    if how == "stalled":
        await deployment.settled(1)
        await deployment.send([comment(2)])
    done = await deployment.fence()

    await until(lambda: says_it_is_not_live(worker), what="/live to fail")
    assert await asyncio.wait_for(worker.process.wait(), PATIENCE_S) == 1
    assert "retries are spent" in worker.log.read_text()
    assert await deployment.fence() == done
    assert len(await deployment.events()) == done
