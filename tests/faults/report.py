"""What a run showed: tables for a terminal, and the same as JSON and Markdown in a file."""

import json
from collections import defaultdict
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.faults.run import Happened, Outcome
from tests.faults.verifier import Verdict

_AGGREGATES = ("wrong bucket", "wrong authors", "wrong window", "missing window", "stale window")
_LINES_SHOWN = 12

Rows = list[list[str]]

FAULTS = ["fault", "times", "lag at its end, p50", "recovery p50 (s)", "worst (s)", "not recovered"]
RESULTS = [
    *("", "faults", "comments", "events", "rejected", "lost", "duplicated", "wrong aggregates"),
    *("other wrongs", "commits ahead", "recovery p50 (s)", "worst (s)"),
]


def show(console: Console, outcomes: dict[str, Outcome]) -> None:
    """One table of faults and recoveries for each outcome, one row of results for each."""
    for name, outcome in outcomes.items():
        console.print(_table(f"{name}: faults, seed {outcome.seed}", FAULTS, fault_rows(outcome)))
    console.print(_table("Afterwards", RESULTS, result_rows(outcomes)))
    for name, outcome in outcomes.items():
        web = ", ".join(f"{answer}: {count}" for answer, count in sorted(outcome.answers.items()))
        console.print(
            f"{name}: {outcome.state} after {outcome.seconds:.0f} s; {outcome.commits_looked_at} commits looked at; "
            f"web port: {web}",
            markup=False,
        )
        for lines in (outcome.not_carried_out, outcome.stuck, outcome.commits_ahead, outcome.exits):
            for line in lines[:_LINES_SHOWN]:
                console.print(f"{name}: {line}", markup=False)
        for verdict in (outcome.verdict, *outcome.evidence):
            for what, examples in verdict.examples.items():
                console.print(f"{name}: {what}, e.g.", *examples, sep="\n  ", markup=False)


def write(file: Path, outcomes: dict[str, Outcome]) -> None:
    """`file` as JSON and, beside it, as Markdown; a run that goes on writes it again."""
    content = {name: {"ok": outcome.ok, **vars(outcome)} for name, outcome in outcomes.items()}
    text = [
        f"# Seed {next(iter(outcomes.values())).seed}",
        *(f"{name}: {outcome.state} after {outcome.seconds:.0f} s" for name, outcome in outcomes.items()),
        _markdown(RESULTS, result_rows(outcomes)),
        *(f"## {name}\n\n{_markdown(FAULTS, fault_rows(o))}" for name, o in outcomes.items()),
    ]
    for path, said in (
        (file, json.dumps(content, indent=1, ensure_ascii=False, default=vars)),
        (file.with_suffix(".md"), "\n\n".join(text) + "\n"),
    ):
        draft = path.with_suffix(".draft")
        draft.write_text(said)
        draft.replace(path)


def fault_rows(outcome: Outcome) -> Rows:
    """Kinds of faults in the order of their names, and what came of them."""
    kinds: dict[str, list[Happened]] = defaultdict(list)
    for one in outcome.happened:
        kinds[one.kind].append(one)
    rows = []
    for kind, times in sorted(kinds.items()):
        lag = f"{median(one.lag for one in times):.0f}"
        recovered = [one.recovery_s for one in times if one.recovery_s is not None]
        rows.append(
            [kind, str(len(times)), lag, *_p50_and_worst(recovered), str(len(times) - len(recovered))]
        )
    return rows


def result_rows(outcomes: dict[str, Outcome]) -> Rows:
    """For each outcome a row on what Redis held at the end, and one on what it held before it was wiped."""
    rows = []
    for name, outcome in outcomes.items():
        recovered = [one.recovery_s for one in outcome.happened if one.recovery_s is not None]
        faults, ahead = str(len(outcome.happened)), str(len(outcome.commits_ahead))
        rows.append([name, faults, *_counts(outcome.verdict), ahead, *_p50_and_worst(recovered)])
        if outcome.evidence:
            times = f"{name}, before {len(outcome.evidence)} wipes"
            sums = [sum(map(int, column)) for column in zip(*map(_counts, outcome.evidence), strict=True)]
            rows.append([times, "", *map(str, sums), "", "", ""])
    return rows


def _counts(verdict: Verdict) -> list[str]:
    wrong = verdict.wrong
    lost, duplicated = wrong["lost"], wrong["duplicated"]
    aggregates = sum(wrong[what] for what in _AGGREGATES)
    other = sum(wrong.values()) - lost - duplicated - aggregates
    counts = (verdict.comments, verdict.events, verdict.rejected, lost, duplicated, aggregates, other)
    return list(map(str, counts))


def _p50_and_worst(seconds: list[float]) -> list[str]:
    return [f"{median(seconds):.1f}", f"{max(seconds):.1f}"] if seconds else ["", ""]


def _table(title: str, headings: list[str], rows: Rows) -> Table:
    table = Table(*headings, title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    return table


def _markdown(headings: list[str], rows: Rows) -> str:
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
