"""`fanpulse replay`: the command line of replay.py."""

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer


def replay(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV, JSONL or Parquet.")],
    community_column: Annotated[str, typer.Option(help="May hold a list: its first counts.")] = "community",
    text_column: Annotated[str, typer.Option(help="The comment itself.")] = "text",
    time_column: Annotated[
        str, typer.Option(help="ISO 8601, a date, or epoch seconds or milliseconds.")
    ] = "created_at",
    author_column: Annotated[str, typer.Option(help="May be missing.")] = "author",
    id_column: Annotated[
        str, typer.Option(help="May be missing: ids then come from row number and content.")
    ] = "id",
    zone: Annotated[str, typer.Option(help="Time zone of times without one, e.g. Asia/Shanghai.")] = "UTC",
    rate: Annotated[float | None, typer.Option(min=0.001, help="Comments a second.")] = None,
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="The file's own time, so much faster.")
    ] = None,
    restamp: Annotated[bool, typer.Option("--restamp", help="A comment's time is when it is sent.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many rows.")] = None,
) -> None:
    """Send a file's comments into the topic; as fast as it goes unless --rate or --speed is given.

    Bad rows are counted and named, the others go on.

    Ids stay the same from replay to replay: a repeated one shows in the events.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from stream import rows, tracing
    from stream.cli import load_settings, run
    from stream.replay import Columns, Pace, Summary, replay_rows

    if rate and speed:
        raise typer.BadParameter("--rate and --speed exclude each other")
    try:
        local = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise typer.BadParameter(f"no time zone {zone!r}", param_hint="--zone") from None
    columns = Columns(community_column, text_column, time_column, author_column, id_column)
    pace = Pace(rate, speed, restamp)
    settings = load_settings()

    async def send() -> Summary:
        bars = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*bars, console=Console(stderr=True)) as progress:
            total = min(rows.estimate(file), limit or sys.maxsize)
            tracked = progress.track(islice(rows.read(file), limit), total=total)
            return await replay_rows(settings, tracked, columns, pace, local)

    end_traces = tracing.start(settings)
    summary: Summary = run(send())
    end_traces()
    typer.echo(f"sent {summary.sent} comments to {settings.comments_topic}, {summary.bad} bad rows")
    for number, why in summary.named:
        typer.echo(f"row {number}: {why}", err=True)
    if summary.bad > len(summary.named):
        typer.echo(f"and {summary.bad - len(summary.named)} more", err=True)
