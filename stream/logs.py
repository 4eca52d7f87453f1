"""Log lines on standard error, one a message. What a library repeats while a service is away is thinned out."""

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from math import inf

from stream.settings import Settings

REPEATED_AFTER_S = 10.0
_KNOWN = 1000  # messages; more are forgotten, for some libraries put what changes into the message itself


def log_to_stderr(settings: Settings) -> None:
    """Libraries speak up from WARNING on."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(Thinned())
    logging.getLogger("stream").setLevel(settings.log_level)
    logging.getLogger("stream.batches").setLevel(logging.WARNING)  # Faust's services log under its name


class Thinned(logging.Filter):
    """Lets a library's message pass once in REPEATED_AFTER_S, and says then how many were left out.

    Messages are the same where logger and format are, whatever fills the format's places: aiokafka writes some
    twenty lines a second while a broker is away. Our own lines all pass.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._passed: dict[tuple[str, str], float] = {}
        self._left_out: Counter[tuple[str, str]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] == "stream":
            return True
        key = (record.name, str(record.msg))
        if self._clock() - self._passed.get(key, -inf) < REPEATED_AFTER_S:
            self._left_out[key] += 1
            return False
        if len(self._passed) >= _KNOWN:
            self._passed.clear()
        self._passed[key] = self._clock()
        if left_out := self._left_out.pop(key, 0):
            record.msg = f"{record.msg} ({left_out} like it left out)"
        return True
