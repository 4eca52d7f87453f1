"""python -m training prepare | train | evaluate | export: rows become a model folder."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training import recipe as recipes
from training.errors import TrainingError

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
errors = Console(stderr=True)

Name = Annotated[
    str, typer.Argument(metavar="RECIPE", help="a name in training/recipes, or the path of a .toml file")
]
Data = Annotated[Path, typer.Option(help="folder of the data sets")]
Run = Annotated[Path | None, typer.Option(help="run folder [default: runs/RECIPE]")]
Set = Annotated[list[str] | None, typer.Option("--set", help="override a value: train.epochs=2 (repeatable)")]
DEFAULT_DATA = Path("../shared/data")


@app.command()
def prepare(name: Name, data: Data = DEFAULT_DATA, run: Run = None, set_: Set = None) -> None:
    """Read, check, split and report the data."""
    from training.prepare import prepare as verb

    recipe = recipes.load(name, set_)
    splits = verb(recipe, data, run or Path("runs") / recipe.name)
    typer.echo(", ".join(f"{split} {len(rows)}" for split, rows in splits.items()))


@app.command()
def train(
    name: Name, data: Data = DEFAULT_DATA, run: Run = None, set_: Set = None, resume: bool = False
) -> None:
    """Fit a model on the prepared rows (preparing them first where needed)."""
    from training import prepare as preparing
    from training.train import train as verb

    recipe = recipes.load(name, set_)
    folder = run or Path("runs") / recipe.name
    if not (folder / "data").exists():
        preparing.prepare(recipe, data, folder)
    sums = json.loads((folder / "data" / "sources.json").read_text(encoding="utf-8"))
    typer.echo(verb(recipe, preparing.prepared(recipe, folder), folder, sums, resume=resume))


@app.command()
def export(
    name: Name, run: Run = None, models: Path = Path("triton_models"), version: int | None = None
) -> None:
    """Write a trained model into a Triton model folder, if parity and the quality gate agree."""
    from training.export import export as verb

    typer.echo(verb(run or Path("runs") / recipes.load(name).name, models, version=version))


def main() -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        app()
    except TrainingError as error:
        errors.print(f"[red]error[/red] {error}", highlight=False)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
