"""A run that is told to stop begins no more faults."""

import asyncio
import os
import signal

from tests.faults.run import told_to_stop


async def test_the_first_signal_asks_for_an_early_end_and_the_next_one_works_as_ever() -> None:
    told = told_to_stop()
    assert not told.is_set()
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.wait_for(told.wait(), 10)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
