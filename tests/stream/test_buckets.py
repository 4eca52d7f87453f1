from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stream.buckets import HOUR, MINUTE, Increments, settlement
from stream.events import Event, dumps
from tests.stream.examples import EMOTIONS, NOON_MS, event, scores

NOON = NOON_MS // 1000


def settled(events: list[Event], rejected: Any = ()) -> Any:
    return settlement(0, len(events), [(e, dumps(e)) for e in events], rejected)


def test_a_batch_sums_to_integer_increments_of_minutes_and_hours() -> None:
    first = event(0, scores(anger=0.75))
    second = event(1, scores(joy=0.5), created_at_ms=NOON_MS + 60_000)
    result = settled([first, second], [("", NOON_MS)])
    assert result.events == [(0, dumps(first)), (1, dumps(second))]
    assert result.increments == {
        f"m:{NOON}:starlight": {"n": 1, "neg": 1, "negativity": 750_000, "l:anger": 1, "s:anger": 750_000},
        f"m:{NOON + 60}:starlight": {"n": 1, "l:joy": 1, "s:joy": 500_000},
        f"m:{NOON}:": {"rej": 1},
        f"h:{NOON}:starlight": {
            "n": 2, "neg": 1, "negativity": 750_000,
            "l:anger": 1, "l:joy": 1, "s:anger": 750_000, "s:joy": 500_000,
        },
        f"h:{NOON}:": {"rej": 1},
    }  # fmt: skip
    assert result.authors[f"h:{NOON}:starlight"] == [first["author"]]


def test_a_comment_counts_in_its_own_minute_and_hour_however_late_it_comes() -> None:
    assert set(settled([event(0, created_at_ms=NOON_MS - 1)]).increments) == {
        f"m:{NOON - MINUTE}:starlight",
        f"h:{NOON - HOUR}:starlight",
    }


def test_a_rejection_counts_in_the_minute_of_its_record() -> None:
    result = settled([], [("starlight", NOON_MS + 59_999), ("starlight", NOON_MS)])
    assert result.increments[f"m:{NOON}:starlight"] == {"rej": 2}
    assert result.authors == {}


def test_an_author_is_named_once_a_bucket_and_the_anonymous_not_at_all() -> None:
    result = settled([event(0), event(1), event(2, author=None), event(3, author="somebody else")])
    assert len(result.authors[f"m:{NOON}:starlight"]) == 2


def test_a_community_may_hold_colons() -> None:
    assert f"m:{NOON}:a:b" in settled([event(0, community="a:b")]).increments


_MILLIONTHS = st.integers(0, 10**6)


@st.composite
def batches(draw: Any) -> list[Event]:
    count = draw(st.integers(0, 12))
    return [
        event(
            offset,
            scores(
                **{label: draw(_MILLIONTHS) / 10**6 for label in draw(st.sets(st.sampled_from(EMOTIONS)))}
            ),
            community=draw(st.sampled_from(["starlight", "moonlight"])),
            created_at_ms=NOON_MS + draw(st.integers(-4_000_000, 4_000_000)),
            author=draw(st.sampled_from(["a", "b", None])),
        )
        for offset in range(count)
    ]


def total(*parts: Increments) -> dict[str, Counter[str]]:
    summed: dict[str, Counter[str]] = {}
    for part in parts:
        for bucket, fields in part.items():
            summed.setdefault(bucket, Counter()).update(fields)
    return summed


def recount(events: list[Event]) -> dict[str, Counter[str]]:
    """The slow and obvious way: each event rounded by itself."""
    buckets: dict[str, Counter[str]] = {}
    for one in events:
        second = int(one["created_at"].timestamp())
        for kind, step in (("m", MINUTE), ("h", HOUR)):
            fields = buckets.setdefault(f"{kind}:{second // step * step}:{one['community']}", Counter())
            fields["n"] += 1
            fields["neg"] += one["negative"]
            fields["negativity"] += round(one["negativity"] * 10**6)
            fields.update({f"l:{label}": 1 for label in one["labels"]})
            fields.update({f"s:{label}": round(score * 10**6) for label, score in one["scores"].items()})
    return {bucket: +fields for bucket, fields in buckets.items()}


@given(events=batches(), cut=st.integers(0, 12))
def test_the_increments_of_batches_sum_to_a_recount_however_they_are_cut(
    events: list[Event], cut: int
) -> None:
    assert total(settled(events[:cut]).increments, settled(events[cut:]).increments) == recount(events)


@given(events=batches(), data=st.data())
def test_the_order_of_events_does_not_matter(events: list[Event], data: Any) -> None:
    shuffled = data.draw(st.permutations(events))
    assert settled(shuffled).increments == settled(events).increments
    assert settled(shuffled).authors == settled(events).authors


@given(millionths=st.lists(_MILLIONTHS, min_size=1, max_size=300))
def test_sums_are_exact_to_the_millionth(millionths: list[int]) -> None:
    events = [event(offset, scores(joy=score / 10**6)) for offset, score in enumerate(millionths)]
    bucket = settled(events).increments[f"h:{NOON}:starlight"]
    assert bucket.get("s:joy", 0) == sum(millionths)
    assert all(type(amount) is int for amount in bucket.values())
