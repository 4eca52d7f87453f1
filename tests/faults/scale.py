"""`python -m tests.faults.scale`: a Redis Cluster and three brokers lose members under load; does it add up?

Workers take comments of a whole day from thousands of communities meanwhile. Afterwards the product's own audit and
the verifier, which shares no code with it, both read everything.
"""

import asyncio
import logging
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from stream.audit import Audit, audit
from tests.faults.grid import LOSSES, Grid, Size, gridded
from tests.faults.verifier import Verdict
from tests.faults.watch import Watch

log = logging.getLogger(__name__)

_WARM_UP_S = 300.0
_RECOVERS_WITHIN_S = 300.0
_DELIVERED_WITHIN_S = 60.0
_CATCHES_UP_WITHIN_S = 1200.0


@dataclass
class Outcome:
    """What a run showed; recoveries are seconds until every partition moved again."""

    recoveries_s: dict[str, float] = field(default_factory=dict)
    forgotten: int = 0  # offsets that were settled and that Redis then knew no more
    seconds: float = 0.0
    exits: list[str] = field(default_factory=list)
    audit: Audit = field(default_factory=lambda: Audit([]))
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def ok(self) -> bool:
        return self.audit.holds and not self.verdict.wrong


async def run(folder: Path, size: Size, seed: int) -> Outcome:
    """Load and losses, then the audits."""
    outcome, begun = Outcome(), time.monotonic()
    async with gridded(folder, size, seed) as grid:
        async with asyncio.TaskGroup() as observing:  # an observer that fails ends the run, and says why
            observers = [
                observing.create_task(grid.watch.follow()),
                observing.create_task(_note_forgotten(grid.watch, outcome)),
            ]
            await _lose(grid, size, outcome)
            for observer in observers:
                observer.cancel()
        await grid.watch.caught_up(_CATCHES_UP_WITHIN_S)
        for _ in (
            "the windows of the last settles",
            "those of the minute, after what may have been a long pass",
        ):
            await grid.fleet.published(time.time(), _CATCHES_UP_WITHIN_S)
        await grid.fleet.stop()
        outcome.exits = grid.fleet.exits
        outcome.verdict = await grid.verifier.verify()  # first, for it asks how old the windows are
        outcome.audit = await audit(grid.settings)
        outcome.seconds = time.monotonic() - begun
    return outcome


async def _lose(grid: Grid, size: Size, outcome: Outcome) -> None:
    """Lose one thing after another while comments flow, at equal parts of them all."""
    traffic = asyncio.create_task(grid.traffic.run())
    await grid.watch.begun(_WARM_UP_S)
    part, patience_s = size.comments // (len(LOSSES) + 1), 10 * size.comments / size.rate
    for number, (name, lose) in enumerate(LOSSES.items(), start=1):
        await grid.watch.grown(number * part, patience_s)
        bring_back = await lose(grid)
        outcome.recoveries_s[name] = await grid.watch.all_moved_s(_RECOVERS_WITHIN_S)
        log.info("%s: all partitions move after %.1f s", name, outcome.recoveries_s[name])
        await bring_back()
    await grid.watch.grown(size.comments, patience_s)
    traffic.cancel()
    await asyncio.wait({traffic}, timeout=_DELIVERED_WITHIN_S)


async def _note_forgotten(watch: Watch, outcome: Outcome) -> None:
    last = await watch.settled()
    while True:
        await asyncio.sleep(0.1)
        now = await watch.settled()
        outcome.forgotten += sum(max(0, a - b) for a, b in zip(last, now, strict=True))
        last = now


def show(outcome: Outcome, console: Console) -> None:
    """The figures as a table."""
    partitions = outcome.audit.partitions
    table = Table("", "", box=None)
    table.add_row("comments", f"{outcome.verdict.comments:,}")
    for name in ("events", "rejected", "buckets", "unchecked_buckets", "differences"):
        table.add_row(f"audit: {name}", f"{sum(getattr(partition, name) for partition in partitions):,}")
    table.add_row("verifier: windows", f"{outcome.verdict.windows:,}")
    table.add_row("verifier", str(outcome.verdict))
    for name, seconds in outcome.recoveries_s.items():
        table.add_row(f"{name}: all partitions move after", f"{seconds:.1f} s")
    table.add_row("settled offsets that Redis forgot, settled anew", f"{outcome.forgotten:,}")
    table.add_row("workers that ended unasked", f"{len(outcome.exits)}")
    table.add_row("the whole run", f"{outcome.seconds:.0f} s")
    console.print(table)


def main(
    workers: Annotated[int, typer.Option(min=1)] = Size.workers,
    partitions: Annotated[int, typer.Option(min=1)] = Size.partitions,
    communities: Annotated[int, typer.Option(min=1)] = Size.communities,
    comments: Annotated[int, typer.Option(min=1)] = Size.comments,
    rate: Annotated[float, typer.Option(help="Comments a second.")] = Size.rate,
    keyed: Annotated[bool, typer.Option(help="A community's comments in one partition.")] = Size.keyed,
    seed: Annotated[int, typer.Option()] = 1,
) -> None:
    """Print the figures; exit code 1 if a promise was broken."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # brokers that are gone are the point
    folder, console = Path(tempfile.mkdtemp(prefix="fanpulse-scale-")), Console()
    console.print(f"logs in {folder}")
    size = Size(workers, partitions, communities, comments, rate, keyed)
    outcome = asyncio.run(run(folder, size, seed))
    show(outcome, console)
    for line in outcome.exits:
        console.print(line, markup=False)
    raise typer.Exit(0 if outcome.ok else 1)


if __name__ == "__main__":
    typer.run(main)
