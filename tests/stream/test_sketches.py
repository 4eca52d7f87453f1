import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.local import Redis
from stream import sketches


@pytest.mark.connected
@pytest.mark.parametrize("members", [0, 1, 5, 700, 3_000, 60_000])
async def test_the_count_equals_pfcount_from_sparse_to_dense(each_redis: Redis, members: int) -> None:
    async with each_redis.connect() as redis:
        for start in range(0, members, 1000):
            await redis.pfadd("sketch", *range(start, min(start + 1000, members)))
        await redis.pfadd("sketch")
        sketch = await redis.get("sketch")
        assert sketches.count(sketches.read(sketch)) == await redis.pfcount("sketch")


_AUTHORS = st.sets(st.integers(0, 5_000), max_size=2_000)


@pytest.mark.connected
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=st.lists(_AUTHORS, min_size=1, max_size=4))
async def test_a_union_of_sketches_equals_pfmerge(redis_server: Redis, groups: list[set[int]]) -> None:
    async with redis_server.connect() as redis:
        await redis.flushall()
        for number, group in enumerate(groups):
            await redis.pfadd(f"sketch{number}", *group)
        names = [f"sketch{number}" for number in range(len(groups))]
        united = sketches.union([sketches.read(await redis.get(name)) for name in names])
        assert sketches.count(united) == await redis.pfcount(*names)


def test_nobody_counts_as_zero() -> None:
    assert sketches.count(sketches.union([])) == 0


@pytest.mark.connected
async def test_a_sketch_takes_the_room_its_members_need(redis_server: Redis) -> None:
    async with redis_server.connect() as redis:
        for members in (1, 50_000):
            await redis.pfadd(str(members), *range(members))
        few, many = [sketches.union([sketches.read(await redis.get(name))]) for name in ("1", "50000")]
    assert few.ranks.nbytes == 1
    assert many.ranks.nbytes == sketches.REGISTERS


def test_a_string_that_is_no_sketch_is_refused() -> None:
    with pytest.raises(ValueError, match="HyperLogLog"):
        sketches.read(b"hello, this is not a sketch")
