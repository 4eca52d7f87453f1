import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.alerts.conditions import Crowd, judge, wants_crowd
from stream.buckets import MINUTE
from tests.stream.alerts.examples import NOW, bucket, past, rule

CALM = bucket(20, 3, anger=1)
SOUR = bucket(20, 12, anger=9)
JOY = bucket(100, 3)
CALM_HOUR = bucket(1200, 180, anger=60)


def hours(count: int) -> list[dict[str, int]]:
    return [bucket(1200, 180 + (12 if hour % 2 else -12)) for hour in range(count)]


def test_a_threshold_holds_from_its_value_on():
    half = rule(kind="threshold", at_least=0.5, window="5m")
    assert judge(half, past([bucket(20, 10)] * 5)).holds
    assert not judge(half, past([bucket(20, 9)] * 5)).holds


def test_too_few_comments_give_no_verdict():
    assert judge(rule(kind="threshold", at_least=0.5, window="5m"), past([bucket(5, 5)] * 5)) is None


def test_mean_negativity_and_single_emotions_can_be_watched():
    mean = judge(rule(kind="threshold", of="negativity", at_least=0.5), past([SOUR] * 60))
    assert mean.value == pytest.approx((12 * 0.9 + 8 * 0.1) / 20)
    assert judge(rule(kind="shift", of="anger"), past([CALM] * 60 + [SOUR] * 5)).holds
    assert not judge(rule(kind="shift", of="joy"), past([CALM] * 60 + [SOUR] * 5)).holds


def test_a_shift_is_seen_against_the_hour_before_and_calm_is_not():
    shift = rule(kind="shift")
    assert judge(shift, past([CALM] * 60 + [SOUR] * 5)).holds
    assert not judge(shift, past([CALM] * 65)).holds
    assert not judge(shift, past([SOUR] * 65)).holds
    assert judge(shift, past([SOUR] * 5)) is None


def test_a_spike_stands_out_of_the_hours_before():
    spike = rule(kind="spike")
    assert judge(spike, past([SOUR] * 60, hours(12))).holds
    assert not judge(spike, past([CALM] * 60, hours(12))).holds
    assert judge(spike, past([SOUR] * 60, hours(5))) is None


def test_a_week_is_judged_day_against_day():
    week = rule(kind="week")
    calm = [CALM_HOUR] * (24 * 7)
    assert not judge(week, past([CALM] * 60, [*calm, *[CALM_HOUR] * 23])).holds
    assert judge(week, past([SOUR] * 60, [*calm, *[bucket(1200, 500)] * 24])).holds


def test_the_robust_rule_is_not_blinded_by_one_wild_night():
    wild = [*hours(30), *[bucket(1200, 1100)] * 5, *hours(7)]
    for robust in (rule(kind="robust"), rule(kind="spike")):
        assert judge(robust, past([bucket(20, 8)] * 60, wild)).holds
        assert not judge(robust, past([CALM] * 60, wild)).holds


def test_a_surge_counts_only_where_enough_of_it_is_negative():
    volume = rule(kind="volume", least_share=0.35)
    assert judge(volume, past([CALM] * 60 + [bucket(100, 60)] * 5)).holds
    assert not judge(volume, past([CALM] * 60 + [JOY] * 5)).holds
    assert judge(rule(kind="volume"), past([CALM] * 60 + [JOY] * 5)).holds


def test_silence_is_what_other_days_do_not_know_at_this_hour():
    silence = rule(kind="silence", window="10m")
    week = [CALM_HOUR] * (24 * 7)
    assert judge(silence, past([CALM] * 50, week, now=NOW - 30 * MINUTE)).holds is False
    assert judge(silence, past([bucket(0, 0)] * 10, week)).holds
    quiet_at_this_hour = [bucket(0, 0) if hour % 24 == 1 else CALM_HOUR for hour in range(24 * 7)]
    assert judge(silence, past([bucket(0, 0)] * 10, quiet_at_this_hour, now=NOW - MINUTE)) is None


def test_concentration_needs_negativity_first_and_then_few_authors():
    few = rule(kind="concentration", at_least=0.5, least_share=0.3, window="10m")
    assert wants_crowd(few, past([SOUR] * 10))
    assert not wants_crowd(few, past([CALM] * 10))
    assert judge(few, past([SOUR] * 10)) is None
    assert judge(few, past([SOUR] * 10), Crowd(by_authors=0.6, by_text=0.1)).holds
    assert not judge(few, past([SOUR] * 10), Crowd(by_authors=0.4, by_text=0.9)).holds
    copies = rule(kind="concentration", by="text", at_least=0.5, window="10m")
    assert judge(copies, past([SOUR] * 10), Crowd(by_authors=0.4, by_text=0.9)).holds


@given(st.integers(0, 20), st.integers(0, 20))
def test_more_negative_comments_never_silence_a_shift(some: int, more: int):
    some, more = sorted((some, more))
    shift = rule(kind="shift")
    fewer = judge(shift, past([CALM] * 60 + [bucket(20, some)] * 5))
    greater = judge(shift, past([CALM] * 60 + [bucket(20, more)] * 5))
    assert greater.holds or not fewer.holds


@given(st.lists(st.integers(0, 20), min_size=65, max_size=65))
def test_comments_older_than_the_windows_change_nothing(negative: list[int]):
    minutes = [bucket(20, count) for count in negative]
    shift = rule(kind="shift")
    assert judge(shift, past(minutes)) == judge(shift, past([SOUR] * 30 + minutes))
