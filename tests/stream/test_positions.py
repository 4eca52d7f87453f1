"""Laws of the positions: no hole, no overlap, no trust in what was fetched before a seek."""

from types import SimpleNamespace
from typing import Any

from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from stream.positions import Batch, Positions, Recheck

TOPIC = TP("comments", 0)


def records(*offsets: int) -> list[Any]:
    return [SimpleNamespace(offset=offset) for offset in offsets]


def positions(at: int) -> Positions:
    made = Positions()
    made.begin(TOPIC, at)
    return made


def test_a_batch_covers_from_where_the_last_one_ended_to_after_its_last_record() -> None:
    log = positions(5)
    first, second = log.take(TOPIC, records(5, 6)), log.take(TOPIC, records(7))
    assert isinstance(first, Batch)
    assert isinstance(second, Batch)
    assert (first.position, first.end, second.position, second.end) == (5, 7, 7, 8)


def test_a_jump_is_believed_only_when_a_second_fetch_shows_it() -> None:
    log = positions(5)
    assert log.take(TOPIC, records(9, 10)) == Recheck(5)
    batch = log.take(TOPIC, records(9, 10))
    assert isinstance(batch, Batch)
    assert (batch.position, batch.end) == (5, 11)


def test_records_fetched_before_a_seek_are_dropped_and_the_true_ones_taken() -> None:
    log = positions(5)
    assert log.take(TOPIC, records(200, 201)) == Recheck(5)
    batch = log.take(TOPIC, records(5, 6))
    assert isinstance(batch, Batch)
    assert (batch.position, batch.end) == (5, 7)


def test_records_below_the_position_are_dropped() -> None:
    log = positions(5)
    assert log.take(TOPIC, records(2, 3)) is None
    batch = log.take(TOPIC, records(3, 4, 5, 6))
    assert isinstance(batch, Batch)
    assert [record.offset for record in batch.records] == [5, 6]


def test_a_batch_is_no_longer_current_after_a_seek_or_a_revocation() -> None:
    log = positions(0)
    batch = log.take(TOPIC, records(0))
    assert isinstance(batch, Batch)
    assert log.is_current(batch)
    log.begin(TOPIC, 0)
    assert not log.is_current(batch)
    log.settle(batch)
    assert log.settled[TOPIC] == 0

    again = log.take(TOPIC, records(0))
    assert isinstance(again, Batch)
    log.keep(set())
    assert not log.is_current(again)
    assert TOPIC not in log
    assert log.take(TOPIC, records(1)) is None


@given(
    st.sets(st.integers(0, 60), min_size=1),
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 8)), max_size=60),
)
def test_whatever_is_fetched_batches_tile_the_log_without_hole_or_overlap(
    log: set[int], fetches: list[tuple[int, int]]
) -> None:
    """`log` are the offsets that exist; each fetch begins anywhere, as after a seek that came too late."""
    standing = positions(0)
    covered: list[Batch] = []
    wanted = 0
    for start, count in [*fetches, *((None, 8) for _ in range(200))]:
        offsets = sorted(offset for offset in log if offset >= (wanted if start is None else start))[:count]
        if not offsets:
            continue
        # only a fetch from the position itself may follow a recheck
        taken = standing.take(TOPIC, records(*offsets))
        if isinstance(taken, Recheck):
            taken = standing.take(TOPIC, records(*sorted(o for o in log if o >= taken.position)[:count]))
        if isinstance(taken, Batch):
            covered.append(taken)
            wanted = taken.end
    assert [batch.position for batch in covered] == [0, *(batch.end for batch in covered[:-1])]
    seen = [record.offset for batch in covered for record in batch.records]
    assert seen == sorted(log)
