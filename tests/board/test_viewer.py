"""What one viewer is sent: the latest, once, however many ticks it missed."""

from stream.board.reader import Reader
from stream.board.said import Said
from stream.board.viewer import COMMENTS_A_FRAME, Viewer
from stream.board.watch import Watch
from stream.connections import connect_redis
from stream.keys import Keys
from stream.rolling import SIZES, window_at
from stream.settings import Settings


def watch() -> Watch:
    """A watch that never reads Redis: the tests say what it has seen."""
    keys = Keys()
    return Watch(Reader(connect_redis(Settings()), keys, "comments"), keys)


def said(number: int, community: str = "lamplight", *, negative: bool = False) -> Said:
    emotion = "anger" if negative else "joy"
    return Said(f"k#{number}-1", community, "hello", False, number, (emotion,), 0.5, negative, None, None)


def tick(seen: Watch, *comments: Said, minute: int = 0) -> None:
    seen.version += 1
    seen.comments.extend((seen.version, comment) for comment in comments)
    seen.rows.publish(
        [window_at("lamplight", size, 6e8, {6e8 // 60 * 60: {"n": minute}}, {}) for size in SIZES],
        seen.version,
    )


def test_a_viewer_that_missed_ticks_gets_one_frame_with_the_latest_of_all() -> None:
    seen, viewer = watch(), Viewer("lamplight", 60, "one", None)
    tick(seen, minute=1)
    viewer.frame(seen)
    for number in range(50):
        tick(seen, said(number), minute=number + 2)
    frame = viewer.frame(seen)
    assert [row["n"] for row in frame["rows"]] == [51]
    assert [comment["at"] for comment in frame["comments"]] == [49, 48, 47, 46, 45, 44]
    assert len(frame["comments"]) == COMMENTS_A_FRAME
    assert viewer.frame(seen)["rows"] == viewer.frame(seen)["comments"] == []


def test_a_rare_comment_is_not_lost_among_many_others() -> None:
    seen, viewer = watch(), Viewer("lamplight", 60, "all", "negative")
    tick(seen)
    viewer.frame(seen)
    tick(seen, said(1, negative=True), *(said(number) for number in range(2, 900)))
    assert [comment["at"] for comment in viewer.frame(seen)["comments"]] == [1]


def test_after_a_reload_a_frame_is_whole_again() -> None:
    seen, viewer = watch(), Viewer(None, 60, "all", None)
    tick(seen, minute=3)
    seen.loaded = seen.version
    assert viewer.frame(seen)["whole"]
    tick(seen, minute=3)
    assert not viewer.frame(seen)["whole"]
    tick(seen, minute=3)
    seen.loaded = seen.version
    frame = viewer.frame(seen)
    assert frame["whole"]
    assert len(frame["rows"]) == 1
