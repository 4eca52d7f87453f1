"""The worker: the Faust application, its agent and its start; the only file that knows everyone."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import AsyncIterator, Coroutine, Mapping
from pathlib import Path

import faust
from aiokafka import AIOKafkaProducer
from faust.types import TP

from stream import connections, metrics, topics
from stream.batches import BatchApp, Fences
from stream.connections import REDIS_ERRORS
from stream.errors import ConfigurationError, FanpulseError, FenceMoved, Interrupted, Unavailable
from stream.health import HealthServer
from stream.jobs import end
from stream.keys import Keys
from stream.models import Models
from stream.patience import Patience
from stream.pipeline import Pipeline
from stream.positions import Batch
from stream.progress import Progress, watch
from stream.rejects import Rejects
from stream.scorer import Scorer
from stream.settings import Settings
from stream.sink import Sink
from stream.windows import Publisher

log = logging.getLogger(__name__)

MODELS_REFRESHED_EVERY_S = 5.0
FENCES_WATCHED_EVERY_S = 5.0
PROGRESS_WATCHED_EVERY_S = 2.0


class Worker:
    """One worker process: its parts, and the agent that joins them."""

    def __init__(self, settings: Settings, scorer: Scorer) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self._redis = connections.connect_redis(settings)
        self._keys = Keys(settings.redis_prefix)
        self._scorer = scorer
        self._sink = Sink(
            self._redis,
            self._keys,
            events_kept=settings.events_kept,
            minutes_kept_s=settings.minutes_kept_s,
            hours_kept_s=settings.hours_kept_s,
        )
        self._models = Models(self._scorer, self._redis, self._keys, settings.models)
        self._producer = AIOKafkaProducer(**connections.kafka_options(settings), acks="all", linger_ms=5)
        self._progress = Progress(settings.live_within_s, settings.give_up_after_s)
        self._patience = Patience(settings.give_up_after_s, lambda: self._stopping, self._progress.moved)
        self._app = _faust_app(settings, self._fences)
        self._pipeline = Pipeline(
            settings,
            models=self._models,
            scorer=self._scorer,
            rejects=Rejects(self._producer, settings.rejected_topic),
            sink=self._sink,
            # A batch is left alone when its partition is taken away, not only when the process stops.
            patience=Patience(
                settings.give_up_after_s, lambda: self._app.consumer.suspend_flow, self._progress.moved
            ),
        )
        self._publisher = Publisher(self._redis, self._keys, topic=settings.comments_topic)
        self._health = HealthServer(
            settings.web_host,
            settings.web_port,
            progress=self._progress,
            readiness=self._missing,
            observe=self._observe,
        )
        self._declare_agent()

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT, then settle what is in flight and leave the group.

        Raises ConfigurationError where the settings cannot work, GaveUp where a service stayed away.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        async with contextlib.AsyncExitStack() as closing:
            watch(self._progress)
            closing.callback(asyncio.create_task(self._progress.beat()).cancel)
            closing.push_async_callback(self._redis.aclose)
            closing.push_async_callback(self._scorer.close)
            closing.push_async_callback(self._health.stop)
            await self._listen()
            closing.push_async_callback(self._producer.stop)
            with contextlib.suppress(Interrupted):
                await self._patience(lambda: topics.check(self._settings))
                await self._patience(self._models.start)
                await self._patience(self._start_producer)
                await self._work()

    async def _work(self) -> None:
        starting = asyncio.create_task(self._app.start())
        side_jobs = [
            asyncio.create_task(self._crash_with(job))
            for job in (self._publish(), self._refresh_models(), self._watch_fences(), self._watch_progress())
        ]
        try:
            await self._app.wait(self._stopping.wait())
            crash = self._app.crash_reason
        finally:
            log.info("stopping: settling what is in flight")
            leaving = asyncio.create_task(self._app.stop())
            _, late = await asyncio.wait({leaving}, timeout=self._settings.drain_s)
            if late:
                log.warning("not settled within %g s: left to other workers", self._settings.drain_s)
            await end(side_jobs)
            starting.cancel()
            leaving.cancel()
            await asyncio.wait({starting, leaving}, timeout=1.0)  # Faust's tasks may outlive a cancellation
        if crash is not None:
            raise crash

    def _declare_agent(self) -> None:
        comments = self._app.topic(
            self._settings.comments_topic, value_serializer="raw", key_serializer="raw"
        )

        @self._app.agent(comments, name="score_comments", isolated_partitions=True)  # type: ignore[untyped-decorator]
        async def score_comments(batches: AsyncIterator[Batch]) -> None:
            """Comments → scores → settled in Redis, one partition batch at a time."""
            async for batch in batches:
                await self._handle(batch)

    async def _handle(self, batch: Batch) -> None:
        """Process `batch`; never raises, because Faust would acknowledge and go on."""
        consumer = self._app.consumer
        if not consumer.is_current(batch):
            return
        with self._progress.work(batch.tp):
            try:
                await self._pipeline.process(batch)
                consumer.settled(batch)
            except FenceMoved as moved:
                await self._meet_fence(batch, moved)
            except Interrupted as interrupted:
                log.info("partition=%d left to others: %s", batch.tp.partition, interrupted)
            except Exception as error:
                await self._app.crash(error)

    async def _meet_fence(self, batch: Batch, moved: FenceMoved) -> None:
        tp = batch.tp
        if not self._app.consumer.is_current(batch):
            return  # a zombie's batch: the partition is someone else's by now
        metrics.FENCE_MOVED.labels(tp.partition).inc()
        log.warning("partition=%d batch begins at %d, %s", tp.partition, batch.position, moved)
        await self._return_to_fence(tp)

    async def _return_to_fence(self, tp: TP) -> None:
        """Read `tp` again from its fence; never raises."""
        try:
            await self._app.consumer.rewind(tp, await self._position(tp))
        except Interrupted as interrupted:
            log.info("partition=%d left to others: %s", tp.partition, interrupted)
        except Exception as error:
            await self._app.crash(error)

    async def _fences(self, assigned: set[TP]) -> Mapping[TP, int]:
        metrics.ASSIGNED.set(len(assigned))
        metrics.begin(tp.partition for tp in assigned)
        positions = await asyncio.gather(*map(self._position, assigned))
        return dict(zip(assigned, positions, strict=True))

    async def _position(self, tp: TP) -> int:
        """The fence of `tp`, set to the log's start or end where there is none."""
        fence = await self._patience(lambda: self._sink.fence(tp))
        consumer = self._app.consumer
        if fence is None:
            from_start = self._settings.start_from == "earliest"
            offsets = await (consumer.earliest_offsets if from_start else consumer.highwaters)(tp)
            return await self._patience(lambda: self._sink.open(tp, offsets[tp]))
        end = (await consumer.highwaters(tp))[tp]
        if fence > end:
            raise ConfigurationError(
                f"the fence of {tp.topic}:{tp.partition} is {fence} but the log ends at {end}: was the topic"
                f" made anew? Use another FANPULSE_REDIS_PREFIX, or delete this topic's keys"
            )
        return fence

    async def _publish(self) -> None:
        """Publish from the one worker that owns partition 0; windows are derived, so two do no harm."""
        first = TP(self._settings.comments_topic, 0)
        while True:
            await asyncio.sleep(self._settings.publish_every_s)
            if not self._app.consumer.owns(first):
                self._publisher.forget()
                continue
            try:
                await self._publisher.publish()
            except (*REDIS_ERRORS, Unavailable) as error:
                log.warning("windows not published: %s", error)

    async def _watch_fences(self) -> None:
        """Find a Redis that went back in time also where no comment comes to run into it."""
        while True:
            await asyncio.sleep(FENCES_WATCHED_EVERY_S)
            for tp, last in self._app.consumer.fences().items():
                try:
                    fence = await self._sink.fence(tp)
                except Unavailable:
                    break  # whoever has a batch to settle says so
                if fence is None or fence < last:
                    metrics.FENCE_MOVED.labels(tp.partition).inc()
                    log.warning("partition=%d the fence went from %d to %s", tp.partition, last, fence)
                    await self._return_to_fence(tp)

    async def _watch_progress(self) -> None:
        """Find a consumer that stopped fetching although there is more to read."""
        while True:
            await asyncio.sleep(PROGRESS_WATCHED_EVERY_S)
            with self._progress.work():
                standings = await self._app.consumer.standings()
            self._progress.stands(standings)

    async def _crash_with(self, job: Coroutine[None, None, None]) -> None:
        """Run a job for as long as the worker runs; a defect in it stops the worker, not the job alone."""
        try:
            await job
        except Exception as error:
            await self._app.crash(error)

    async def _refresh_models(self) -> None:
        while True:
            await asyncio.sleep(MODELS_REFRESHED_EVERY_S)
            await self._models.refresh()

    async def _start_producer(self) -> None:
        try:
            await self._producer.start()
        except OSError as error:
            raise Unavailable("Kafka", str(error)) from error

    async def _listen(self) -> None:
        try:
            port = await self._health.start()
        except OSError as error:
            raise ConfigurationError(f"FANPULSE_WEB_PORT {self._settings.web_port}: {error}") from error
        log.info("health and metrics on http://%s:%d", self._settings.web_host, port)

    async def _missing(self) -> list[str]:
        missing = []
        if not await self._models.answer():
            missing.append("Triton does not answer")
        try:
            await self._redis.ping()
        except REDIS_ERRORS:
            missing.append("Redis does not answer")
        if not self._app.consumer.is_positioned:
            missing.append("no partitions assigned yet")
        return missing

    def _observe(self) -> None:
        metrics.LAG.clear()
        for tp, lag in self._app.consumer.lags().items():
            metrics.LAG.labels(tp.partition).set(lag)


def run_worker(settings: Settings, kind: type[Scorer] = Scorer) -> None:
    """Run one worker to its end; a worker that fails ends the process: 2 for what must be set right, else 1.

    It ends at once, because a crashed Faust leaves tasks that outlive their cancellation, and a process that
    lingers would keep its partitions.
    """

    async def work() -> None:
        try:
            await Worker(settings, kind.of(settings)).run()
        except Exception as error:
            if isinstance(error, FanpulseError):
                print(f"fanpulse: {error}", file=sys.stderr)
            else:
                traceback.print_exception(error)
            sys.stderr.flush()
            os._exit(2 if isinstance(error, ConfigurationError) else 1)

    asyncio.run(work())


def _faust_app(settings: Settings, fences: Fences) -> BatchApp:
    return BatchApp(
        settings.group,
        fences=fences,
        broker=settings.kafka_url.replace(",", ";kafka://"),
        broker_credentials=_credentials(settings),
        broker_session_timeout=settings.kafka_session_timeout_s,
        broker_heartbeat_interval=settings.kafka_session_timeout_s / 5,
        # Faust also bounds the seek after an assignment by this, and that waits for Redis.
        broker_request_timeout=settings.give_up_after_s + settings.kafka_session_timeout_s,
        broker_commit_interval=1.0,
        broker_max_poll_records=settings.batch_records,
        stream_buffer_maxsize=2,  # batches, per partition
        store="memory://",
        datadir=Path(tempfile.gettempdir()) / "fanpulse-faust",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
    )


def _credentials(settings: Settings) -> faust.SSLCredentials | faust.SASLCredentials | None:
    context = connections.kafka_ssl_context(settings)
    if settings.kafka_security.startswith("SASL") and settings.kafka_password:
        return faust.SASLCredentials(
            username=settings.kafka_username,
            password=settings.kafka_password.get_secret_value(),
            mechanism=settings.kafka_sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context=context) if context else None
