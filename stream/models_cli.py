"""`fanpulse models …`: see which versions are in service, try others, put them in service and take them back."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stream.model import Model, Reference
    from stream.releases import Canary, Release, Releases
    from stream.scorer import Scorer
    from stream.settings import Settings

app = typer.Typer(help="Switch model versions on a running system.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="MODEL", help="One of FANPULSE_MODELS.")]
Version = Annotated[str, typer.Argument(help="As Triton numbers them.")]


@app.command("list")
def list_models() -> None:
    """Show each model's versions: those that Triton has loaded, and those in service."""
    from rich.console import Console
    from rich.table import Table

    from stream.cli import load_settings, run
    from stream.releases import Release

    settings = load_settings()
    table = Table("model", "loaded", "served", "canary", "shadow", "before", "languages", "labels", box=None)

    async def fill() -> None:
        async with _service(settings) as (scorer, releases):
            known = await releases.read()
            for name in sorted(set(settings.models.values())):
                release = known.get(name, Release())
                model = await scorer.describe(name, release.version)
                canary = release.canary
                table.add_row(
                    name,
                    ", ".join(await scorer.versions(name)),
                    f"{model.version}{'' if release.version else ' (config)'}",
                    f"{canary.version} on {canary.share:.0%}" if canary else "-",
                    release.shadow or "-",
                    ", ".join(release.before) or "-",
                    ", ".join(model.languages),
                    ", ".join(model.primary.labels),
                )

    run(fill())
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
    from stream.releases import Canary

    settings = load_settings()

    async def work() -> str:
        async with _service(settings) as (scorer, releases):
            release = await _release(settings, releases, name)
            if canary is None:
                served = await _try(scorer, name, version, release)
                await releases.write(name, release.promoted(version, served))
                return f"{name}/{version} serves; before it {served} did"
            candidate = Canary(version, canary)
            taken = await _partitions(settings, name, candidate)
            served = await _try(scorer, name, version, release)
            await releases.write(name, replace(release, canary=candidate))
            return f"{name}/{version} serves partitions {', '.join(map(str, taken))}, {served} the others"

    typer.echo(run(work()))


@app.command()
def shadow(
    name: Name,
    version: Annotated[
        str | None, typer.Argument(help="As Triton numbers them; none ends the shadow.")
    ] = None,
) -> None:
    """Have a version score what another serves, to compare; what it says is settled nowhere."""
    from stream.cli import load_settings, run

    settings = load_settings()

    async def work() -> str:
        async with _service(settings) as (scorer, releases):
            release = await _release(settings, releases, name)
            if version is not None:
                await _try(scorer, name, version, release)
            await releases.write(name, replace(release, shadow=version))
            return f"{name}/{version} is a shadow" if version else f"{name} has no shadow"

    typer.echo(run(work()))


@app.command()
def rollback(name: Name) -> None:
    """End a canary or, where there is none, serve the version before; a shadow ends too."""
    from stream import smoke
    from stream.cli import load_settings, run

    settings = load_settings()

    async def work() -> str:
        async with _service(settings) as (scorer, releases):
            release = await _release(settings, releases, name)
            earlier = release.rolled_back()
            if earlier.version and earlier.version != release.version:
                await smoke.passed(scorer, name, earlier.version)
            await releases.write(name, earlier)
            return f"{name}/{(await scorer.describe(name, earlier.version)).version} serves all partitions"

    typer.echo(run(work()))


@app.command()
def reference(
    name: Name,
    file: Annotated[Path, typer.Argument(help="CSV, JSONL or Parquet.", exists=True, dir_okay=False)],
    version: Annotated[str | None, typer.Option(help="As Triton numbers them; the served one.")] = None,
    text_column: Annotated[str, typer.Option(help="Column of the texts.")] = "text",
    most: Annotated[int, typer.Option(min=1, help="Texts scored, the first of the file.")] = 5000,
    repository: Annotated[
        Path | None, typer.Option(help="Keep it with the version in this model repository.", file_okay=False)
    ] = None,
) -> None:
    """Score texts and print what is usual of them: what drift is measured against."""
    from stream.cli import load_settings, run

    settings = load_settings()

    async def measure() -> "tuple[Model, Reference]":
        async with _service(settings) as (scorer, releases):
            release = await _release(settings, releases, name)
            model = await scorer.load(name, version or release.version)
            return model, await _measured(scorer, model, file, text_column, most)

    model, measured = run(measure())
    if repository is None:
        typer.echo(_as_json(measured))
    else:
        _keep(repository / name, model.version, measured)
        typer.echo(f"{name}/{model.version}: reference of {measured.texts:,} texts")


@asynccontextmanager
async def _service(settings: "Settings") -> "AsyncIterator[tuple[Scorer, Releases]]":
    from stream.connections import connect_redis
    from stream.keys import Keys
    from stream.releases import Releases
    from stream.scorer import Scorer

    redis, scorer = connect_redis(settings), Scorer.of(settings)
    try:
        yield scorer, Releases(redis, Keys(settings.redis_prefix))
    finally:
        await scorer.close()
        await redis.aclose()


async def _release(settings: "Settings", releases: "Releases", name: str) -> "Release":
    from stream.errors import ConfigurationError
    from stream.releases import Release

    if name not in settings.models.values():
        used = ", ".join(sorted(set(settings.models.values())))
        raise ConfigurationError(f"FANPULSE_MODELS names no model {name}, only {used}")
    return (await releases.read()).get(name, Release())


async def _try(scorer: "Scorer", name: str, version: str, release: "Release") -> str:
    """Give a version its smoke batch, loading it first where Triton has not; return which one serves now."""
    from stream import smoke
    from stream.errors import ConfigurationError

    served = await scorer.describe(name, release.version)
    if version == served.version:
        raise ConfigurationError(f"{served} serves already")
    if version not in await scorer.versions(name):
        await scorer.reload(name)
        there = await scorer.versions(name)
        if version not in there:
            raise ConfigurationError(
                f"Triton's repository has no version {version} of {name}, only {', '.join(there)}"
            )
    await smoke.passed(scorer, name, version, promised=served)
    return served.version


async def _partitions(settings: "Settings", name: str, canary: "Canary") -> list[int]:
    """The partitions that a canary will serve. Raises ConfigurationError where its share reaches none."""
    from stream import topics
    from stream.errors import ConfigurationError

    count = (await topics.partitions(settings)).get(settings.comments_topic, 0)
    taken = [partition for partition in range(count) if canary.takes(name, partition)]
    if not taken:
        raise ConfigurationError(
            f"a share of {canary.share:g} reaches none of {count} partitions: take a larger one"
        )
    return taken


async def _measured(scorer: "Scorer", model: "Model", file: Path, column: str, most: int) -> "Reference":
    from itertools import islice

    import numpy as np

    from stream import drift
    from stream.comments import Rejected
    from stream.errors import ConfigurationError
    from stream.rows import BadRow, read
    from stream.text import clean

    rows = (row for row in read(file) if not isinstance(row, BadRow) and row.get(column))
    texts = [clean(str(row[column])) for row in islice(rows, most)]
    answers = await scorer.score(model, [text for text in texts if text])
    scores = [answer for answer in answers if not isinstance(answer, Rejected)]
    if not scores:
        raise ConfigurationError(f"{file}: no text in column {column} that {model} can score")
    return drift.reference(model, {name: np.array([one[name] for one in scores]) for name in model.widths})


def _as_json(reference: "Reference") -> str:
    from pydantic import TypeAdapter

    from stream.model import Reference

    return TypeAdapter(Reference).dump_json(reference).decode()


def _keep(folder: Path, version: str, reference: "Reference") -> None:
    """Write reference.json, and say the same in config.pbtxt, where the worker can read it through Triton."""
    from stream.cli import fail
    from stream.errors import ConfigurationError

    text = _as_json(reference)
    key = json.dumps(f"reference@{version}")
    config = folder / "config.pbtxt"
    try:
        others = [line for line in config.read_text().splitlines() if f"key: {key} " not in line]
        (folder / version / "reference.json").write_text(text + "\n")
    except OSError as error:
        fail(ConfigurationError(f"{error.filename}: {error.strerror}"), 2)
    line = f"parameters {{ key: {key} value {{ string_value: {json.dumps(text)} }} }}"
    config.write_text("\n".join([*others, line, ""]))
