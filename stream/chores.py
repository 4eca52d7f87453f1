"""What a worker does beside its batches, for as long as it runs."""

import asyncio
import logging
from collections.abc import Callable

from stream.batches import BatchConsumer
from stream.connections import REDIS_ERRORS
from stream.errors import Unavailable
from stream.models import Models
from stream.progress import Progress
from stream.windows import Publisher

log = logging.getLogger(__name__)

MODELS_REFRESHED_EVERY_S = 5.0
PROGRESS_WATCHED_EVERY_S = 2.0


async def publish_windows(publisher: Publisher, is_ours: Callable[[], bool], *, every_s: float) -> None:
    """Publish while `is_ours()`: one worker's work; windows are derived, so two do no harm."""
    while True:
        await asyncio.sleep(every_s)
        if not is_ours():
            publisher.forget()
            continue
        try:
            await publisher.publish()
        except (*REDIS_ERRORS, Unavailable) as error:
            log.warning("windows not published: %s", error)


async def refresh_models(models: Models) -> None:
    """Take up what was promoted."""
    while True:
        await asyncio.sleep(MODELS_REFRESHED_EVERY_S)
        await models.refresh()


async def watch_progress(progress: Progress, consumer: Callable[[], BatchConsumer]) -> None:
    """Find a consumer that stopped fetching although there is more to read."""
    while True:
        await asyncio.sleep(PROGRESS_WATCHED_EVERY_S)
        with progress.work():
            standings = await consumer().standings()
        progress.stands(standings)
