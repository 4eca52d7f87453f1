"""`fanpulse board`: serve the live page until interrupted."""

import asyncio
import signal
from typing import Annotated

import typer

from stream.errors import ConfigurationError


def board(
    host: Annotated[str | None, typer.Option(help="Address; others than loopback need a token.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = None,
) -> None:
    """Show the communities live on a web page: what is unusual now, why, and what people say."""
    from stream.board.server import Board
    from stream.cli import load_settings, run
    from stream.logs import log_to_stderr

    given = {"board_host": host, "board_port": port}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    log_to_stderr(settings)

    async def serve() -> None:
        page = Board(settings)
        try:
            chosen = await page.start()
        except OSError as error:
            raise ConfigurationError(f"FANPULSE_BOARD_PORT {settings.board_port}: {error}") from error
        typer.echo(f"board on http://{settings.board_host}:{chosen}/")
        stopping = asyncio.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stopping.set)
        await stopping.wait()
        await page.stop()

    run(serve())
