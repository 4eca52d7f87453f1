"""`fanpulse capacity`: the command line of capacity.py."""

from dataclasses import asdict
from typing import Annotated

import orjson
import typer


def capacity(
    rate: Annotated[float, typer.Option(min=1, help="Comments a second.")],
    length: Annotated[float, typer.Option(min=1, max=10_000, help="Their mean length in characters.")] = 60,
    communities: Annotated[int, typer.Option(min=1)] = 100,
    repeats: Annotated[
        float, typer.Option(min=0, max=0.99, help="Share of comments whose text is still remembered.")
    ] = 0.0,
    homes: Annotated[
        int, typer.Option(min=1, help="Partitions that see a community; 1 where producers key by it.")
    ] = 1,
    retention_h: Annotated[float, typer.Option(min=1, help="Hours that the comment topic keeps.")] = 168,
    copies: Annotated[int, typer.Option(min=1, help="Replicas of each Kafka partition.")] = 3,
    gpu_rate: Annotated[
        float | None,
        typer.Option(min=1, help="Texts a second that one of your GPUs scores, as you measured."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Say how many workers, partitions, cores or GPUs and how much memory and disk a load needs.

    Costs were measured by `make bench BENCH=capacity` (docs/capacity.md); how long events and buckets are kept
    comes from the settings.
    """
    from rich.console import Console
    from rich.table import Table

    from stream.capacity import Load, Measured, needs
    from stream.cli import load_settings

    settings = load_settings()
    load = Load(
        rate=rate,
        length=length,
        communities=communities,
        repeats=repeats,
        homes=homes,
        events_kept=settings.events_kept,
        minutes_kept=settings.minutes_kept_s // 60,
        hours_kept=settings.hours_kept_s // 3600,
        retention_h=retention_h,
        copies=copies,
        gpu_rate=gpu_rate,
    )
    found = needs(load, Measured.shipped())
    if as_json:
        typer.echo(orjson.dumps([asdict(need) for need in found], option=orjson.OPT_INDENT_2))
        return
    table = Table("what", "needed", "", "from", "used", box=None)
    for need in found:
        amount = f"{need.amount:,.0f}" if need.unit != "GB" else f"{need.amount:,.2f}"
        table.add_row(need.name, amount, need.unit, need.formula, f"{need.used:.0%}")
    Console(soft_wrap=True).print(table)
