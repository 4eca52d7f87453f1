from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream.alerts.cli import app
from stream.alerts.rules_file import DEFAULT_RULES, load
from stream.alerts.trial import JUDGED, attempt, draw, turns_of
from stream.storyline import COMMUNITIES


@pytest.fixture(scope="module")
def trial():
    return attempt(load(DEFAULT_RULES).rule, range(2))


def test_the_default_rules_find_every_planned_turn_in_time_and_call_no_joy_alarming(trial):
    assert len(trial.turns) == 10
    assert trial.recall() == 1.0
    assert trial.false_per_week < 1


def test_every_story_has_one_turn_of_each_kind_and_never_two_at_once():
    turns = turns_of(7)
    assert len({turn.kind for turn in turns}) == len(turns) == 6
    assert len({(turn.community, (turn.start - JUDGED.start) // 86_400) for turn in turns}) == 6
    assert all(JUDGED.start <= turn.start <= turn.start + turn.duration_s <= JUDGED.stop for turn in turns)


def test_counts_follow_the_story():
    turns = turns_of(7)
    turn = next(turn for turn in turns if turn.kind == "souring")
    series, _ = draw(7, turn.community, turns)
    calm = series.past(int(turn.start) // 60 * 60 - 60).stretch(60)
    sour = series.past(int(turn.start) // 60 * 60 + 3600).stretch(30)
    assert calm.share("negative") < 0.35 < 0.5 < sour.share("negative")
    assert sour.share("anger") > calm.share("anger")


def test_the_command_reports_on_storylines_and_draws_them(tmp_path: Path):
    plot = tmp_path / "plot.html"
    result = CliRunner().invoke(app, ["backtest", "--storylines", "1", "--plot", str(plot)])
    assert result.exit_code == 0, result.output
    assert "recall within 5 min" in result.output
    page = plot.read_text(encoding="utf-8")
    assert page.count("<svg") == len(COMMUNITIES)
    assert "<script" not in page.replace('<script type="text/javascript">window.pygal', "")
    assert "href=" not in page.replace('xlink:href="#', "")
