"""`python -m tests.faults`: a plan of faults against the real stack; exit code 1 if a promise was broken."""

import asyncio
import logging
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tests.faults import plan as plans
from tests.faults import report
from tests.faults.run import OURS, STOCK, Outcome, act

STOCK_MINUTES = 7.0  # about what it takes until every kind of fault has come once
_WIDTH = 170  # of a log


def main(
    minutes: Annotated[float, typer.Option(help="How long faults go on.")] = 3.0,
    seed: Annotated[int | None, typer.Option(help="Draws plan and traffic; default: any.")] = None,
    rate: Annotated[float, typer.Option(help="Comments a second.")] = 200.0,
    only: Annotated[str, typer.Option(help="Only faults whose kind holds this, e.g. `redis:`.")] = "",
    plan: Annotated[Path | None, typer.Option(help="Act out this plan instead of drawing one.")] = None,
    stock: Annotated[
        bool, typer.Option(help="First put the stock Faust idiom through the plan's start.")
    ] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Keep data and logs here, also when all went well.")
    ] = None,
) -> None:
    """Break the stack for a while, then prove that nothing was lost and nothing counted twice.

    What is known so far stands in build/faults-SEED.json and .md, from the first fault on. Ctrl-C ends the
    faults early and verifies what there is.
    """
    seed = random.randrange(10_000) if seed is None else seed
    kept, folder = folder, folder or Path(tempfile.mkdtemp(prefix="fanpulse-faults-"))
    faults = plans.loads(plan.read_text()) if plan else plans.draw(seed, minutes=minutes)
    faults = [fault for fault in faults if only in fault.kind]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text(plans.dumps(faults))
    logging.basicConfig(filename=folder / "harness.log", level=logging.WARNING)
    file = Path("build") / f"faults-{seed}.json"
    file.parent.mkdir(exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    console.print(
        f"seed {seed}: {len(faults)} faults in {minutes:g} minutes; {file}; logs and plan in {folder}"
    )
    early = [fault for fault in faults if fault.at_s < STOCK_MINUTES * 60]
    runs = {"stock Faust": (STOCK, early)} if stock else {}
    runs["fanpulse"] = (OURS, faults)
    outcomes: dict[str, Outcome] = {}
    for name, (command, acts) in runs.items():

        def tell(outcome: Outcome, name: str = name) -> None:
            outcomes[name] = outcome
            report.write(file, outcomes)

        asyncio.run(act(acts, folder / name.split()[0], seed=seed, rate=rate, command=command, tell=tell))
    report.show(console, outcomes)
    if outcomes["fanpulse"].ok and kept is None:
        shutil.rmtree(folder)
    raise typer.Exit(0 if outcomes["fanpulse"].ok else 1)


if __name__ == "__main__":
    typer.run(main)
