from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stream.alerts.conditions import Judgement
from stream.alerts.lifecycle import after_gap, step
from stream.buckets import MINUTE
from tests.stream.alerts.examples import rule

RULE = rule(kind="threshold", at_least=0.5, for_="2m", hysteresis=0.6, clear_for="3m", cool_down="10m")


def told(values: list[float | None], of=RULE) -> list[tuple[int, str]]:
    """Judge one value a minute; what was told, at which minute."""
    track, changes = None, []
    for number, value in enumerate(values):
        judgement = None if value is None else Judgement(value, 0.5)
        track, change = step(of, track, judgement, number * MINUTE)
        if change:
            changes.append((number, change))
    return changes


def test_a_condition_fires_when_it_has_held_for_its_time():
    assert told([0.6, 0.6, 0.6]) == [(2, "firing")]


def test_an_interruption_begins_the_wait_anew():
    assert told([0.6, 0.6, 0.4, 0.6, 0.6]) == []


def test_without_a_wait_it_fires_at_once():
    assert told([0.6], rule(kind="threshold", at_least=0.5)) == [(0, "firing")]


def test_it_is_resolved_when_it_has_been_well_below_the_limit_for_long_enough():
    assert told([0.6] * 3 + [0.2] * 4) == [(2, "firing"), (6, "resolved")]
    assert told([0.6] * 3 + [None] * 4) == [(2, "firing"), (6, "resolved")]


def test_a_value_between_the_limits_keeps_it_firing():
    assert told([0.6] * 3 + [0.35, 0.45] * 20) == [(2, "firing")]


def test_after_an_alert_nothing_fires_until_the_cool_down_is_over():
    changes = told([0.6] * 3 + [0.0] * 4 + [0.6] * 30)
    assert changes == [(2, "firing"), (6, "resolved"), (18, "firing")]


def test_what_a_community_gets_used_to_resolves_nothing():
    shift = rule(kind="shift", clear_for="1m")
    track, _ = step(shift, None, Judgement(0.6, 0.4, 0.2), 0)
    for minute in range(1, 60):  # the hour before turns as sour as now: the limit rises, the value stays
        track, change = step(shift, track, Judgement(0.6, 0.8, 0.6), minute * MINUTE)
        assert change is None
    assert track.phase == "firing"


def test_a_gap_ends_waiting_but_no_alert():
    pending, _ = step(RULE, None, Judgement(0.6, 0.5), 0)
    assert after_gap(pending) is None
    track = None
    for number, value in enumerate([0.6, 0.6, 0.6, 0.1]):
        track, _ = step(RULE, track, Judgement(value, 0.5), number * MINUTE)
    assert track.clear_since is not None
    kept = after_gap(track)
    assert kept.phase == "firing"
    assert kept.clear_since is None


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=120))
def test_firing_and_resolved_take_turns_and_keep_their_distance(values: list[float | None]):
    changes = told(values)
    assert [change for _, change in changes] == ["firing", "resolved"] * (len(changes) // 2) + ["firing"] * (
        len(changes) % 2
    )
    for (earlier, change), (later, _) in pairwise(changes):
        assert later - earlier >= (3 if change == "firing" else 10)


@given(st.lists(st.floats(0.31, 0.49), max_size=60))
def test_values_between_the_limits_never_tell_anything(values: list[float]):
    assert told(values) == []
    assert told([0.6] * 3 + values) == [(2, "firing")]
