"""When a worker counts as alive, and when its retries are spent."""

import asyncio
from contextlib import suppress

import pytest
from faust.types import TP

from stream.positions import Standing
from stream.progress import Progress

FIRST, SECOND = TP("comments", 0), TP("comments", 1)
WITHIN_S, AT_MOST_S = 10.0, 100.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def progress(clock: Clock) -> Progress:
    return Progress(WITHIN_S, AT_MOST_S, clock)


def test_an_idle_worker_is_live_for_ever(progress: Progress, clock: Clock) -> None:
    progress.stands({FIRST: Standing(settled=7, handed=7, read=8, end=8)})  # a marker at the end is no work
    clock.now = 1e6
    assert progress.is_live
    assert not progress.is_spent


def test_a_batch_in_hand_that_does_not_move_is_not_live_and_in_the_end_spent(
    progress: Progress, clock: Clock
) -> None:
    clock.now = 100.0
    with progress.work(FIRST):
        clock.now = 109.0
        assert progress.is_live
        clock.now = 111.0
        assert not progress.is_live
        progress.moved()  # a failed attempt that will be repeated is a sign of life
        assert progress.is_live
        clock.now = 212.0
        assert progress.is_spent
    clock.now = 1e6
    assert progress.is_live


def test_a_batch_may_wait_for_its_turn_while_others_get_on_but_not_for_ever(
    progress: Progress, clock: Clock
) -> None:
    with progress.work(FIRST):
        for clock.now in range(0, 101, 5):
            with progress.work(SECOND):
                pass
            assert progress.is_live
        clock.now = 101.0
        with progress.work(SECOND):
            pass
        assert not progress.is_live
        assert progress.is_spent


async def test_retries_of_one_batch_are_no_sign_of_life_of_another(progress: Progress, clock: Clock) -> None:
    hung = asyncio.Event()

    async def hang() -> None:
        with progress.work(FIRST):
            await hung.wait()

    hanging = asyncio.create_task(hang())
    await asyncio.sleep(0)
    with progress.work(SECOND):
        for clock.now in range(0, 200, 5):
            progress.moved()
    assert progress.is_spent
    hung.set()
    await hanging
    assert progress.is_live


@pytest.mark.parametrize(
    "stalled",
    [
        Standing(settled=7, handed=7, read=7, end=9),  # nothing is fetched
        Standing(settled=7, handed=9, read=9, end=9),  # what was fetched is taken by nobody
    ],
)
def test_a_partition_that_stands_although_there_is_more_is_not_live_whatever_others_do(
    progress: Progress, clock: Clock, stalled: Standing
) -> None:
    for clock.now in range(0, 13, 2):
        with progress.work(SECOND):
            pass
        progress.stands(
            {FIRST: stalled, SECOND: Standing(settled=int(clock.now), handed=99, read=99, end=99)}
        )
    assert not progress.is_live
    with progress.work(FIRST):  # it is taken in hand after all
        assert progress.is_live
    assert progress.is_live


def test_where_kafka_does_not_say_where_partitions_stand_none_is_blamed(
    progress: Progress, clock: Clock
) -> None:
    progress.stands({FIRST: Standing(settled=7, handed=7, read=7, end=9)})
    progress.stands({})
    clock.now = 1e6
    assert progress.is_live


async def test_an_event_loop_that_does_not_run_is_not_live(progress: Progress, clock: Clock) -> None:
    beating = asyncio.create_task(progress.beat())
    await asyncio.sleep(0)
    clock.now = 9.0
    assert progress.is_live
    clock.now = 11.0
    assert not progress.is_live
    clock.now = 101.0
    assert progress.is_spent
    beating.cancel()
    with suppress(asyncio.CancelledError):
        await beating
