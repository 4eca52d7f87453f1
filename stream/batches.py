"""A Faust transport that hands agents whole fetch batches; the only module that knows Faust's internals.

Stock Faust spends two tasks, a conductor pass and a queue put on every record. Here one message carries a
run of records of one partition, and the position in the log is ours: it begins at the fence and moves by
whole batches.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import aiokafka
import faust
from aiokafka import TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.transport.conductor import Conductor
from faust.transport.drivers.aiokafka import (
    AIOKafkaConsumerThread,
    Consumer,
    Transport,
    credentials_to_aiokafka_auth,
    server_list,
)
from faust.types import TP, ConsumerMessage

from stream.positions import Batch, Positions, Recheck, Standing

Fences = Callable[[set[TP]], Awaitable[Mapping[TP, int]]]
"""Where each newly assigned partition is to be read from: its fence."""


class _ConsumerThread(AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Transport) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        # Faust asks for an assignor whether or not the application has tables.
        self._assignor = RoundRobinPartitionAssignor
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            bootstrap_servers=server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # only when retention has passed the fence: go on with what is left
            isolation_level="read_committed",  # a producer's aborted transaction was never said
            max_poll_records=conf.broker_max_poll_records,
            fetch_max_wait_ms=100,
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            metadata_max_age_ms=30_000,
            **credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )


class BatchConsumer(Consumer):
    """Yields one message per fetched run of records, and commits what was settled, nothing else."""

    app: "BatchApp"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._positions = Positions()
        self._positioned = False
        self._room = asyncio.Event()

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # position

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """After every assignment Faust asks for the committed offsets; the fence is what counts."""
        assigned = {TP(tp.topic, tp.partition) for tp in self.assignment()}
        fences = await self.app.fences(assigned)
        self._positions.keep(assigned)
        for tp, fence in fences.items():
            await self.rewind(tp, fence)
        self._positioned = True
        return fences

    async def perform_seek(self) -> None:
        await super().perform_seek()
        self._committed_offset.clear()  # what Kafka has may be ahead of the fence: commit the fence

    async def rewind(self, tp: TP, offset: int) -> None:
        """Read `tp` again from `offset`; batches of it already handed out are no longer current.

        Does nothing where `tp` has been taken away: whoever has it now begins at the fence.
        """
        if tp in self.assignment():
            self._positions.begin(tp, offset)
            await self._seek_to(tp, offset)

    def is_current(self, batch: Batch) -> bool:
        """False once the partition was revoked, assigned anew or rewound since the batch was fetched."""
        return self._positions.is_current(batch)

    def settled(self, batch: Batch) -> None:
        """Mark the batch's offsets as done: the next commit says so."""
        self._positions.settle(batch)

    def owns(self, tp: TP) -> bool:
        """Whether `tp` is assigned to this consumer and positioned."""
        return tp in self._positions

    @property
    def is_positioned(self) -> bool:
        """True once the group has given this consumer its partitions (perhaps none) and all were sought."""
        return self._positioned and self.flow_active

    def fences(self) -> dict[TP, int]:
        """Where the fence of each assigned partition stood last; it goes back only when Redis does."""
        try:
            assigned = self.assignment()
        except ConsumerNotStarted:
            return {}
        settled = self._positions.settled
        return {tp: settled[tp] for tp in settled.keys() & assigned}

    def lags(self) -> dict[TP, int]:
        """Records not yet settled, by assigned partition, as far as the last fetch knows."""
        fences = self.fences()
        ends = {tp: self.highwater(tp) for tp in fences}
        return {tp: max(0, end - fences[tp]) for tp, end in ends.items() if end is not None}

    async def standings(self) -> dict[TP, Standing]:
        """Where each assigned partition stands; nothing where Kafka does not say."""
        tps = list(self.fences())
        try:
            ends = await self.highwaters(*tps) if tps else {}
            read = {tp: await self.position(tp) for tp in tps}
        except (KafkaError, IllegalStateError, ConsumerNotStarted):
            return {}
        found = {tp: self._positions.standing(tp, read=read[tp] or 0, end=ends[tp]) for tp in tps}
        return {tp: standing for tp, standing in found.items() if standing}

    async def _seek_to(self, tp: TP, offset: int) -> None:
        with suppress(IllegalStateError):  # taken away this very moment
            await self.seek_wait({TopicPartition(tp.topic, tp.partition): offset})

    # fetching

    async def getmany(
        self,
        timeout: float,  # noqa: ASYNC109 - the signature is Faust's
    ) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Yield (partition, message whose value is a Batch) for each run of records fetched."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        active = self._get_active_partitions()
        if not active:
            await self._wait_for_room()
            return
        runs = await self._getmany(active_partitions=set(active), timeout=timeout)
        generation = self.app.consumer_generation_id
        for partition, records in runs.items():
            tp = TP(partition.topic, partition.partition)
            # What is dropped here is fetched again: a rebalance ends with a seek to the fence.
            if self.should_stop or not self.flow_active or self.app.consumer_generation_id != generation:
                return
            taken = self._positions.take(tp, records)
            if isinstance(taken, Recheck):
                await self._seek_to(tp, taken.position)
            elif taken is not None:
                yield tp, _message(taken, generation)

    async def _wait_for_room(self) -> None:
        """Wait until an agent takes a batch from a full queue; a second at most, to see a stop."""
        self._room.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._room.wait(), 1.0)

    def on_buffer_drop(self, tp: TP) -> None:
        super().on_buffer_drop(tp)
        self._room.set()

    def resume_partitions(self, tps: Any) -> None:
        super().resume_partitions(tps)
        self._room.set()

    # committing

    async def _add_gap(self, *_: object) -> None:
        """Faust would take offsets between two messages for acked work."""

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Any:  # noqa: ARG002
        return list(self._positions.settled)

    def _new_offset(self, tp: TP) -> int | None:
        self._acked.pop(tp, None)
        self._acked_index.pop(tp, None)
        return self._positions.settled.get(tp)

    def _should_commit(self, tp: TP, offset: int) -> bool:
        committed: int | None = self._committed_offset[tp]
        return offset != committed  # downwards too, when Redis went back in time


def _message(batch: Batch, generation: int) -> ConsumerMessage:
    last = batch.records[-1]
    return ConsumerMessage(
        last.topic,
        last.partition,
        last.offset,
        last.timestamp / 1000,
        last.timestamp_type,
        (),
        None,
        batch,
        None,
        0,
        0,
        batch.tp,
        generation_id=generation,
    )


class _Conductor(Conductor):
    def discard(self, topic: Any) -> None:
        """Forget a revoked partition's channel, without the new subscription (a rebalance) of stock Faust."""
        self._topics.discard(topic)


class BatchTransport(Transport):
    """Faust's aiokafka transport with the consumer above."""

    Consumer = BatchConsumer
    Conductor = _Conductor


class BatchApp(faust.App):
    """A Faust application whose agents receive `Batch` objects and whose positions come from `fences`."""

    consumer: BatchConsumer

    def __init__(self, *args: Any, fences: Fences, **kwargs: Any) -> None:
        self.fences = fences
        super().__init__(*args, **kwargs)

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)
