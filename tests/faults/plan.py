"""What breaks, when and for how long: drawn from a seed and kept as JSON, so that a run can be repeated."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from random import Random

SESSION_TIMEOUT_S = 6.0
_FIRST_AT_S = 4.0


@dataclass(frozen=True, slots=True)
class Fault:
    """`kind` begins `at_s` seconds after the start of the run and ends after `lasts_s`.

    `luck` in [0, 1) chooses among equals: which worker, which share of the connections.
    """

    kind: str
    at_s: float
    lasts_s: float
    luck: float


_PAUSE = (SESSION_TIMEOUT_S + 1.5, SESSION_TIMEOUT_S + 4)

KINDS: Mapping[str, tuple[float, float]] = {
    "worker: SIGKILL": (1, 4),
    "worker: SIGTERM": (1, 4),
    "worker: SIGSTOP past its session": _PAUSE,
    "worker: SIGSTOP, awake in time": (1, 3),
    "worker: one more": (6, 10),
    "worker: two rebalances at once": (0.3, 1),
    "worker: all SIGKILLed": (1, 3),
    "worker: clock two hours ahead": (3, 6),
    "worker: clock two hours behind": (3, 6),
    "triton: SIGKILL": (1, 5),
    "triton: backend SIGKILLed": (2, 6),
    "triton: slow": (3, 6),
    "triton: silent": (3, 6),
    "triton: NaN": (2, 5),
    "triton: wrong shape": (2, 5),
    "triton: internal error": (2, 5),
    "triton: refuses all": (2, 5),
    "triton: overloaded": (2, 5),
    "triton: other version promoted": (1, 2),
    "triton: new version loaded and promoted": (1, 2),
    "redis: SIGKILL": (1, 4),
    "redis: restored from an older copy": (3, 8),
    "redis: FLUSHALL": (0, 0.1),
    "redis: out of memory": (2, 5),
    "redis: read-only replica": (2, 5),
    "redis: busy script": (2, 5),
    "redis: disk full": (2, 5),
    "redis: SIGSTOP": (2, 7),
    "kafka: SIGKILL": (0.5, 3),
    "kafka: SIGSTOP": (2, 8),
    "kafka: SIGKILL, and a worker SIGTERMed": (4, 6),
    "comments: flood of poison": (0.5, 1),
    "comments: producers' clock off": (2, 4),
    **{
        f"network: {service} {what}": seconds
        for service in ("kafka", "redis", "triton")
        for what, seconds in (
            ("reset", (0, 0.1)),
            ("half-closed", (0, 0.1)),
            ("delayed", (2, 5)),
            ("starved", (2, 5)),
            ("silent", (2, 9)),
            ("silent for some", (2, 9)),
        )
    },
}
"""Every fault, and between how many and how many seconds it lasts."""


def draw(seed: int, *, minutes: float, spacing_s: float = 5.0) -> list[Fault]:
    """Faults for `minutes`: every kind comes before one comes again.

    Between the end of one and the start of the next lie `spacing_s` seconds on average, sometimes less than
    none: then two act at once.
    """
    rng = Random(seed)
    plan: list[Fault] = []
    at_s, deck = _FIRST_AT_S, list[str]()
    while at_s < minutes * 60:
        if not deck:
            deck = rng.sample(sorted(KINDS), len(KINDS))
        kind = deck.pop()
        lasts_s = round(rng.uniform(*KINDS[kind]), 1)
        plan.append(Fault(kind, round(at_s, 1), lasts_s, round(rng.random(), 3)))
        at_s += max(0.5, lasts_s + rng.uniform(-0.4, 2.4) * spacing_s)
    return plan


def dumps(plan: list[Fault]) -> str:
    return json.dumps([asdict(fault) for fault in plan], indent=1)


def loads(content: str) -> list[Fault]:
    """Read a plan back; raises KeyError for a kind that is unknown."""
    plan = [Fault(**fields) for fields in json.loads(content)]
    for fault in plan:
        KINDS[fault.kind]
    return plan
