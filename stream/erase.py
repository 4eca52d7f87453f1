"""Deletes one author's events from Redis. Counts stay, and Kafka's own records are not its business."""

from collections.abc import AsyncIterator
from typing import Annotated, cast

import orjson
import typer

from stream.connections import RedisClient
from stream.history import History
from stream.keys import Keys

_PAGE = 1_000

Page = list[tuple[bytes, dict[bytes, bytes]]]


async def erase_author(redis: RedisClient, keys: Keys, topic: str, pseudonym: str) -> int:
    """Delete the author's events of every partition and return how many. Raises redis.RedisError."""
    erased = 0
    for partition in await History(redis, keys, topic).fences():
        stream = keys.partition(topic, partition).events
        async for entries in _written_by(redis, stream, pseudonym):
            erased += await redis.xdel(stream, *entries)
    return erased


async def _written_by(redis: RedisClient, stream: str, pseudonym: str) -> AsyncIterator[list[bytes]]:
    """Entry IDs, some pages at a time."""
    after = b"-"
    while page := cast(Page, await redis.xrange(stream, min=after, count=_PAGE)):
        authors = ((entry, orjson.loads(fields[b"event"])["author"]) for entry, fields in page)
        if found := [entry for entry, author in authors if author == pseudonym]:
            yield found
        after = b"(" + page[-1][0]


def erase(author: Annotated[str, typer.Option(prompt=True, help="The name, as in the comments.")]) -> None:
    """Delete an author's events from Redis. Kafka keeps the records until its retention ends."""
    from stream.cli import load_settings, run
    from stream.connections import connect_redis
    from stream.events import pseudonym

    settings = load_settings()
    known_as = pseudonym(author, settings.pseudonym_key.get_secret_value().encode())

    async def work() -> int:
        redis = connect_redis(settings)
        try:
            return await erase_author(redis, Keys(settings.redis_prefix), settings.comments_topic, known_as)
        finally:
            await redis.aclose()

    typer.echo(f"{run(work())} events erased")
