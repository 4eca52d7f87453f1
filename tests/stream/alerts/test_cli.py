import asyncio
from datetime import UTC
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deploy.local import Redis
from stream.alerts.alert import Alert
from stream.alerts.cli import app
from stream.alerts.leader import Lease
from stream.alerts.service import Service
from stream.alerts.store import Changes, Store
from stream.client import Fanpulse
from tests.stream.alerts.examples import rules_file
from tests.stream.alerts.town import Clock, Town
from tests.stream.test_client import alert

RULES = '[[rule]]\nname = "turning"\nkind = "shift"\n'


def fanpulse(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def test_check_lists_good_rules_and_names_what_is_wrong_with_bad_ones(tmp_path: Path):
    good = fanpulse("check", "--rules", str(rules_file(tmp_path, RULES)))
    assert good.exit_code == 0
    assert "turning: shift" in good.output
    bad = fanpulse("check", "--rules", str(rules_file(tmp_path, RULES + "window = 5\n")))
    assert bad.exit_code == 2
    assert "rule 'turning': window" in bad.output


def test_check_accepts_the_rules_that_are_shipped():
    assert "turning-sour" in fanpulse("check").output


@pytest.fixture
async def told(redis_server: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Alert]:
    """An alert that fires, and one that was never delivered."""
    monkeypatch.setenv("FANPULSE_REDIS_URL", redis_server.url)
    async with Fanpulse(redis_server.url) as fp:
        clock, town = Clock(), Town(fp)
        await town.live(range(60), 2)
        await town.live(range(60, 66), 14)
        service = Service(fp, rules_file(tmp_path, RULES), clock=clock)
        for minute in range(59, 66):
            clock.after(minute)
            await service.turn()
        store, token = Store(fp.redis, fp.keys), await Lease(fp.redis, fp.keys).hold() or 1
        minute = (await store.status())["minute"]
        await store.commit(token, minute, Changes(outbox=[("ops", alert(1))]), {})
        (message,) = await store.outbox()
        await store.delivered(token, message, "HTTP 500")
        return await fp.recent_alerts()


async def _in_thread(*words: str) -> Result:
    return await asyncio.to_thread(fanpulse, *words)


@pytest.mark.usefixtures("told")
async def test_list_shows_what_fires_and_up_to_when_was_judged():
    output = (await _in_thread("list")).output
    assert "firing" in output
    assert "starlight" in output
    assert "judged up to 2026-11-21 13:05 UTC" in output


@pytest.mark.usefixtures("told")
async def test_dead_letters_are_shown_and_sent_again():
    assert "ops: r/c/1/firing: HTTP 500" in (await _in_thread("dead")).output
    await _in_thread("dead", "--retry")
    assert (await _in_thread("dead")).output == ""


async def test_a_backtest_on_history_tells_what_the_alert_process_told(told: list[Alert], tmp_path: Path):
    rules, plot = str(tmp_path / "rules.toml"), tmp_path / "plot.html"
    span = ("--from", "2026-11-21T12:30:00", "--to", "2026-11-21T13:06:00")
    result = await _in_thread("backtest", "--rules", rules, *span, "--plot", str(plot))
    assert result.exit_code == 0, result.output
    assert told[0].at.astimezone(UTC).strftime("%Y-%m-%d %H:%M") in result.output
    assert result.output.count("firing") == 1
    assert "starlight" in plot.read_text(encoding="utf-8")


@pytest.mark.usefixtures("told")
async def test_a_backtest_of_a_time_that_is_not_kept_says_so():
    span = ("--from", "2026-11-20T12:30:00", "--to", "2026-11-20T13:06:00")
    assert "FANPULSE_MINUTES_KEPT_S" in (await _in_thread("backtest", *span)).output
