"""What a run showed, as tables for a terminal."""

from statistics import median

from rich.console import Console
from rich.table import Table

from tests.faults.run import Outcome

_AGGREGATES = ("wrong bucket", "wrong authors", "wrong window")


def show(console: Console, outcomes: dict[str, Outcome]) -> None:
    """One table of faults and recoveries for the first outcome, one row of results for each."""
    first = next(iter(outcomes.values()))
    faults = Table("fault", "times", "recovery p50 (s)", "worst (s)", title=f"Faults, seed {first.seed}")
    for column in faults.columns[1:]:
        column.justify = "right"
    for kind, seconds in sorted(first.recoveries_s.items()):
        faults.add_row(kind, str(len(seconds)), f"{median(seconds):.1f}", f"{max(seconds):.1f}")
    console.print(faults)

    headings = ("comments", "events", "rejected", "lost", "duplicated", "wrong aggregates", "other wrongs")
    results = Table("", *headings, "p50 (s)", "worst (s)", title="Afterwards")
    for name, outcome in outcomes.items():
        verdict, wrong = outcome.verdict, outcome.verdict.wrong
        aggregates = sum(wrong[what] for what in _AGGREGATES)
        other = sum(wrong.values()) - wrong["lost"] - wrong["duplicated"] - aggregates
        every = [s for seconds in outcome.recoveries_s.values() for s in seconds] or [0.0]
        counts = (verdict.comments, verdict.events, verdict.rejected, wrong["lost"], wrong["duplicated"])
        results.add_row(
            name,
            *map(str, (*counts, aggregates, other)),
            f"{median(every):.1f}",
            f"{max(every):.1f}",
        )
    console.print(results)
    for name, outcome in outcomes.items():
        web = ", ".join(f"{answer}: {count}" for answer, count in sorted(outcome.answers.items()))
        console.print(f"{name}: {outcome.seconds:.0f} s; web port: {web}", markup=False)
        for line in (*outcome.stuck, *outcome.exits):
            console.print(f"{name}: {line}", markup=False)
        for what, examples in outcome.verdict.examples.items():
            console.print(f"{name}: {what}, e.g.", *examples, sep="\n  ", markup=False)
