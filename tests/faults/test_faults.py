"""A short plan of faults, all services at once, on the real stack. Longer ones: `make faults-long`."""

from pathlib import Path

import pytest

from tests.faults import plan as plans
from tests.faults.run import act

SEED = 110403  # a draw that has the classics
MINUTES, SPACING_S = 1.6, 2.0


CLASSICS = {
    "worker: SIGKILL",
    "worker: SIGTERM",
    "worker: SIGSTOP past its session",
    "kafka: SIGKILL",
    "redis: SIGKILL",
    "redis: FLUSHALL",
    "redis: restored from an older copy",
    "triton: backend SIGKILLed",
    "triton: NaN",
    "triton: new version loaded and promoted",
    "comments: flood of poison",
}


@pytest.mark.connected
@pytest.mark.timeout(900)
async def test_nothing_is_lost_and_nothing_counted_twice_while_everything_breaks(tmp_path: Path) -> None:
    plan = plans.draw(SEED, minutes=MINUTES, spacing_s=SPACING_S)
    assert {fault.kind for fault in plan} >= CLASSICS
    outcome = await act(plan, tmp_path, seed=SEED, rate=100)
    assert outcome.verdict.comments > 1000
    assert str(outcome.verdict).endswith("nothing lost, nothing counted twice")
    assert [str(verdict) for verdict in outcome.evidence if verdict.wrong] == []
    assert outcome.evidence
    assert outcome.not_carried_out == []
    assert outcome.stuck == []
    assert outcome.commits_looked_at > 100
    assert outcome.commits_ahead == []
    assert outcome.answers["/metrics 200"] > 0
    assert outcome.answers["/metrics 500"] == 0
