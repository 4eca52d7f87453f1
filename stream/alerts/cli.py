"""`fanpulse alerts …`: run the alert process, check its rules, see what it did, try rules on the past."""

import asyncio
import signal
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from stream.alerts.rules_file import DEFAULT_RULES

app = typer.Typer(help="Warn when a community turns.", no_args_is_help=True)

RulesFile = Annotated[
    Path, typer.Option("--rules", envvar="FANPULSE_ALERT_RULES", help="Rules file (TOML).", dir_okay=False)
]


@app.command("run")
def run_service(rules: RulesFile = DEFAULT_RULES) -> None:
    """Judge every minute and send alerts, until SIGTERM. Start as many replicas as you like: one leads."""
    from stream.alerts.service import Service
    from stream.cli import load_settings, run
    from stream.client import Fanpulse
    from stream.logs import log_to_stderr

    settings = load_settings()
    log_to_stderr(settings)

    async def serve() -> None:
        async with Fanpulse.of(settings) as fp:
            service = asyncio.create_task(Service(fp, rules).run())
            for name in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(name, service.cancel)
            with suppress(asyncio.CancelledError):
                await service

    run(serve())


@app.command()
def check(rules: RulesFile = DEFAULT_RULES) -> None:
    """Say what a rules file watches for, or what is wrong with it."""
    from stream.alerts.rules_file import load
    from stream.cli import fail
    from stream.errors import ConfigurationError

    try:
        content = load(rules)
    except ConfigurationError as error:
        fail(error, 2)
    for rule in content.rule:
        told = ", ".join(content.channels(rule)) or "the alerts stream alone"
        typer.echo(f"{rule.name}: {rule.kind}, {rule.severity}, {', '.join(rule.communities)} → {told}")


@app.command("list")
def list_alerts() -> None:
    """Show what is firing or pending now, and how the alert process does."""
    from rich.console import Console
    from rich.table import Table

    from stream.alerts.store import Store
    from stream.cli import load_settings, run
    from stream.client import Fanpulse

    settings = load_settings()

    async def show() -> None:
        async with Fanpulse.of(settings) as fp:
            store = Store(fp.redis, fp.keys)
            status, tracks = await store.status(), await store.tracks()
        table = Table("state", "rule", "community", "since (UTC)", "")
        for key, track in sorted(tracks.items()):
            if track.phase != "resolved":
                since = datetime.fromtimestamp(track.since, UTC).strftime("%m-%d %H:%M")
                summary = track.alert.summary["en"] if track.alert else ""
                table.add_row(track.phase, key.rule, key.community, since, summary)
        console = Console()
        console.print(table)
        judged = status.get("minute")
        console.print(f"judged up to {_minute(judged)}" if judged else "no minute judged yet")
        if status.get("missing_since"):
            console.print(f"[red]no data since {_minute(status['missing_since'])}")
        if status.get("rules_error"):
            console.print(status["rules_error"], style="red", markup=False)

    run(show())


@app.command()
def dead(
    retry: Annotated[bool, typer.Option("--retry", help="Send them again.")] = False,
) -> None:
    """Show alerts that a channel never took, with the last error."""
    from stream.alerts.store import Store
    from stream.cli import load_settings, run
    from stream.client import Fanpulse

    settings = load_settings()

    async def show() -> None:
        async with Fanpulse.of(settings) as fp:
            store = Store(fp.redis, fp.keys)
            for message in await store.dead():
                typer.echo(f"{message.channel}: {message.alert.key}: {message.error}")
                if retry:
                    await store.revive(message)

    run(show())


@app.command()
def backtest(
    rules: RulesFile = DEFAULT_RULES,
    since: Annotated[datetime | None, typer.Option("--from", help="Start of the history, UTC.")] = None,
    until: Annotated[datetime | None, typer.Option("--to", help="Its end; now if not given.")] = None,
    storylines: Annotated[
        int | None,
        typer.Option(min=1, help="Judge this many invented stories, whose turns are known."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first story; the others follow.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Write charts to this HTML file.", dir_okay=False)] = None,
) -> None:
    """Tell what rules would have fired, on this deployment's history or on invented stories."""
    from rich.console import Console

    from stream.alerts import report, trial
    from stream.alerts.backtest import replay
    from stream.alerts.rules_file import load
    from stream.alerts.watch import history
    from stream.buckets import MINUTE
    from stream.cli import fail, load_settings, run
    from stream.client import Fanpulse
    from stream.errors import ConfigurationError
    from stream.storyline import COMMUNITIES

    console = Console()
    try:
        watched = load(rules, environment=None).rule
    except ConfigurationError as error:
        fail(error, 2)
    if storylines is not None:
        result = trial.attempt(watched, range(seed, seed + storylines))
        console.print(report.trial_table(result), report.rules_table(result.true_alerts, result.false_alerts))
        if plot:
            turns = trial.turns_of(seed)
            known = {community: trial.draw(seed, community, turns)[0] for community in COMMUNITIES}
            told = trial.judge_storyline(watched, seed)
            report.write_charts(plot, known, trial.JUDGED, told, turns)
        return
    if since is None:
        fail(ConfigurationError("say --from when, or --storylines how many"), 2)
    start = int(since.replace(tzinfo=UTC).timestamp()) // MINUTE * MINUTE
    end = int((until.replace(tzinfo=UTC) if until else datetime.now(UTC)).timestamp()) // MINUTE * MINUTE
    settings = load_settings()

    async def read() -> None:
        async with Fanpulse.of(settings) as fp:
            known = await history(fp, start, end)
        minutes = range(start, end, MINUTE)
        told = [one for name, series in known.items() for one in replay(watched, name, series, minutes)]
        console.print(report.told_table(told))
        if not any(series.past(end - MINUTE).stretch((end - start) // MINUTE).n for series in known.values()):
            console.print("No minute of that time is kept; FANPULSE_MINUTES_KEPT_S says how long they are.")
        if plot:
            report.write_charts(plot, known, minutes, told)

    run(read())


def _minute(seconds: str) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%d %H:%M UTC")
