"""`python -m tests.faults`: a plan of faults against the real stack; exit code 1 if a promise was broken."""

import asyncio
import random
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tests.faults import plan as plans
from tests.faults.run import OURS, STOCK, Outcome, act
from tests.faults.table import show

STOCK_MINUTES = 10.0


def main(
    minutes: Annotated[float, typer.Option(help="How long faults go on.")] = 3.0,
    seed: Annotated[int | None, typer.Option(help="Draws plan and traffic; default: any.")] = None,
    rate: Annotated[float, typer.Option(help="Comments a second.")] = 200.0,
    only: Annotated[str, typer.Option(help="Only faults whose kind holds this, e.g. `redis:`.")] = "",
    plan: Annotated[Path | None, typer.Option(help="Act out this plan instead of drawing one.")] = None,
    stock: Annotated[bool, typer.Option(help="Put the stock Faust idiom through the plan as well.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Where data and logs go; default: a new one.")] = None,
) -> None:
    """Break the stack for a while, then prove that nothing was lost and nothing counted twice."""
    seed = random.randrange(10_000) if seed is None else seed
    folder = folder or Path(tempfile.mkdtemp(prefix="fanpulse-faults-"))
    faults = plans.loads(plan.read_text()) if plan else plans.draw(seed, minutes=minutes)
    faults = [fault for fault in faults if only in fault.kind]
    (folder / "ours").mkdir(parents=True)
    (folder / "plan.json").write_text(plans.dumps(faults))
    console = Console()
    console.print(f"seed {seed}: {len(faults)} faults in {minutes:g} minutes; logs and plan in {folder}")
    outcomes: dict[str, Outcome] = {"fanpulse": run(faults, folder / "ours", seed, rate, OURS)}
    if stock:
        early = [fault for fault in faults if fault.at_s < STOCK_MINUTES * 60]
        outcomes["stock Faust"] = run(early, folder / "stock", seed, rate, STOCK)
    show(console, outcomes)
    raise typer.Exit(0 if outcomes["fanpulse"].ok else 1)


def run(faults: list[plans.Fault], folder: Path, seed: int, rate: float, command: list[str]) -> Outcome:
    return asyncio.run(act(faults, folder, seed=seed, rate=rate, command=command))


if __name__ == "__main__":
    typer.run(main)
