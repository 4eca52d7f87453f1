"""The command line: `fanpulse …`. Each command reads the settings and does one thing."""

import asyncio
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from typing import Annotated, Any, NoReturn

import typer

from stream import settings as settings_module
from stream.errors import ConfigurationError, FanpulseError
from stream.logs import log_to_stderr
from stream.settings import Settings

app = typer.Typer(
    name="fanpulse",
    help="Real-time emotion monitoring for fan communities: Kafka in, Triton scores, Redis out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command()
def worker() -> None:
    """Score comments and settle them in Redis, until SIGTERM. Start as many as there are partitions."""
    from stream.app import run_worker

    settings = load_settings()
    log_to_stderr(settings)
    run_worker(settings)


@app.command()
def topics(
    create: Annotated[bool, typer.Option("--create", help="Create what is missing.")] = False,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of a new topic.")] = 4,
    replication: Annotated[int, typer.Option(min=1, help="Copies of each partition.")] = 1,
) -> None:
    """Show the comment topic and the rejected topic, or create them; nothing else creates topics."""
    from stream import topics as kafka_topics

    settings = load_settings()
    if create:
        created = run(kafka_topics.create(settings, partitions, replication))
        for name in created:
            typer.echo(f"created {name}")
    there = run(kafka_topics.partitions(settings))
    for name in (settings.comments_topic, settings.rejected_topic):
        count = there.get(name)
        typer.echo(f"{name}: {count} partitions" if count else f"{name}: missing")
    if len(there) < 2:
        raise typer.Exit(1)


def load_settings(**overrides: object) -> Settings:
    """The settings, or exit 2 with the variable at fault."""
    try:
        return settings_module.load(**overrides)
    except ConfigurationError as error:
        fail(error, 2)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end; an error that fanpulse raises on purpose becomes one line and an exit code."""
    try:
        return asyncio.run(work)
    except ConfigurationError as error:
        fail(error, 2)
    except FanpulseError as error:
        fail(error, 1)


def fail(error: Exception, code: int) -> NoReturn:
    typer.secho(f"fanpulse: {error}", err=True, fg=typer.colors.RED)
    raise typer.Exit(code)


def application() -> typer.Typer:
    """The whole command line; each feature's commands live beside it."""
    from stream.alerts.cli import app as alerts
    from stream.audit_cli import audit
    from stream.board.cli import board
    from stream.capacity_cli import capacity
    from stream.erase import erase
    from stream.look_cli import events, window
    from stream.models_cli import app as models
    from stream.replay_cli import replay

    commands: list[Callable[..., None]] = [replay, audit, window, events, board, erase, capacity]
    app.add_typer(alerts, name="alerts")
    app.add_typer(models, name="models")
    if find_spec("deploy"):  # a checkout; the images hold no embedded stack
        from deploy.local.cli import down, status, up
        from stream.demo_cli import demo

        commands = [demo, up, down, status, *commands]
    for command in commands:
        app.command()(command)
    return app


def main() -> None:
    application()()
