import logging
from typing import Any

from stream.logs import REPEATED_AFTER_S, Thinned


class Handler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.lines: list[str] = []
        self.addFilter(Thinned(lambda: self.now))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def hear(self, name: str, message: str, *places: Any) -> None:
        self.handle(logging.LogRecord(name, logging.ERROR, __file__, 1, message, places, None))


def test_what_a_library_repeats_comes_once_a_while_with_the_number_left_out() -> None:
    handler = Handler()
    for number in range(200):
        handler.now = number * 0.1
        handler.hear("aiokafka", "Unable to connect to %s: %d", "broker-1", number)
    assert handler.lines == [
        "Unable to connect to broker-1: 0",
        f"Unable to connect to broker-1: 100 ({REPEATED_AFTER_S / 0.1 - 1:.0f} like it left out)",
    ]


def test_other_messages_pass_beside_a_repeated_one() -> None:
    handler = Handler()
    for name, message in (
        ("aiokafka", "away"),
        ("aiokafka", "away"),
        ("aiokafka", "back"),
        ("redis", "away"),
    ):
        handler.hear(name, message)
    assert handler.lines == ["away", "back", "away"]


def test_every_line_of_our_own_passes() -> None:
    handler = Handler()
    for offset in range(3):
        handler.hear("stream.pipeline", "settled offset=%d", offset)
    assert handler.lines == ["settled offset=0", "settled offset=1", "settled offset=2"]


def test_messages_that_never_repeat_are_not_kept_for_ever() -> None:
    handler = Handler()
    for number in range(3000):
        handler.hear("chatty", f"number {number}")
    assert len(handler.lines) == 3000
    assert len(handler.filters[0]._passed) <= 1000
