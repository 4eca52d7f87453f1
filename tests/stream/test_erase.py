from pathlib import Path

import pytest
from faust.types import TP
from redis.asyncio import Redis as Client
from redis.exceptions import NoPermissionError

from deploy.local import Redis
from stream.buckets import settlement
from stream.erase import erase_author
from stream.events import dumps, pseudonym
from stream.keys import Keys
from stream.sink import Sink
from tests.stream.examples import KEY, event, scores

GONE, STAYS = (pseudonym(name, KEY) for name in ("ada", "bea"))


async def test_all_events_of_the_author_go_and_nobody_elses(redis_server: Redis):
    async with redis_server.connect() as redis:
        sink = Sink(redis, Keys(), events_kept=10_000, minutes_kept_s=10_800, hours_kept_s=864_000)
        for partition in (0, 2):
            tp = TP("comments", partition)
            await sink.open(tp, 0)
            made = [event(n, scores(), author="ada" if n % 3 == 0 else "bea") for n in range(2_500)]
            await sink.settle(tp, settlement(0, 2_500, [(one, dumps(one)) for one in made]))

        assert await erase_author(redis, Keys(), "comments", GONE) == 2 * 834
        assert await erase_author(redis, Keys(), "comments", GONE) == 0

        for partition in (0, 2):
            stream = Keys().partition("comments", partition).events
            left = b"".join(fields[b"event"] for _, fields in await redis.xrange(stream))
            assert left.count(STAYS.encode()) == 2_500 - 834
            assert GONE.encode() not in left
            assert await sink.fence(TP("comments", partition)) == 2_500


async def test_the_operators_rights_in_the_shipped_acl_are_enough(redis_server: Redis):
    acl = (Path(__file__).parents[2] / "deploy/redis.acl").read_text().splitlines()
    _, name, *rights = next(line for line in acl if line.startswith("user fanpulse-operator")).split()
    async with redis_server.connect() as redis:
        sink = Sink(redis, Keys(), events_kept=100, minutes_kept_s=10_800, hours_kept_s=864_000)
        await sink.open(TP("comments", 0), 0)
        one = event(0, scores(), author="ada")
        await sink.settle(TP("comments", 0), settlement(0, 1, [(one, dumps(one))]))
        await redis.execute_command("ACL", "SETUSER", name, "reset", ">pass", *rights)
        async with Client.from_url(redis_server.url.replace("//", f"//{name}:pass@")) as operator:
            assert await erase_author(operator, Keys(), "comments", GONE) == 1
            for forbidden in (operator.flushall(), operator.hset("fp:x", "a", "1"), operator.get("theirs")):
                with pytest.raises(NoPermissionError):
                    await forbidden
        await redis.execute_command("ACL", "DELUSER", name)
