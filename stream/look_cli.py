"""`fanpulse window` and `fanpulse events`: a look at what is in Redis, from the terminal."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from stream.rolling import Size

if TYPE_CHECKING:
    from stream.events import EmotionEvent


def window(
    community: Annotated[str, typer.Argument(help="Its name, as in the comments.")],
    size: Annotated[Size, typer.Option(help="Length of the window.")] = "1h",
    at: Annotated[datetime | None, typer.Option(help="A past moment, UTC unless it has a zone; now.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the window as JSON.")] = False,
) -> None:
    """Show a community's rolling window, now or at a moment whose buckets are still kept."""
    from rich.console import Console
    from rich.table import Table

    from stream.cli import load_settings, run
    from stream.connections import connect_redis
    from stream.history import History
    from stream.keys import Keys
    from stream.rolling import Window
    from stream.subscription import answered

    settings = load_settings()
    moment = time.time() if at is None else (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()

    async def read() -> Window:
        redis = connect_redis(settings)
        try:
            history = History(redis, Keys(settings.redis_prefix), settings.comments_topic)
            with answered():
                return await history.window(community, size, moment)
        finally:
            await redis.aclose()

    found: Window = run(read())
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    table = Table(box=None, show_header=False)
    table.add_row("comments", f"{found.comments:,} by {found.authors or 0:,} authors")
    table.add_row("negative", f"{found.negative:,} ({_percent(found.negative_share)})")
    table.add_row("before", f"{found.before.comments:,} comments ({_percent(found.before.negative_share)})")
    if found.z is not None:
        table.add_row("against 7 days", f"{found.z:+.1f} standard deviations")
    for emotion, seen in sorted(found.emotions.items(), key=lambda pair: -pair[1].comments):
        table.add_row(emotion, f"{seen.comments:,} ({_percent(seen.share)})")
    console = Console()
    console.print(f"{community}, {size} until {found.end:%Y-%m-%d %H:%M} UTC", markup=False)
    console.print(table)


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new ones until Ctrl-C.")] = False,
    community: Annotated[list[str] | None, typer.Option(help="Only these; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to begin with.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON event a line.")] = False,
) -> None:
    """Show the newest emotion events, oldest first."""
    from stream.cli import load_settings, run
    from stream.client import Fanpulse

    settings = load_settings()
    wanted = set(community or ())

    async def show() -> None:
        async with Fanpulse.of(settings) as client:
            groups = [await client.recent(limit, name) for name in wanted] or [await client.recent(limit)]
            newest = sorted(
                (event for group in groups for event in group), key=lambda event: event.created_at
            )
            for event in newest[-limit:]:
                typer.echo(_line(event, as_json))
            if follow:
                async for event in client.tail(wanted or None):
                    typer.echo(_line(event, as_json))

    try:
        run(show())
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _line(event: "EmotionEvent", as_json: bool) -> str:
    if as_json:
        return event.model_dump_json()
    labels = ",".join(event.labels) or "-"
    return (
        f"{event.created_at:%H:%M:%S} {event.community} {event.negativity:.2f} {labels}: {event.text or ''}"
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
