"""`fanpulse up`, `down` and `status`: the embedded stack from the command line."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from filelock import FileLock, Timeout
from rich.console import Console
from rich.live import Live
from rich.table import Table

from deploy.local.service import Service, ServiceError
from deploy.local.stack import FOLDER, Stack
from deploy.local.triton import REPOSITORY

LOOK_EVERY_S = 2.0

app = typer.Typer(no_args_is_help=True)
console = Console(highlight=False, soft_wrap=True)

Folder = Annotated[Path, typer.Option(help="Where data, logs and stack.env live.")]
Port = Annotated[int | None, typer.Option(min=1, max=65_535, show_default="the last one, or a free one")]


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Leave the services running.")] = False,
    kafka_port: Port = None,
    redis_port: Port = None,
    triton_port: Port = None,
    models: Annotated[
        Path, typer.Option(help="Model repository of Triton.", show_default="the models shipped")
    ] = REPOSITORY,
    folder: Folder = FOLDER,
) -> None:
    """Start Kafka, Redis and Triton on this machine and write their addresses to stack.env.

    Stays until Ctrl-C or SIGTERM and then stops them, unless --detach is given. Everything listens on the
    loopback interface only. Data is kept from one `up` to the next; delete the folder to start afresh.
    """
    asked = {"kafka": kafka_port, "redis": redis_port, "triton": triton_port}
    ports = {name: port for name, port in asked.items() if port}
    with _errors_told():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / "lock", timeout=0):
                stack = Stack(folder, ports=ports, repository=models, outlives_parent=detach)
                asyncio.run(_up(stack, detach=detach))
        except Timeout:
            raise ServiceError(
                f"another `fanpulse up` is at work in {folder}: wait for it or end it"
            ) from None


@app.command()
def down(folder: Folder = FOLDER) -> None:
    """End the services that `up` started in this folder, and nothing else. Data is kept."""
    with _errors_told():
        stack = Stack(folder)
        names = [service.name for service in stack.running]
        asyncio.run(stack.stop())
        console.print(f"ended {', '.join(names)}" if names else "nothing was running")


@app.command()
def status(folder: Folder = FOLDER) -> None:
    """Show each service: whether it runs and answers, where, and its memory. Exits 1 unless all answer."""
    with _errors_told():
        stack = Stack(folder)
        answers = asyncio.run(_answers(stack))
        console.print(_table(stack, answers))
        if not all(answers.values()):
            raise typer.Exit(1)


async def _up(stack: Stack, *, detach: bool) -> None:
    if len(stack.running) == len(stack.services):
        if not detach:
            raise ServiceError("already up: `fanpulse status` shows the services, `fanpulse down` ends them")
        console.print("already up")
        _print_settings(stack)
        return
    for service in stack.running:
        console.print(f"ending {service.name}, left over from an incomplete stack")
        await service.stop()
    _cancel_on_signals()
    try:
        with console.status("starting kafka, redis and triton"):
            await stack.start()
        _print_settings(stack)
        if detach:
            stack.leave()
        else:
            await _watch(stack)
    except asyncio.CancelledError:
        console.print("stopping")
        await stack.stop()
    except ServiceError:
        await stack.stop()
        raise


def _cancel_on_signals() -> None:
    task = asyncio.current_task()
    assert task is not None
    for how in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(how, task.cancel)


async def _watch(stack: Stack) -> None:
    """Show the services until cancelled. Raises ServiceError when one ends by itself."""
    with (
        Live(console=console, auto_refresh=False) if console.is_terminal else contextlib.nullcontext() as live
    ):
        while len(stack.running) == len(stack.services):
            if live:
                live.update(_table(stack, await _answers(stack)), refresh=True)
            await asyncio.sleep(LOOK_EVERY_S)
    ended = next(service for service in stack.services if not service.running)
    raise ServiceError(f"{ended.name} ended by itself, so the others were stopped. {ended.tail()}")


async def _answers(stack: Stack) -> dict[str, bool]:
    async def look(service: Service) -> bool:
        return service.running and await service.answers()

    answers = await asyncio.gather(*map(look, stack.services))
    return {service.name: answer for service, answer in zip(stack.services, answers, strict=True)}


def _table(stack: Stack, answers: dict[str, bool]) -> Table:
    table = Table("service", "state", "pid", "memory", "address", box=None)
    for service in stack.services:
        process = service.process if service.running else None
        state = "ended" if process is None else "ready" if answers[service.name] else "silent"
        memory = f"{process.memory_info().rss / 2**20:.0f} MiB" if process else ""
        pid, address = (str(process.pid), service.url) if process else ("", "")
        table.add_row(service.name, state, pid, memory, address)
    return table


def _print_settings(stack: Stack) -> None:
    for key, value in stack.settings().items():
        console.print(f"{key}={value}")


@contextlib.contextmanager
def _errors_told() -> Iterator[None]:
    try:
        yield
    except ServiceError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(str(error), markup=False)
        raise typer.Exit(1) from None
