"""The publisher over a real Redis, fed by real settles, with a clock of its own."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisError

from deploy.local import Redis
from deploy.local.redis import cluster, join
from stream.buckets import settlement
from stream.events import dumps
from stream.history import History
from stream.keys import Keys
from stream.rolling import SIZES, Size, Window
from stream.sink import Sink
from stream.windows import Publisher
from tests.stream.examples import NOON_MS, event, scores

pytestmark = pytest.mark.connected

NOON = NOON_MS // 1000
MINUTE, HOUR = 60, 3600
KEYS = Keys()
ANGRY, GLAD = scores(anger=0.75), scores(joy=0.9)


@dataclass
class Fans:
    """Comments settled straight into Redis, and what a publisher makes of them."""

    redis: Any
    now: float = NOON
    positions: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sink = Sink(self.redis, KEYS, events_kept=1000, minutes_kept_s=10_800, hours_kept_s=1_296_000)
        self.publisher = self.new_publisher()
        self.history = History(self.redis, KEYS, "comments")

    def new_publisher(self) -> Publisher:
        return Publisher(self.redis, KEYS, topic="comments", clock=lambda: self.now)

    async def say(
        self,
        count: int = 1,
        *,
        at: float | None = None,
        partition: int = 0,
        angry: bool = False,
        **changes: Any,
    ) -> None:
        """Settle `count` comments created at `at`, or now."""
        tp = TP("comments", partition)
        if partition not in self.positions:
            self.positions[partition] = await self.sink.open(tp, 0)
        start = self.positions[partition]
        created_at_ms = int((self.now if at is None else at) * 1000)
        events = [
            event(offset, ANGRY if angry else GLAD, created_at_ms=created_at_ms, **changes)
            for offset in range(start, start + count)
        ]
        await self.sink.settle(tp, settlement(start, start + count, [(e, dumps(e)) for e in events]))
        self.positions[partition] += count

    async def window(self, size: Size = "5m", community: str = "starlight") -> Window:
        content = await self.redis.hget(KEYS.window(community), size)
        assert content is not None
        return Window.model_validate_json(content)

    async def told(self) -> int:
        """How many windows the stream has carried."""
        return await self.redis.xlen(KEYS.windows)


@pytest.fixture
async def fans(redis_server: Redis) -> AsyncIterator[Fans]:
    async with redis_server.connect() as client:
        yield Fans(client)


async def test_windows_of_all_sizes_are_published_for_a_community_that_spoke(fans: Fans) -> None:
    await fans.say(3)
    await fans.say(1, angry=True, author="somebody else")
    assert await fans.publisher.publish() == 3
    for size in SIZES:
        window = await fans.window(size)
        assert (window.comments, window.negative, window.authors) == (4, 1, 2)
    entries = await fans.redis.xrange(KEYS.windows)
    assert [Window.model_validate_json(entry[b"window"]).size for _, entry in entries] == list(SIZES)


async def test_partitions_are_summed_and_an_author_in_two_of_them_counts_once(fans: Fans) -> None:
    await fans.say(2, partition=0)
    await fans.say(3, partition=70)
    await fans.say(1, partition=70, author="somebody else")
    for partition in range(1, 70):
        await fans.sink.open(TP("comments", partition), 0)
    await fans.publisher.publish()
    window = await fans.window("1h")
    assert (window.comments, window.authors) == (6, 2)


async def test_a_community_that_did_not_change_is_not_published_again(fans: Fans) -> None:
    await fans.say()
    await fans.publisher.publish()
    fans.now += 30
    assert await fans.publisher.publish() == 0
    await fans.say(community="moonlight")
    assert await fans.publisher.publish() == 3
    assert (await fans.window(community="moonlight")).comments == 1


async def test_a_silent_community_decays_to_zeros_and_then_is_left_alone(fans: Fans) -> None:
    await fans.say(5)
    await fans.publisher.publish()
    fans.now += 4 * MINUTE
    await fans.publisher.publish()
    assert (await fans.window("5m")).comments == 5
    fans.now += MINUTE
    await fans.publisher.publish()
    assert (await fans.window("5m")).comments == 0
    assert (await fans.window("1h")).comments == 5
    fans.now += HOUR
    await fans.publisher.publish()
    assert (await fans.window("1h")).comments == 0
    assert (await fans.window("24h")).comments == 5
    fans.now += 24 * HOUR
    await fans.publisher.publish()
    assert (await fans.window("24h")).comments == 0
    told = await fans.told()
    fans.now += HOUR
    assert await fans.publisher.publish() == 0
    assert await fans.told() == told


async def test_a_community_that_speaks_again_after_it_ended_is_published_again(fans: Fans) -> None:
    await fans.say(5)
    await fans.publisher.publish()
    fans.now += 25 * HOUR
    await fans.publisher.publish()
    await fans.say(2)
    await fans.publisher.publish()
    assert (await fans.window("24h")).comments == 2
    assert (await fans.window("24h")).before.comments == 5


async def test_a_late_comment_counts_in_the_window_of_its_own_time(fans: Fans) -> None:
    await fans.say(2)
    await fans.publisher.publish()
    await fans.say(3, at=fans.now - 7 * MINUTE, author="latecomer")
    await fans.publisher.publish()
    five, hour = await fans.window("5m"), await fans.window("1h")
    assert (five.comments, five.before.comments, five.authors) == (2, 3, 1)
    assert (hour.comments, hour.authors) == (5, 2)


async def test_a_comment_dated_ahead_counts_when_its_time_has_come(fans: Fans) -> None:
    await fans.say(1, at=fans.now + 2 * HOUR)
    await fans.publisher.publish()
    assert (await fans.window("24h")).comments == 0
    fans.now += 2 * HOUR
    await fans.publisher.publish()
    assert (await fans.window("5m")).comments == 1
    assert (await fans.window("24h")).comments == 1


async def test_the_past_week_is_the_baseline_also_for_a_publisher_that_just_took_over(fans: Fans) -> None:
    for back in range(1, 31):
        await fans.say(4, at=fans.now - back * HOUR, angry=back % 2 == 0)
    await fans.say(4, angry=True)
    taking_over = fans.new_publisher()
    await taking_over.publish()
    window = await fans.window("5m")
    assert window.baseline is not None
    assert (window.baseline.mean, window.baseline.periods) == (0.5, 30)
    assert window.z is not None
    assert window.z > 0.9


async def test_when_redis_went_back_in_time_everything_is_read_again(fans: Fans) -> None:
    await fans.say(5)
    await fans.publisher.publish()
    await fans.redis.flushall()
    fans.positions.clear()
    await fans.say(2)
    await fans.publisher.publish()
    assert (await fans.window()).comments == 2


async def test_after_an_outage_windows_that_a_failover_lost_are_published_again(fans: Fans) -> None:
    await fans.say(3, community="moonlight")
    await fans.publisher.publish()
    await fans.say()
    await fans.redis.config_set("maxmemory", 1)
    with pytest.raises(RedisError):
        await fans.publisher.publish()
    await fans.redis.config_set("maxmemory", 0)
    await fans.redis.delete(KEYS.window("moonlight"))  # the replica that took over had not got it yet
    await fans.publisher.publish()
    assert (await fans.window("24h", "moonlight")).comments == 3


async def test_changes_are_kept_for_a_minute_and_then_trimmed(fans: Fans) -> None:
    changed = KEYS.partition("comments", 0).changed
    await fans.say()
    await fans.publisher.publish()
    fans.now += 59
    await fans.publisher.publish()
    assert await fans.redis.zcard(changed) == 2
    fans.now += 61
    await fans.publisher.publish()
    fans.now += 61
    await fans.publisher.publish()
    assert await fans.redis.zcard(changed) == 0


async def test_comments_rejected_before_their_community_was_known_make_no_window(fans: Fans) -> None:
    tp = TP("comments", 0)
    await fans.sink.open(tp, 0)
    await fans.sink.settle(tp, settlement(0, 1, [], [("", NOON_MS)]))
    assert await fans.publisher.publish() == 0


async def test_a_publisher_that_begins_anew_asks_for_the_buckets_there_are_and_for_no_others(
    fans: Fans,
) -> None:
    """Redis answers again after a failover: what it is asked then must not grow with the week that could have been."""
    for partition in range(20):
        await fans.say(1, partition=partition)
    await fans.say(3, at=NOON - 5 * HOUR, partition=7)
    await fans.publisher.publish()
    fans.publisher.forget()
    await fans.redis.config_resetstat()
    await fans.publisher.publish()
    calls = (await fans.redis.info("commandstats"))["cmdstat_hgetall"]["calls"]
    assert calls <= len(await fans.redis.keys("fp:{comments:*}:[mh]:*"))
    assert (await fans.window("24h")).comments == 23


async def test_a_window_of_any_past_moment_is_rolled_up_from_the_buckets(fans: Fans) -> None:
    await fans.say(5, at=NOON - 30 * MINUTE)
    await fans.say(2)
    window = await fans.history.window("starlight", "5m", NOON - 30 * MINUTE)
    assert (window.comments, window.authors) == (5, 1)
    buckets = await fans.history.buckets("starlight", NOON - HOUR, NOON + 1, "m")
    assert {start: fields["n"] for start, fields in buckets.items()} == {NOON - 30 * MINUTE: 5, NOON: 2}


async def test_partitions_in_different_slots_are_summed_on_redis_cluster(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(node) for node in cluster(tmp_path)]
        await join(nodes)
        client = await stack.enter_async_context(RedisCluster.from_url(nodes[0].url))
        fans = Fans(client)
        for partition in range(4):
            await fans.say(2, partition=partition)
        await fans.say(1, partition=3, author="somebody else")
        assert await fans.publisher.publish() == 3
        window = await fans.window("24h")
        assert (window.comments, window.authors) == (9, 2)


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["starlight", "moonlight"]),
        st.integers(0, 1),  # partition
        st.integers(1, 3),  # comments
        st.integers(-70, 3),  # minutes from now of their creation
        st.booleans(),  # angry
        st.sampled_from([0, 0, 0, 1, 3, 61, 1500]),  # minutes that pass afterwards
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS)
async def test_what_is_published_is_always_what_a_recount_of_the_buckets_gives(
    fans: Fans, steps: Any
) -> None:
    await fans.redis.flushall()
    story = Fans(fans.redis)
    for community, partition, count, minutes, angry, pause in steps:
        at, author = story.now + minutes * MINUTE, f"fan {minutes % 5}"
        await story.say(count, at=at, partition=partition, angry=angry, community=community, author=author)
        await story.publisher.publish()
        story.now += pause * MINUTE
    await story.publisher.publish()
    for community in {step[0] for step in steps}:
        for size in SIZES:
            published = await story.window(size, community)
            recount = await story.history.window(community, size, story.now)
            if published.comments + recount.comments:  # zeros are published once, and stay as they were
                assert published.model_copy(update={"as_of": recount.as_of}) == recount


async def test_a_publisher_that_was_relieved_and_forgot_misses_nothing_when_it_takes_over_again(
    fans: Fans,
) -> None:
    """The other one has trimmed the changes it read, and this one never saw them."""
    relief = fans.new_publisher()
    await fans.say(1)
    await fans.publisher.publish()
    fans.publisher.forget()
    await fans.say(1)
    await relief.publish()
    fans.now += 61
    await relief.publish()  # forgets changes read before
    await fans.say(1, community="moonlight")
    await fans.publisher.publish()
    assert (await fans.window("1h")).comments == 2
