"""What samples of a long run say: a least-squares slope over its second half tells growth from warming up."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pygal
from rich.console import Console
from rich.table import Table

_ALLOWED = {"MiB": 1.0, "files": 0.5, "lag": 100.0}  # a minute

Samples = dict[tuple[str, str], list[tuple[float, float]]]
"""(process or partitions, unit) → seconds and values."""


def read(file: Path) -> Samples:
    samples: Samples = defaultdict(list)
    for line in file.read_text().splitlines() if file.exists() else []:
        at, name, unit, value = json.loads(line)
        samples[name, unit].append((at, value))
    return samples


def show(samples: Samples, console: Console) -> list[str]:
    """Print first, last, highest and slope of each series over the second half; return what grows."""
    table = Table("", "of", "first", "last", "highest", "growth a minute", title="Second half of the run")
    grows = []
    for (name, unit), series in samples.items():
        at, values = np.array(series[len(series) // 2 :]).T
        slope = float(np.polyfit(at / 60, values, 1)[0]) if len(at) > 1 else 0.0
        if slope > _ALLOWED[unit] and name != "redis":  # Redis fills up to what it is told to keep
            grows.append(f"{name}: {slope:+.2f} {unit} a minute")
        figures = (values[0], values[-1], values.max())
        table.add_row(name, unit, *(f"{figure:.0f}" for figure in figures), f"{slope:+.2f}")
    console.print(table)
    return grows


def plot(samples: Samples, file: Path) -> None:
    """Memory over time as SVG."""
    chart = pygal.XY(
        title="Resident memory",
        x_title="minutes",
        y_title="MiB",
        show_dots=False,
        js=(),
        width=900,
        height=450,
    )
    for (name, unit), series in samples.items():
        if unit == "MiB":
            chart.add(name, [(at / 60, value) for at, value in series])
    chart.render_to_file(str(file))
