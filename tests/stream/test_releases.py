"""What an operator says about versions: the canary's partitions, the steps forth and back, their form in Redis."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import ConfigurationError
from stream.releases import VERSIONS_REMEMBERED, Canary, Release

VERSIONS = st.integers(1, 99).map(str)
SHARES = st.floats(0, 1)
CANARIES = st.builds(Canary, VERSIONS, SHARES)
RELEASES = st.builds(
    Release,
    st.none() | VERSIONS,
    st.lists(VERSIONS, max_size=VERSIONS_REMEMBERED).map(tuple),
    st.none() | CANARIES,
    st.none() | VERSIONS,
)


@given(RELEASES)
def test_a_release_is_read_as_it_was_written(release: Release) -> None:
    assert Release.parse("emotion_zh", release.fields("emotion_zh")) == release


@given(VERSIONS, SHARES, SHARES, st.integers(0, 1000))
def test_a_larger_share_keeps_the_partitions_of_a_smaller_one(
    version: str, share: float, other: float, partition: int
) -> None:
    smaller, larger = sorted((share, other))
    if Canary(version, smaller).takes("emotion_zh", partition):
        assert Canary(version, larger).takes("emotion_zh", partition)


def test_a_share_of_one_takes_all_partitions_and_of_none_no_partition() -> None:
    assert all(Canary("2", 1.0).takes("emotion_zh", partition) for partition in range(1000))
    assert not any(Canary("2", 0.0).takes("emotion_zh", partition) for partition in range(1000))


def test_a_canary_takes_about_its_share_and_other_versions_take_other_partitions() -> None:
    taken = [[p for p in range(4000) if Canary(version, 0.2).takes("emotion_zh", p)] for version in "23"]
    assert all(700 < len(partitions) < 900 for partitions in taken)
    assert taken[0] != taken[1]


@given(RELEASES, VERSIONS, VERSIONS)
def test_a_rollback_serves_what_the_promotion_replaced(release: Release, version: str, served: str) -> None:
    promoted = release.promoted(version, served)
    assert (promoted.version, promoted.canary) == (version, None)
    if version != served:
        assert promoted.rolled_back().version == served


def test_versions_before_are_gone_back_to_one_by_one() -> None:
    release = Release().promoted("2", "1").promoted("3", "2")
    assert release.rolled_back().rolled_back() == Release(version="1")


def test_a_rollback_ends_the_canary_first_and_leaves_what_serves() -> None:
    release = Release("2", ("1",), Canary("3", 0.1), shadow="3")
    assert release.rolled_back() == Release("2", ("1",))
    assert release.rolled_back().rolled_back() == Release("1")


def test_a_promoted_shadow_is_no_shadow_any_more() -> None:
    assert Release(shadow="2").promoted("2", "1").shadow is None
    assert Release(shadow="3").promoted("2", "1").shadow == "3"


def test_nothing_to_roll_back_is_said() -> None:
    with pytest.raises(ConfigurationError, match="nothing to roll back"):
        Release("2").rolled_back()


def test_a_canary_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ConfigurationError, match="emotion_zh:canary"):
        Release.parse("emotion_zh", {"emotion_zh:canary": "2 a-fifth"})
