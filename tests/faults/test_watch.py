"""A commit is ahead of its fence only if Redis has not gone back in time meanwhile."""

from typing import Any

import pytest

from tests.faults.watch import Watch


@pytest.fixture
def watch() -> Watch:
    nobody: Any = None
    return Watch(nobody, nobody, nobody, "comments", "group", ["first", "second"])


def test_a_commit_ahead_of_the_fence_is_told(watch: Watch) -> None:
    watch.judge([5, 7], [5, 6])
    assert watch.commits_ahead == ["partition 1: committed 7, fence 6"]
    assert watch.commits_looked_at == 1


def test_after_redis_went_back_a_commit_may_stand_ahead_until_it_has_come_down(watch: Watch) -> None:
    watch.excuse(for_s=0)
    watch.judge([5, 7], [0, 0])
    assert watch.commits_ahead == []
    watch.judge([0, 7], [0, 0])
    watch.judge([5, 7], [0, 0])
    assert watch.commits_ahead == ["partition 0: committed 5, fence 0"]
