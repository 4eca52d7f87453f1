"""The rules that are shipped, on what the real worker makes of texts with the shipped model."""

import time
from collections import defaultdict
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import orjson
import pytest

from deploy.local import Kafka, Redis, Triton
from stream.alerts.rules_file import DEFAULT_RULES
from stream.alerts.service import Service
from stream.buckets import HOUR, MINUTE
from stream.client import Fanpulse
from stream.storyline import COMMUNITIES, Turn, storyline
from tests.stream.deployment import deployed

SOUR, BRIGADED, SILENT = COMMUNITIES
CALM = "平静的社区"
TURNED_M, BUSY_M, BRIGADED_M, SILENT_M = 150, 15, 15, 20
DAY_M = 24 * 60


def past(now: float) -> Iterator[dict[str, Any]]:
    """Four days, ever denser towards their end; lengths in minutes."""

    def steady(community: str, ago: float, until: float, comments: int) -> Iterator[dict[str, Any]]:
        """Two texts, so that scoring takes no time; every sixth comment is sad."""
        for number in range(comments):
            at = now - (ago - (ago - until) * number / comments) * MINUTE
            yield {
                "id": f"{community}-{ago}-{number}",
                "community": community,
                "text": "今天好开心" if number % 6 else "今天好伤心，哭了好久",
                "created_at": int(at * 1000),
            }

    def tell(
        community: str, ago: float, until: float, a_minute: float, *turns: Turn
    ) -> Iterator[dict[str, Any]]:
        start = now - ago * MINUTE
        story = storyline(int(ago), [community], start, (ago - until) * MINUTE, a_minute / MINUTE, turns)
        return (comment for comment, _ in story)

    yield from steady(SOUR, 4 * DAY_M, DAY_M / 2, 840)
    yield from steady(SOUR, DAY_M / 2, TURNED_M, 400)
    turn = Turn("spike", SOUR, now - TURNED_M * MINUTE, DAY_M * MINUTE)
    yield from tell(SOUR, TURNED_M, TURNED_M - BUSY_M, 4, turn)
    yield from tell(SOUR, TURNED_M - BUSY_M, 0, 1, turn)
    yield from steady(BRIGADED, 120, BRIGADED_M, 70)
    brigade = Turn("brigade", BRIGADED, now - BRIGADED_M * MINUTE, DAY_M * MINUTE)
    yield from tell(BRIGADED, BRIGADED_M, 0, 4, brigade)
    yield from steady(SILENT, 300, SILENT_M, 2500)  # the three whole hours that it is held against
    yield from tell(CALM, 120, 0, 1)


@pytest.mark.connected
async def test_every_default_rule_fires_where_it_should_and_none_where_all_is_calm(
    kafka: Kafka, redis_server: Redis, triton: Triton, tmp_path: Path
) -> None:
    models = orjson.dumps({"zh": "emotion_zh", "en": "emotion_en"}).decode()
    async with (
        deployed(
            kafka, redis_server, triton, tmp_path, models=models, minutes_kept_s=24 * HOUR
        ) as deployment,
        Fanpulse(redis_server.url, topic=deployment.topic) as fp,
    ):
        await deployment.worker()
        now = time.time()
        comments = [orjson.dumps(comment) for comment in past(now)]
        await deployment.send(comments)
        await deployment.settled(len(comments), within_s=180)
        before = int(now - TURNED_M * MINUTE) // MINUTE * MINUTE - MINUTE
        await fp.redis.hset(fp.keys.alert_root + "status", "minute", before)
        halfway, clock = before + TURNED_M // 2 * MINUTE, time.time
        service = Service(fp, DEFAULT_RULES, clock=lambda: min(halfway, clock()))
        await service.turn()
        halfway = inf
        await service.turn()
        fired = defaultdict(set)
        for alert in await fp.recent_alerts():
            if alert.state == "firing":
                fired[alert.community].add(alert.rule)
                assert alert.value >= alert.limit
                assert alert.kind == "silence" or alert.explanation.negative > 0
    assert fired[SOUR] == {"turning-sour", "souring", "sour-day", "anger-rising", "negative-surge"}
    assert "brigade" in fired[BRIGADED]
    assert fired[SILENT] == {"silence"}
    assert fired[CALM] == set()
