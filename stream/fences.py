"""Where each partition is read from: its fence in Redis, and back to it wherever the fence moved."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from aiokafka.errors import KafkaTimeoutError
from faust.types import TP

from stream import metrics
from stream.batches import BatchConsumer
from stream.errors import ConfigurationError, FenceMoved, Interrupted, Unavailable
from stream.patience import Patience
from stream.positions import Batch
from stream.sink import Sink

log = logging.getLogger(__name__)

WATCHED_EVERY_S = 5.0


class FenceKeeper:
    """Keeps a consumer at the fences; `consumer()` is asked anew each time, for it exists once Faust starts."""

    def __init__(
        self,
        sink: Sink,
        patience: Patience,
        consumer: Callable[[], BatchConsumer],
        *,
        start_from: Literal["earliest", "latest"],
    ) -> None:
        self._sink = sink
        self._patience = patience
        self._consumer = consumer
        self._start_from = start_from

    async def of(self, assigned: set[TP]) -> Mapping[TP, int]:
        """Where each newly assigned partition begins. Raises what Patience does, and ConfigurationError."""
        metrics.ASSIGNED.set(len(assigned))
        metrics.begin(tp.partition for tp in assigned)
        positions = await asyncio.gather(*map(self._position, assigned))
        return dict(zip(assigned, positions, strict=True))

    async def meet(self, batch: Batch, moved: FenceMoved) -> None:
        """Read the partition of `batch` again from the fence that the batch did not meet."""
        tp = batch.tp
        if not self._consumer().is_current(batch):
            return  # a zombie's batch: the partition is someone else's by now
        metrics.FENCE_MOVED.labels(tp.partition).inc()
        log.warning("partition=%d batch begins at %d, %s", tp.partition, batch.position, moved)
        await self._return(tp)

    async def watch(self) -> None:
        """Find, for ever, a Redis that went back in time also where no comment comes to run into it."""
        while True:
            await asyncio.sleep(WATCHED_EVERY_S)
            for tp, last in self._consumer().fences().items():
                try:
                    fence = await self._sink.fence(tp)
                except Unavailable:
                    break  # whoever has a batch to settle says so
                if fence is None or fence < last:
                    metrics.FENCE_MOVED.labels(tp.partition).inc()
                    log.warning("partition=%d the fence went from %d to %s", tp.partition, last, fence)
                    await self._return(tp)

    async def _return(self, tp: TP) -> None:
        try:
            await self._consumer().rewind(tp, await self._position(tp))
        except Interrupted as interrupted:
            log.info("partition=%d left to others: %s", tp.partition, interrupted)

    async def _position(self, tp: TP) -> int:
        """The fence of `tp`, set to the log's start or end where there is none."""
        fence = await self._patience(lambda: self._sink.fence(tp))
        consumer = self._consumer()
        if fence is None:
            from_start = self._start_from == "earliest"
            first = await self._asked(consumer.earliest_offsets if from_start else consumer.highwaters, tp)
            return await self._patience(lambda: self._sink.open(tp, first))
        end = await self._asked(consumer.highwaters, tp)
        if fence > end:
            raise ConfigurationError(
                f"the fence of {tp.topic}:{tp.partition} is {fence} but the log ends at {end}: was the topic"
                f" made anew? Use another FANPULSE_REDIS_PREFIX, or delete this topic's keys"
            )
        return fence

    async def _asked(self, offsets: Callable[[TP], Awaitable[Mapping[TP, int]]], tp: TP) -> int:
        """What Kafka says of the log of `tp`, however long it is away: aiokafka alone waits 40 s for it."""

        async def once() -> int:
            try:
                return (await offsets(tp))[tp]
            except KafkaTimeoutError as error:
                raise Unavailable("Kafka", str(error)) from error

        return await self._patience(once)
