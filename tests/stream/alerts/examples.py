"""Rules and pasts as the alert tests use them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from stream.alerts.past import Past, Series
from stream.alerts.rules import Rule
from stream.buckets import HOUR, MINUTE

NOW = 1_795_262_340  # 2026-11-21T11:59Z, the last minute of an hour


def rule(**fields: Any) -> Any:
    """A rule as a file would give it: `for` is spelt `for_`."""
    given = {name.rstrip("_"): value for name, value in fields.items()}
    return TypeAdapter(Rule).validate_python({"name": "r", **given})


def bucket(n: int, negative: int, **labels: int) -> dict[str, int]:
    fields = {f"l:{label}": count for label, count in labels.items()}
    return {"n": n, "neg": negative, "negativity": negative * 900_000 + (n - negative) * 100_000, **fields}


def past(minutes: Sequence[dict[str, int]], hours: Sequence[dict[str, int]] = (), *, now: int = NOW) -> Past:
    """`minutes` end with `now`; `hours` end with the one before that of an hour ago."""
    by_minute = {now - back * MINUTE: fields for back, fields in enumerate(reversed(minutes))}
    last = (now - 59 * MINUTE) // HOUR * HOUR - HOUR
    by_hour = {last - back * HOUR: fields for back, fields in enumerate(reversed(hours))}
    return Series.of_buckets(now, by_minute, by_hour).past(now)


def rules_file(folder: Path, text: str) -> Path:
    path = folder / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return path
