"""How unusual a community is: the judgement behind the ranking."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.board.standing import Stretch, level, share_score, standing, volume_score

QUIET = Stretch(comments=200, share=0.15, comments_before=200, share_before=0.15, usual=0.15, spread=0.04)
SHARES = st.floats(0, 1)
COUNTS = st.integers(1, 100_000)


def stretch(comments: int, share: float | None, **others: object) -> Stretch:
    return Stretch(
        **{"comments_before": 200, "share_before": 0.15, "usual": 0.15, "spread": 0.04}
        | others
        | {"comments": comments, "share": share}
    )


def test_a_spike_of_five_minutes_is_judged_by_the_five_minutes() -> None:
    now = standing(stretch(100, 0.6), QUIET)
    assert (now.basis, now.share, level(now.unusual)) == ("5m", 0.6, "very")


def test_a_slow_turn_is_judged_by_the_hour() -> None:
    now = standing(stretch(4, 0.25), stretch(900, 0.4))
    assert (now.basis, now.share, level(now.unusual)) == ("1h", 0.4, "very")


def test_the_usual_share_is_usual() -> None:
    assert level(standing(QUIET, QUIET).unusual) == "usual"


def test_two_angry_comments_are_no_spike() -> None:
    assert level(share_score(stretch(2, 1.0))) == "usual"


def test_a_community_without_a_week_behind_it_is_judged_by_the_window_before() -> None:
    young = stretch(300, 0.6, usual=None, spread=None)
    assert level(share_score(young)) == "very"


def test_a_first_comment_ever_has_nothing_to_be_compared_with() -> None:
    first = stretch(1, 1.0, usual=None, spread=None, comments_before=0, share_before=None)
    assert share_score(first) == 0


def test_silence_has_no_share_but_stands_out_by_volume() -> None:
    silent = stretch(0, None, comments_before=3000)
    now = standing(silent, silent)
    assert (now.share, level(now.unusual)) == (None, "very")
    assert now.volume_score < 0


@given(COUNTS, SHARES, SHARES, st.floats(0, 0.3))
def test_more_negativity_never_looks_less_unusual(
    comments: int, one: float, other: float, spread: float
) -> None:
    low, high = sorted((one, other))
    assert share_score(stretch(comments, low, spread=spread)) <= share_score(
        stretch(comments, high, spread=spread)
    )


@given(COUNTS, SHARES)
def test_a_share_at_or_below_the_usual_scores_nothing(comments: int, usual: float) -> None:
    assert share_score(stretch(comments, usual * 0.9, usual=usual)) == 0


@given(COUNTS, COUNTS)
def test_a_surge_and_the_fall_back_from_it_are_equally_unusual(one: int, other: int) -> None:
    up = volume_score(stretch(one, 0.1, comments_before=other))
    assert up == pytest.approx(-volume_score(stretch(other, 0.1, comments_before=one)))
