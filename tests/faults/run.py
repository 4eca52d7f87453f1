"""One run: the stack under traffic, a plan of faults acted out, and afterwards the verifier's word."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.evidence import examine
from tests.faults.plan import Fault
from tests.faults.probe import probe
from tests.faults.stage import PUBLISH_EVERY_S, Stage, staged
from tests.faults.verifier import Verdict

OURS = ["-m", "tests.faults.skewed", "{clock}"]
STOCK = ["-m", "tests.faults.stock"]

_RECOVERS_WITHIN_S = 120.0
_CATCHES_UP_WITHIN_S = 600.0
_WARM_UP_S = 120.0
_REDIS_NOTICED_WITHIN_S = 30.0


@dataclass(frozen=True)
class Happened:
    """A fault that was carried out, how many records lagged at its end, and how long until work went on.

    `recovery_s` is None where it did not.
    """

    kind: str
    at_s: float
    lag: int
    recovery_s: float | None


@dataclass
class Outcome:
    """What a run showed, as far as it has come. `stuck` names faults after which work did not go on."""

    seed: int
    state: str = "starting"
    seconds: float = 0.0
    happened: list[Happened] = field(default_factory=list)
    not_carried_out: list[str] = field(default_factory=list)  # the harness' failures
    stuck: list[str] = field(default_factory=list)
    exits: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)  # of the workers' web ports
    commits_looked_at: int = 0
    commits_ahead: list[str] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    evidence: list[Verdict] = field(default_factory=list)  # on what Redis held before it was wiped

    @property
    def ok(self) -> bool:
        wrong = any(verdict.wrong for verdict in (self.verdict, *self.evidence))
        return not (wrong or self.stuck or self.commits_ahead or self.answers["/metrics 500"])


def unheard(_: Outcome) -> None:
    """Nobody wants to know how a run comes along."""


async def act(
    plan: list[Fault],
    folder: Path,
    *,
    seed: int,
    rate: float,
    command: list[str] = OURS,
    tell: Callable[[Outcome], None] = unheard,
) -> Outcome:
    """Run `plan` against workers started with `command`, with `rate` comments a second.

    `tell` hears of the outcome again and again, so that a run that is cut off has left its traces. SIGINT and
    SIGTERM end the plan early: no fault is begun any more, and what there is is verified.
    """
    outcome = Outcome(seed)
    enough = told_to_stop()
    async with staged(folder, seed=seed, rate=rate, command=command) as stage:
        begun = time.monotonic()
        traffic = asyncio.create_task(stage.traffic.run())
        observers = [
            asyncio.create_task(probe(stage.fleet, outcome.answers)),
            asyncio.create_task(stage.watch.follow()),
        ]
        await stage.watch.begun(_WARM_UP_S)

        def say(state: str) -> None:
            outcome.state, outcome.seconds = state, time.monotonic() - begun
            outcome.exits = stage.fleet.exits
            outcome.commits_looked_at = stage.watch.commits_looked_at
            outcome.commits_ahead = stage.watch.commits_ahead
            tell(outcome)

        start = time.monotonic()
        await asyncio.gather(*(_strike(fault, start, enough, stage, outcome, say) for fault in plan))
        traffic.cancel()
        ended = await asyncio.gather(traffic, return_exceptions=True)
        outcome.not_carried_out += [f"traffic ended early: {error!r}" for error in ended if error]
        say("catching up")
        try:
            await stage.watch.caught_up(_CATCHES_UP_WITHIN_S)
        except TimeoutError:
            outcome.stuck.append(f"not caught up at the end: {await _places(stage)}")
        await asyncio.sleep(4 * PUBLISH_EVERY_S)  # the windows of the last settles
        for observer in observers:
            observer.cancel()
        await asyncio.gather(*observers, return_exceptions=True)
        await stage.fleet.stop()
        say("verifying")
        outcome.verdict = await stage.verifier.verify()
        say("verifying what was wiped")
        for copy in stage.nemesis.evidence:
            outcome.evidence.append(await examine(copy, stage.verifier))
            say("verifying what was wiped")
        say("done")
    return outcome


def told_to_stop() -> asyncio.Event:
    """Is set at the first SIGINT or SIGTERM; the second one works as ever."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        told.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    return told


async def _strike(
    fault: Fault,
    start: float,
    enough: asyncio.Event,
    stage: Stage,
    outcome: Outcome,
    say: Callable[[str], None],
) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(enough.wait(), max(0.0, start + fault.at_s - time.monotonic()))
    if enough.is_set():
        return
    forgetful = fault.kind.startswith("redis:")
    if forgetful:
        stage.watch.excuse(fault.lasts_s + _REDIS_NOTICED_WITHIN_S)
    try:
        await stage.nemesis.strike(fault)
    except Exception as error:  # a fault that cannot be carried out is no reason to stop proving
        outcome.not_carried_out.append(f"{fault}: {error!r}"[:600])
        await stage.nemesis.heal()
    if forgetful:
        stage.watch.excuse(_REDIS_NOTICED_WITHIN_S)
    lag = stage.watch.lag
    try:
        recovery_s = await stage.watch.recovery_s(_RECOVERS_WITHIN_S)
    except TimeoutError:
        recovery_s = None
        outcome.stuck.append(f"{fault}: no progress in {_RECOVERS_WITHIN_S:g} s, {await _places(stage)}")
    outcome.happened.append(Happened(fault.kind, fault.at_s, lag, recovery_s))
    say("breaking")


async def _places(stage: Stage) -> str:
    return f"fences {await stage.watch.settled()}, log ends {await stage.watch.ends()}"
