"""A small cluster that loses members under load. The large one: `make scale`."""

from pathlib import Path

import pytest

from tests.faults.grid import LOSSES, Size
from tests.faults.scale import run

SMALL = Size(workers=3, partitions=16, communities=60, comments=3000, rate=60.0, keyed=False)


@pytest.mark.connected
@pytest.mark.timeout(600)
async def test_a_redis_cluster_and_a_quorum_lose_members_and_every_offset_keeps_its_one_effect(
    tmp_path: Path,
) -> None:
    outcome = await run(tmp_path, SMALL, seed=11)
    assert outcome.recoveries_s.keys() == LOSSES.keys()
    assert outcome.forgotten > 0  # acknowledged writes were lost indeed
    assert sum(partition.differences for partition in outcome.audit.partitions) == 0
    assert str(outcome.verdict).endswith("nothing lost, nothing counted twice")
    assert outcome.verdict.comments > 1000
    assert outcome.exits == []
