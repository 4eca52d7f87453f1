"""A Faust transport that hands agents whole fetch batches; the only module that knows Faust's internals.

Stock Faust spends two tasks, a conductor pass and a queue put on every record. Here one message carries a
run of records of one partition, and the position in the log is ours: it begins at the fence and moves by
whole batches.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiokafka
import faust
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from faust.transport.conductor import Conductor
from faust.transport.drivers.aiokafka import (
    AIOKafkaConsumerThread,
    Consumer,
    Transport,
    credentials_to_aiokafka_auth,
    server_list,
)
from faust.types import TP, ConsumerMessage

Fences = Callable[[set[TP]], Awaitable[Mapping[TP, int]]]
"""Where each newly assigned partition is to be read from: its fence."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records of one partition.

    It covers the offsets [position, end): `position` is where the batch before it ended, so offsets that the
    log skips (compaction, transaction markers) belong to the batch that follows them.
    """

    tp: TP
    position: int
    end: int
    records: Sequence[ConsumerRecord]
    epoch: int


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
        self._next: dict[TP, int] = {}  # where the next batch begins
        self._rechecked: dict[TP, int] = {}  # positions already fetched again because the log jumped there
        self._epoch = 0
        self._epochs: dict[TP, int] = {}
        self._settled: dict[TP, int] = {}  # what the next commit says
        self._done: dict[TP, int] = {}  # the fence, as far as this consumer knows
        self._positioned = False
        self._room = asyncio.Event()

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # position

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """After every assignment Faust asks for the committed offsets; the fence is what counts."""
        assigned = set(self.assignment())
        fences = await self.app.fences(assigned)
        for gone in self._next.keys() - assigned:
            del self._next[gone], self._done[gone], self._epochs[gone]
        for tp, fence in fences.items():
            await self.rewind(tp, fence)
        self._positioned = True
        return fences

    async def rewind(self, tp: TP, offset: int) -> None:
        """Read `tp` again from `offset`; batches of it already handed out are no longer current."""
        self._begin(tp, offset)
        self._rechecked.pop(tp, None)
        self._settled.pop(tp, None)
        await self._seek_to(tp, offset)

    def is_current(self, batch: Batch) -> bool:
        """False once the partition was revoked, assigned anew or rewound since the batch was fetched."""
        return self._epochs.get(batch.tp) == batch.epoch

    def owns(self, tp: TP) -> bool:
        """Whether `tp` is assigned to this consumer and positioned."""
        return tp in self._next

    @property
    def is_positioned(self) -> bool:
        """True once the group has given this consumer its partitions (perhaps none) and all were sought."""
        return self._positioned and self.flow_active

    def lags(self) -> dict[TP, int]:
        """Records not yet settled, by assigned partition, as far as the last fetch knows."""
        assigned = self._next.keys() & self.assignment()
        ends = {tp: self.highwater(tp) for tp in assigned}
        return {tp: max(0, end - self._done[tp]) for tp, end in ends.items() if end is not None}

    def settled(self, batch: Batch) -> None:
        """Mark the batch's offsets as done."""
        if self.is_current(batch):
            self._settled[batch.tp] = self._done[batch.tp] = batch.end

    def _begin(self, tp: TP, offset: int) -> None:
        self._epoch += 1
        self._epochs[tp] = self._epoch
        self._next[tp] = self._done[tp] = offset

    async def _seek_to(self, tp: TP, offset: int) -> None:
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
            batch = await self._batch(tp, records)
            if batch is not None:
                yield tp, _message(batch, generation)

    async def _batch(self, tp: TP, records: Sequence[ConsumerRecord]) -> Batch | None:
        position = self._next.get(tp)
        if position is None:
            return None
        if records[0].offset < position:
            records = [record for record in records if record.offset >= position]
            if not records:
                return None
        if records[0].offset > position and self._rechecked.get(tp) != position:
            # A gap in the log, or records fetched before a seek took effect? Only a fetch after a seek tells.
            self._rechecked[tp] = position
            await self._seek_to(tp, position)
            return None
        end = self._next[tp] = records[-1].offset + 1
        return Batch(tp, position, end, records, self._epochs[tp])

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
        return list(self._settled)

    def _new_offset(self, tp: TP) -> int | None:
        self._acked.pop(tp, None)
        self._acked_index.pop(tp, None)
        return self._settled.get(tp)


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
