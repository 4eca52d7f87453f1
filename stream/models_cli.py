"""`fanpulse models …`: see which versions are in service, put others in service and take them back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stream.model import Model, Reference
    from stream.promotion import Standing

app = typer.Typer(help="Switch model versions on a running system.", no_args_is_help=True)

_COLUMNS = ("model", "loaded", "served", "canary", "shadow", "before", "languages", "labels")

Name = Annotated[str, typer.Argument(metavar="MODEL", help="One of FANPULSE_MODELS.")]
Version = Annotated[str, typer.Argument(help="As Triton numbers them.")]


@app.command("list")
def list_models() -> None:
    """Show each model's versions: those that Triton has loaded, and those in service."""
    from rich.console import Console
    from rich.table import Table

    from stream.cli import load_settings, run
    from stream.promotion import Promotion

    settings = load_settings()

    async def read() -> "list[Standing]":
        async with Promotion.of(settings) as promotion:
            return [await promotion.standing(name) for name in sorted(set(settings.models.values()))]

    table = Table(*_COLUMNS, box=None)
    for standing in run(read()):
        table.add_row(*_row(standing))
    Console().print(table)


@app.command()
def promote(
    name: Name,
    version: Version,
    canary: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Only on about this share of the partitions.")
    ] = None,
) -> None:
    """Serve a version once it has passed its smoke batch; workers follow within seconds, between two batches."""
    from stream.cli import load_settings, run
    from stream.promotion import Promotion

    async def work() -> str:
        async with Promotion.of(load_settings()) as promotion:
            if canary is None:
                return f"{name}/{version} replaces {await promotion.promote(name, version)}"
            taken = await promotion.canary(name, version, canary)
            return f"{name}/{version} serves partitions {', '.join(map(str, taken))}"

    typer.echo(run(work()))


@app.command()
def shadow(
    name: Name,
    version: Annotated[
        str | None, typer.Argument(help="As Triton numbers them; without it the shadow ends.")
    ] = None,
) -> None:
    """Have a version score what another serves, to compare them; what it says is settled nowhere."""
    from stream.cli import load_settings, run
    from stream.promotion import Promotion

    async def work() -> str:
        async with Promotion.of(load_settings()) as promotion:
            await promotion.shadow(name, version)
            return f"{name}/{version} is a shadow" if version else f"{name} has no shadow"

    typer.echo(run(work()))


@app.command()
def rollback(name: Name) -> None:
    """End a canary or, where there is none, serve the version before; a shadow ends too."""
    from stream.cli import load_settings, run
    from stream.promotion import Promotion

    async def work() -> str:
        async with Promotion.of(load_settings()) as promotion:
            return f"{await promotion.rollback(name)} serves all partitions"

    typer.echo(run(work()))


@app.command()
def reference(
    name: Name,
    version: Version,
    file: Annotated[Path, typer.Argument(help="CSV, JSONL or Parquet.", exists=True, dir_okay=False)],
    text_column: Annotated[str, typer.Option(help="Column of the texts.")] = "text",
    most: Annotated[int, typer.Option(min=1, help="Texts scored, the first of the file.")] = 5000,
    repository: Annotated[
        Path | None, typer.Option(help="Keep it with the version in this model repository.", file_okay=False)
    ] = None,
) -> None:
    """Score texts and print what is usual of them: what drift is measured against."""
    from stream import references
    from stream.cli import load_settings, run
    from stream.scorer import Scorer

    async def measure() -> "tuple[Model, Reference]":
        scorer = Scorer.of(load_settings())
        try:
            model = await scorer.load(name, version)
            made = await references.measure(scorer, model, file, text_column, most)
            if repository is not None:
                references.keep(repository / name, version, made)
            return model, made
        finally:
            await scorer.close()

    model, made = run(measure())
    typer.echo(f"{model}: reference of {made.texts:,} texts" if repository else references.dumps(made))


def _row(standing: "Standing") -> list[str]:
    served, release = standing.served, standing.release
    return [
        served.name,
        ", ".join(standing.loaded),
        served.version if release.version else f"{served.version} (config)",
        f"{release.canary.version} on {release.canary.share:.0%}" if release.canary else "-",
        release.shadow or "-",
        ", ".join(release.before) or "-",
        ", ".join(served.languages),
        ", ".join(served.primary.labels),
    ]
