"""python -m training pretrain | prepare | teach | train | evaluate | export: rows become a Triton model folder."""

import errno
import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from training import recipe as recipes
from training.errors import TrainingError
from training.recipe import Recipe

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
screen, errors = Console(), Console(stderr=True)

Name = Annotated[str, typer.Argument(metavar="RECIPE", help="a name in training/recipes, or a .toml file")]
Data = Annotated[Path, typer.Option(help="folder of the data sets")]
Run = Annotated[Path | None, typer.Option(help="run folder [default: runs/RECIPE]")]
Set = Annotated[list[str] | None, typer.Option("--set", help="override a value, as in train.epochs=2")]
Resume = Annotated[bool, typer.Option("--resume", help="go on from the last whole checkpoint")]
Models = Annotated[Path, typer.Option(help="Triton's model repository")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="show what would happen, and do nothing")]
DATA = Path("../shared/data")


def run_folder(recipe: Recipe, run: Path | None) -> Path:
    return run or Path("runs") / recipe.name


def plan(recipe: Recipe, data: Path, run: Path, *steps: str) -> None:
    """What a verb would read, do and write."""
    screen.print_json(recipe.model_dump_json(exclude={"source"}, exclude_defaults=True))
    table = Table("source", "task", "file", "there", "dev", "test", "leaks")
    for source in recipe.source:
        files = source.weak.files if source.weak else (source.train,)
        for file in files:
            there = "yes" if (data / file).exists() else "[red]missing[/red]"
            table.add_row(
                source.name, source.task, file, there, str(source.dev), str(source.test), source.leaks
            )
    screen.print(table)
    for step in steps:
        screen.print(f"would {step.format(run=run)}", highlight=False)


@app.command()
def prepare(
    name: Name, data: Data = DATA, run: Run = None, set_: Set = None, dry_run: DryRun = False
) -> None:
    """Read, check, split and report the data; stops at copies across splits."""
    from training.prepare import prepare as verb

    recipe = recipes.load(name, set_)
    folder = run_folder(recipe, run)
    if dry_run:
        return plan(recipe, data, folder, "write {run}/data and {run}/report.md")
    splits = verb(recipe, data, folder)
    screen.print(
        ", ".join(f"{split} {len(rows)}" for split, rows in splits.items()), f"see {folder}/report.md"
    )
    return None


@app.command()
def pretrain(
    name: Name,
    data: Data = DATA,
    run: Run = None,
    set_: Set = None,
    resume: Resume = False,
    dry_run: DryRun = False,
) -> None:
    """Fit an encoder to posts without labels; `train` starts from the folder it writes."""
    recipe = recipes.load_pretraining(name, set_)
    folder = run or Path("runs") / recipe.name
    if dry_run:
        screen.print_json(recipe.model_dump_json(exclude_defaults=True))
        for file in recipe.texts:
            screen.print(f"{data / file}: {'there' if (data / file).exists() else '[red]missing[/red]'}")
        return screen.print(f"would write {folder}/data, {folder}/checkpoints and {folder}/encoder")

    from training.pretrain import pretrain as verb

    return screen.print(f"wrote {verb(recipe, data, folder, resume=resume)}")


@app.command()
def teach(
    name: Name,
    data: Data = DATA,
    run: Run = None,
    set_: Set = None,
    fold: Annotated[
        int | None, typer.Option(help="only this fold's teachers: several can run side by side")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Fit teachers and write the soft targets that `train` fits to; goes on where it was stopped."""
    from training import prepare as preparing
    from training.teach import teach as verb

    recipe = recipes.load(name, set_)
    folder = run_folder(recipe, run)
    if dry_run:
        return plan(recipe, data, folder, "fit {run}/teachers and write {run}/taught")
    if not preparing.fits(recipe, folder):
        preparing.prepare(recipe, data, folder)
    return screen.print(f"wrote {verb(recipe, preparing.prepared(recipe, folder), data, folder, fold)}")


@app.command()
def train(
    name: Name,
    data: Data = DATA,
    run: Run = None,
    set_: Set = None,
    resume: Resume = False,
    dry_run: DryRun = False,
) -> None:
    """Fit a model on the prepared rows, preparing them first where the run folder has others or none."""
    from training import prepare as preparing

    recipe = recipes.load(name, set_)
    folder = run_folder(recipe, run)
    if dry_run:
        losses = ", ".join(recipe.train.loss)
        first = "use the rows in {run}/data" if preparing.fits(recipe, folder) else "prepare {run}/data"
        return plan(recipe, data, folder, first, f"train with loss {losses}", "write {run}/model")

    from training import baseline
    from training.teach import student, taught
    from training.train import train as verb

    if not preparing.fits(recipe, folder):
        preparing.prepare(recipe, data, folder)
    sums = json.loads((folder / "data" / "sources.json").read_text(encoding="utf-8"))["files"]
    splits = preparing.prepared(recipe, folder)
    if recipe.encoder.name == baseline.NAME:
        for key, row in baseline.baseline(recipe, splits, folder).items():
            screen.print(f"{key}: macro-F1 {row['macro_f1']:.4f}")
        return None
    if recipe.teach is not None:
        recipe, splits = student(recipe, folder), {**splits, "train": taught(recipe, folder)}
    screen.print(f"wrote {verb(recipe, splits, folder, sums, resume=resume)}")
    return None


@app.command()
def evaluate(
    name: Name,
    run: Run = None,
    split: Annotated[str, typer.Option(help="dev or test")] = "test",
    exported: Annotated[Path | None, typer.Option(help="score by this version folder's ONNX instead")] = None,
    dry_run: DryRun = False,
) -> None:
    """Measure a trained model: tables, pictures and predictions in the run folder."""
    from training.evaluate import evaluate as verb
    from training.evaluate import results

    folder = run_folder(recipes.load(name), run)
    if dry_run:
        what = f"would score {folder}/data/{split}.parquet by {exported or folder / 'model'} and write "
        return screen.print(what + str(results(folder, split, exported)), soft_wrap=True)
    figures = verb(folder, split, exported)
    table = Table("set", "rows", "accuracy", "macro-F1")
    for key, row in figures["sets"].items():
        table.add_row(key, str(row["rows"]), f"{row['accuracy']:.4f}", f"{row['macro_f1']:.4f}")
    screen.print(table)
    if "everyday" in figures:
        screen.print(f"everyday sentences: {figures['everyday']['right']} of 26 right")
    return None


@app.command()
def export(
    name: Name,
    run: Run = None,
    models: Models = Path("triton_models"),
    version: Annotated[int | None, typer.Option(help="[default: the next one]")] = None,
    set_: Set = None,
    dry_run: DryRun = False,
) -> None:
    """Write a trained model into a Triton model folder, if parity and the quality gate agree."""
    from training.export import export as verb
    from training.export import place

    recipe = recipes.load(name, set_)
    folder = run_folder(recipe, run)
    if dry_run:
        return screen.print(f"would check {folder}/model and write {place(recipe, models, version)}")
    return screen.print(f"wrote {verb(recipe, folder, models, version=version)}")


def main() -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        app()
    except TrainingError as error:
        errors.print(f"[red]error[/red] {error}", highlight=False)
        raise SystemExit(1) from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        errors.print(f"[red]error[/red] the disk is full: {error.filename or error}; nothing was replaced")
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
