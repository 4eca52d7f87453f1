"""One run: the stack under traffic, a plan of faults acted out, and afterwards the verifier's word."""

import asyncio
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.plan import Fault
from tests.faults.probe import probe
from tests.faults.stage import PUBLISH_EVERY_S, Stage, staged
from tests.faults.verifier import Verdict

OURS = ["-m", "tests.faults.skewed", "{clock}"]
STOCK = ["-m", "tests.faults.stock"]

_RECOVERS_WITHIN_S = 120.0
_CATCHES_UP_WITHIN_S = 300.0
_WARM_UP_S = 120.0


@dataclass
class Outcome:
    """What a run showed. `stuck` names faults after which work did not go on."""

    seed: int
    seconds: float = 0.0
    recoveries_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    stuck: list[str] = field(default_factory=list)
    exits: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)  # of the workers' web ports
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def ok(self) -> bool:
        return not self.verdict.wrong and not self.stuck and not self.answers["/metrics 500"]


async def act(
    plan: list[Fault], folder: Path, *, seed: int, rate: float, command: list[str] = OURS
) -> Outcome:
    """Run `plan` against workers started with `command`, with `rate` comments a second."""
    outcome = Outcome(seed)
    async with staged(folder, seed=seed, rate=rate, command=command) as stage:
        begun = time.monotonic()
        traffic = asyncio.create_task(stage.traffic.run())
        probing = asyncio.create_task(probe(stage.fleet, outcome.answers))
        await stage.watch.recovery_s(_WARM_UP_S)
        start = time.monotonic()
        await asyncio.gather(*(_strike(fault, start, stage, outcome) for fault in plan))
        traffic.cancel()
        await asyncio.gather(traffic, return_exceptions=True)
        try:
            await stage.watch.caught_up(_CATCHES_UP_WITHIN_S)
        except TimeoutError:
            fences, ends = await stage.watch.settled(), await stage.watch.ends()
            outcome.stuck.append(f"not caught up at the end: fences {fences}, log ends {ends}")
        await asyncio.sleep(4 * PUBLISH_EVERY_S)  # the windows of the last settles
        probing.cancel()
        await stage.fleet.stop()
        outcome.exits = stage.fleet.exits
        outcome.verdict = await stage.verifier.verify()
        outcome.seconds = time.monotonic() - begun
    return outcome


async def _strike(fault: Fault, start: float, stage: Stage, outcome: Outcome) -> None:
    await asyncio.sleep(max(0.0, start + fault.at_s - time.monotonic()))
    await stage.nemesis.strike(fault)
    try:
        outcome.recoveries_s[fault.kind].append(await stage.watch.recovery_s(_RECOVERS_WITHIN_S))
    except TimeoutError:
        fences, ends = await stage.watch.settled(), await stage.watch.ends()
        outcome.stuck.append(f"{fault}: no progress in {_RECOVERS_WITHIN_S:g} s, fences {fences} of {ends}")
