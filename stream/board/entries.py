"""Entries of Redis streams, as redis-py gives them: named, read one by one, the unreadable left out."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")
Entry = tuple[str, dict[bytes, bytes]]


def entries_of(answer: Any) -> list[Entry]:
    return [(entry.decode(), fields) for entry, fields in answer or ()]


def readable(entries: Iterable[Entry], read: Callable[[Entry], T]) -> Iterator[T]:
    """Read each entry; one of another version is told of and left out, and its neighbours are shown."""
    for entry in entries:
        try:
            yield read(entry)
        except (KeyError, TypeError, ValueError) as error:
            log.warning("entry %s cannot be read (%s): another version's?", entry[0], type(error).__name__)
