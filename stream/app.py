"""The worker: its parts joined, its agent, its start and its end; the only file that knows everyone."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, NoReturn

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from faust.types import TP

from stream import chores, connections, metrics, topics, tracing
from stream.connections import REDIS_ERRORS
from stream.errors import ConfigurationError, FanpulseError, FenceMoved, Interrupted, Unavailable
from stream.faust_app import faust_app
from stream.fences import FenceKeeper
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
from stream.shadow import Shadow
from stream.sink import Sink
from stream.windows import Publisher

_CLOSED_WITHIN_S = 3.0  # after what is in flight was settled, or left to other workers

log = logging.getLogger(__name__)


class Worker:
    """One worker process: its parts, and the agent that joins them."""

    def __init__(self, settings: Settings, scorer: Scorer) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self._scorer = scorer
        self._redis = connections.connect_redis(settings)
        self._producer = AIOKafkaProducer(**connections.kafka_options(settings), acks="all", linger_ms=5)
        self._progress = Progress(settings.live_within_s, settings.give_up_after_s)
        self._patience = Patience(settings.give_up_after_s, lambda: self._stopping, self._progress.moved)
        keys = Keys(settings.redis_prefix)
        sink = Sink(
            self._redis,
            keys,
            events_kept=settings.events_kept,
            minutes_kept_s=settings.minutes_kept_s,
            hours_kept_s=settings.hours_kept_s,
        )
        self._fences = FenceKeeper(
            sink, self._patience, lambda: self._app.consumer, start_from=settings.start_from
        )
        self._app = faust_app(settings, self._fences.of)
        self._models = Models(scorer, self._redis, keys, settings.models)
        self._shadow = Shadow(self._models, scorer, request_texts=settings.request_texts)
        self._pipeline = Pipeline(
            settings,
            models=self._models,
            scorer=scorer,
            rejects=Rejects(self._producer, settings.rejected_topic),
            sink=sink,
            shadow=self._shadow,
            # A batch is left alone when its partition is taken away, not only when the process stops.
            patience=Patience(
                settings.give_up_after_s, lambda: self._app.consumer.suspend_flow, self._progress.moved
            ),
        )
        self._publisher = Publisher(self._redis, keys, topic=settings.comments_topic)
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
            loop.add_signal_handler(number, self._leave)
        async with contextlib.AsyncExitStack() as closing:
            closing.callback(tracing.start(self._settings))
            watch(self._progress)
            closing.callback(asyncio.create_task(self._progress.beat()).cancel)
            closing.push_async_callback(self._redis.aclose)
            closing.push_async_callback(self._scorer.close)
            closing.push_async_callback(self._health.stop)
            await self._listen()
            closing.push_async_callback(self._producer.stop)
            try:
                await self._patience(lambda: topics.check(self._settings))
                await self._patience(self._models.start)
                await self._patience(self._start_producer)
                await self._work()
            except Interrupted:
                pass
            except Exception as error:
                _later(_CLOSED_WITHIN_S, _fail, error)
                raise

    def _leave(self) -> None:
        """Begin to stop; a Kafka client may wait for brokers that are away for ever, and then the process just ends."""
        self._stopping.set()
        _later(self._settings.drain_s + _CLOSED_WITHIN_S, os._exit, 0)

    async def _work(self) -> None:
        starting = asyncio.create_task(self._app.start())
        side_jobs = [asyncio.create_task(self._crash_with(job)) for job in self._chores()]
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

        # Faust's decorators have no types.
        @self._app.agent(comments, name="score_comments", isolated_partitions=True)  # type: ignore[untyped-decorator]
        async def score_comments(batches: AsyncIterator[Batch]) -> None:
            """Comments → scores → settled in Redis, one partition batch at a time."""
            async for batch in batches:
                await self._handle(batch)

    async def _handle(self, batch: Batch) -> None:
        """Process `batch`; never raises, because Faust would acknowledge and go on."""
        if not self._app.consumer.is_current(batch):
            return
        with self._progress.work(batch.tp):
            try:
                await self._settle(batch)
            except Interrupted as interrupted:
                log.info("partition=%d left to others: %s", batch.tp.partition, interrupted)
            except Exception as error:
                await self._app.crash(error)

    async def _settle(self, batch: Batch) -> None:
        try:
            await self._pipeline.process(batch)
        except FenceMoved as moved:
            await self._fences.meet(batch, moved)
        else:
            self._app.consumer.settled(batch)

    def _chores(self) -> list[Coroutine[None, None, None]]:
        first = TP(self._settings.comments_topic, 0)
        return [
            chores.publish_windows(
                self._publisher,
                lambda: self._app.consumer.owns(first),
                every_s=self._settings.publish_every_s,
            ),
            chores.refresh_models(self._models),
            chores.watch_progress(self._progress, lambda: self._app.consumer),
            self._shadow.run(),
            self._fences.watch(),
        ]

    async def _crash_with(self, job: Coroutine[None, None, None]) -> None:
        """Run a job for as long as the worker runs; a defect in it stops the worker, not the job alone."""
        try:
            await job
        except Exception as error:
            await self._app.crash(error)

    async def _start_producer(self) -> None:
        try:
            await self._producer.start()
        except (KafkaError, OSError) as error:
            raise Unavailable("Kafka", f"{type(error).__name__}: {error}") from error

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
        self._scorer.drift.report(self._models.in_service())


def _later(seconds: float, call: Callable[[Any], Any], argument: Any) -> None:
    """By a thread: a timer of the event loop was seen not to fire within a minute while Kafka was suspended."""
    timer = threading.Timer(seconds, call, (argument,))
    timer.daemon = True
    timer.start()


def _fail(error: Exception) -> NoReturn:
    if isinstance(error, FanpulseError):
        print(f"fanpulse: {error}", file=sys.stderr)
    else:
        traceback.print_exception(error)
    sys.stderr.flush()
    os._exit(2 if isinstance(error, ConfigurationError) else 1)


def run_worker(settings: Settings, kind: type[Scorer] = Scorer) -> None:
    """Run one worker to its end; a worker that fails ends the process: 2 for what must be set right, else 1.

    It ends at once, because a crashed Faust leaves tasks that outlive their cancellation, and a process that
    lingers would keep its partitions.
    """

    # A batch makes tens of thousands of objects and frees them by itself: the collector need not look so often,
    # and never at what was imported. A sixth of the worker's time.
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)

    async def work() -> None:
        try:
            await Worker(settings, kind.of(settings)).run()
        except Exception as error:
            _fail(error)

    asyncio.run(work())
