import io
import time
from datetime import UTC, datetime

from rich.console import Console, RenderableType

from stream.alerts.alert import Alert, Explanation, Representative, State, Term
from stream.demo_seen import Seen
from stream.demo_view import Screen, line, summary
from stream.rolling import window_at
from stream.storyline import Turn
from tests.stream.examples import NOON_MS

SOUR, CALM = "星河少年团", "枫岛物语"
NOON = NOON_MS // 1000


def shown(renderable: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=120, record=True)
    console.print(renderable)
    return console.export_text()


def see(seen: Seen, community: str, negative: int) -> None:
    minutes = {NOON: {"n": 100, "neg": negative, "negativity": 0}}
    seen.see(window_at(community, "5m", NOON, minutes, {}))
    seen.see(window_at(community, "1h", NOON, minutes, {}))


def turning(*, until: float = 60.0) -> Seen:
    """Both calm at first; then one of them turns."""
    seen = Seen([SOUR, CALM], until)
    for community in (SOUR, CALM):
        see(seen, community, 18)
    seen.begin(Turn("spike", SOUR, time.time(), 600))
    see(seen, SOUR, 54)
    return seen


def alert(state: State = "firing", community: str = SOUR) -> Alert:
    at = datetime.fromtimestamp(NOON, UTC)
    said = Representative(
        id="1", text="退票通道打不开", author=None, created_at=at, labels=["anger"], negativity=0.9, copies=3
    )
    why = Explanation(
        comments=100,
        negative=54,
        terms=[Term(term="退票", z=9.0, comments=40)],
        posts=[],
        representatives=[said],
        by_few_authors=0.1,
        by_one_text=0.1,
    )
    return Alert(
        id=f"turning-sour/{community}/{NOON}",
        rule="turning-sour",
        kind="shift",
        community=community,
        severity="critical",
        state=state,
        at=at,
        since=at,
        value=0.54,
        limit=0.33,
        baseline=0.18,
        summary={"zh": "负面", "en": f"{community}: negative comments at 54%"},
        numbers={},
        explanation=why if state == "firing" else None,
        muted=False,
        link=None,
    )


def test_the_screen_shows_each_community_and_that_no_alert_has_come_yet() -> None:
    text = shown(Screen(turning()))
    assert all(part in text for part in (SOUR, CALM, "54%", "18%", "none yet"))
    assert "▲" not in text


def test_a_firing_alert_marks_its_community_and_says_why() -> None:
    seen = turning()
    seen.warn(alert())
    text = shown(Screen(seen))
    (marked,) = [line for line in text.splitlines() if "▲ alert" in line]
    assert SOUR in marked
    assert all(
        part in text
        for part in ("turning-sour, firing", "negative comments at 54%", "退票", "退票通道打不开")
    )


def test_a_resolved_alert_marks_nothing() -> None:
    seen = turning()
    seen.warn(alert())
    seen.warn(alert("resolved"))
    assert "▲" not in shown(Screen(seen))


def test_the_end_waits_for_an_alert_of_the_community_that_turned() -> None:
    seen = turning(until=0.0)
    seen.warn(alert(community=CALM))
    seen.warn(alert("resolved"))
    assert seen.warned_for_s < 0
    assert "waiting for this minute to be judged" in shown(Screen(seen))
    seen.warn(alert())
    assert seen.warned_for_s >= 0


def test_the_summary_names_the_turn_and_the_alert_that_told_of_it() -> None:
    seen = turning()
    assert f"{SOUR} went sour at" in shown(summary(seen))
    assert "no alert has told of it" in shown(summary(seen))
    seen.warn(alert())
    text = shown(summary(seen))
    assert "the alert came 0 s later" in text
    assert "turning-sour, firing" in text
    (row,) = [line for line in text.splitlines() if line.strip().startswith(SOUR) and "went" not in line]
    assert row.split()[-2:] == ["18%", "54%"]


def test_a_plain_line_names_progress_and_every_community() -> None:
    seen = turning()
    seen.sent = 12
    seen.settle(10)
    assert line(seen) == f"settled 10, lag 2, 0/s; negative over 5 m: {SOUR} 54%, {CALM} 18%"
