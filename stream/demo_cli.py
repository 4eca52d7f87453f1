"""`fanpulse demo`: the whole system on this machine for a minute, three invented communities, one turns sour."""

import asyncio
from typing import Annotated

import typer


def demo(
    seconds: Annotated[
        float, typer.Option(min=15, help="How long it plays, and at least until the alert is out.")
    ] = 60.0,
    board: Annotated[bool, typer.Option(help="Serve the web page as well.")] = True,
    seed: Annotated[int, typer.Option(help="Another seed tells another story.")] = 7,
) -> None:
    """Start everything on this machine and watch three invented communities, of which one turns sour.

    Ends by itself, or on Ctrl-C, and leaves nothing running.
    """
    from deploy.local.service import ServiceError
    from stream.cli import fail
    from stream.demo import perform
    from stream.errors import FanpulseError

    try:
        asyncio.run(perform(seconds, board, seed))
    except (FanpulseError, ServiceError) as error:
        fail(error, 1)
