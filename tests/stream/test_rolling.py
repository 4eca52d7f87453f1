from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.rolling import SIZES, Size, starts, window_at
from tests.stream.examples import NOON_MS

NOON = NOON_MS // 1000
MINUTE, HOUR, DAY = 60, 3600, 86400


def bucket(n: int, neg: int = 0, **more: int) -> dict[str, int]:
    return {"n": n, "neg": neg, "negativity": neg * 900_000} | {
        k.replace("_", ":"): v for k, v in more.items()
    }


def test_a_window_holds_the_buckets_up_to_the_current_unfinished_one() -> None:
    assert list(starts("5m", NOON + 59)) == [NOON - 240, NOON - 180, NOON - 120, NOON - 60, NOON]
    assert starts("1h", NOON)[0] == NOON - 59 * MINUTE
    assert starts("24h", NOON + 1800)[-1] == NOON
    assert len(starts("24h", NOON)) == 24


@pytest.mark.parametrize("size", SIZES)
def test_the_window_before_ends_where_this_one_begins(size: Size) -> None:
    assert starts(size, NOON, back=1).stop == starts(size, NOON).start


def test_a_window_sums_its_buckets_and_leaves_out_the_rest() -> None:
    minutes = {
        NOON - 5 * MINUTE: bucket(100, 100),
        NOON - 4 * MINUTE: bucket(3, 1, l_anger=1, s_anger=900_000, l_joy=2, s_joy=1_200_000),
        NOON: bucket(1, l_joy=1, s_joy=800_000, rej=2),
        NOON + MINUTE: bucket(100, 100),
    }
    window = window_at("starlight", "5m", NOON + 30, minutes, {}, authors=3)
    assert (window.comments, window.negative, window.negative_share) == (4, 1, 0.25)
    assert window.negativity == 0.225
    assert window.rejected == 2
    assert window.authors == 3
    assert window.emotions["joy"].model_dump() == {"comments": 3, "share": 0.75, "mean": 0.5}
    assert window.emotions["anger"].model_dump() == {"comments": 1, "share": 0.25, "mean": 0.225}
    assert (window.start.timestamp(), window.end.timestamp()) == (NOON - 240, NOON + 60)
    assert window.as_of.timestamp() == NOON + 30


def test_the_change_is_against_the_window_before() -> None:
    minutes = {NOON - 5 * MINUTE: bucket(10, 2), NOON: bucket(10, 5)}
    window = window_at("starlight", "5m", NOON, minutes, {})
    assert window.before.model_dump() == {"comments": 10, "negative_share": 0.2}
    assert window.change == 0.3


def test_a_window_without_comments_has_no_share_and_no_change() -> None:
    window = window_at("starlight", "1h", NOON, {NOON - 60 * MINUTE: bucket(10, 2)}, {})
    assert window.comments == 0
    assert (window.negative_share, window.negativity, window.change, window.z) == (None, None, None, None)


def past_week(*shares: tuple[int, int]) -> dict[int, dict[str, int]]:
    """Closed hours before noon, newest first, as (comments, negative)."""
    return {NOON - (back + 1) * HOUR: bucket(*share) for back, share in enumerate(shares)}


def test_z_counts_standard_deviations_from_the_mean_of_the_past_hours() -> None:
    hours = past_week(*[(10, 1), (1000, 300)] * 12)  # shares 0.1 and 0.3, equally weighted
    window = window_at("starlight", "5m", NOON, {NOON: bucket(10, 4)}, hours)
    assert window.baseline is not None
    assert (window.baseline.mean, window.baseline.periods) == (0.2, 24)
    assert window.baseline.deviation == pytest.approx(0.102151, abs=1e-6)  # sqrt(24 * 0.01 / 23)
    assert window.z == pytest.approx(0.2 / 0.102151, abs=1e-3)


def test_there_is_no_baseline_from_fewer_than_24_hours_or_3_days_of_comments() -> None:
    assert window_at("starlight", "5m", NOON, {}, past_week(*[(10, 1)] * 23)).baseline is None
    two_days = {NOON - (24 + hour) * HOUR: bucket(10, 1) for hour in range(48)}
    assert window_at("starlight", "24h", NOON, {}, two_days).baseline is None


def test_the_running_hour_and_hours_older_than_a_week_are_not_in_the_baseline() -> None:
    hours = past_week(*[(10, 1)] * 24) | {NOON: bucket(10, 10), NOON - 169 * HOUR: bucket(10, 10)}
    window = window_at("starlight", "1h", NOON + 1800, {}, hours)
    assert window.baseline is not None
    assert (window.baseline.mean, window.baseline.periods) == (0.1, 24)


def test_the_baseline_of_a_day_is_made_of_the_days_before_it() -> None:
    last = {NOON - back * HOUR: bucket(1, 1) for back in range(24)}
    before = {NOON - (24 + back) * HOUR: bucket(1, back // 24 % 2) for back in range(4 * 24)}
    window = window_at("starlight", "24h", NOON, {}, last | before)
    assert window.baseline is not None
    assert (window.baseline.mean, window.baseline.periods) == (0.5, 4)
    assert window.negative_share == 1


def test_z_is_null_where_the_past_never_varied() -> None:
    window = window_at("starlight", "5m", NOON, {NOON: bucket(10, 4)}, past_week(*[(10, 1)] * 24))
    assert window.baseline is not None
    assert window.z is None


_BUCKETS = st.dictionaries(
    st.integers(-130, 2).map(lambda back: NOON + back * MINUTE),
    st.integers(0, 50).flatmap(
        lambda n: st.fixed_dictionaries(
            {
                "n": st.just(n),
                "neg": st.integers(0, n),
                "l:joy": st.integers(0, n),
                "s:joy": st.integers(0, n * 10**6),
            }
        )
    ),
    max_size=30,
)


def merged(*parts: dict[int, dict[str, int]]) -> dict[int, dict[str, int]]:
    total: dict[int, dict[str, int]] = {}
    for part in parts:
        for start, fields in part.items():
            into = total.setdefault(start, {})
            for name, amount in fields.items():
                into[name] = into.get(name, 0) + amount
    return total


@given(first=_BUCKETS, second=_BUCKETS)
def test_the_window_of_merged_partitions_is_the_merge_of_their_windows(first: Any, second: Any) -> None:
    one, two, both = (
        window_at("starlight", "1h", NOON, buckets, {}) for buckets in (first, second, merged(first, second))
    )
    assert both.comments == one.comments + two.comments
    assert both.negative == one.negative + two.negative
    assert both.before.comments == one.before.comments + two.before.comments
    joy = [window.emotions["joy"].comments if window.emotions else 0 for window in (one, two, both)]
    assert joy[2] == joy[0] + joy[1]
