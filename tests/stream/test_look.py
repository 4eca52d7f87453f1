"""`fanpulse topics`, `window` and `events`, as they are typed."""

import asyncio
import os
import sys
from datetime import datetime

import orjson

from tests.stream.deployment import Deployment, comment, until

ANGRY, HAPPY = "今天怒", "今天乐"


async def fanpulse(
    deployment: Deployment, *arguments: str, **settings: object
) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stream", *arguments),
        env={**os.environ, **deployment.environment(**settings)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def test_window_and_events_show_what_was_settled(deployment: Deployment) -> None:
    await deployment.send([comment(0, ANGRY), comment(3, HAPPY), comment(6, ANGRY), comment(1, HAPPY)])
    await deployment.worker()
    await deployment.settled(4)

    code, output, _ = await fanpulse(deployment, "window", "community-0", "--json")
    window = orjson.loads(output)
    assert (code, window["size"], window["comments"], window["negative"]) == (0, "1h", 3, 2)
    code, output, _ = await fanpulse(deployment, "window", "community-0", "--size", "5m")
    assert code == 0
    assert "2 (67%)" in output
    code, output, _ = await fanpulse(deployment, "window", "community-0", "--at", "2001-01-01", "--json")
    assert (code, orjson.loads(output)["comments"]) == (0, 0)

    code, output, _ = await fanpulse(deployment, "events", "--json")
    events = [orjson.loads(line) for line in output.splitlines()]
    assert (code, len(events)) == (0, 4)
    said_at = [datetime.fromisoformat(event["created_at"]) for event in events]
    assert said_at == sorted(said_at)
    _, output, _ = await fanpulse(deployment, "events", "--community", "community-1")
    assert output.count("\n") == 1


async def test_events_follow_what_comes(deployment: Deployment) -> None:
    await deployment.worker()
    log = deployment.folder / "followed"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-u", "-m", "stream", "events", "--follow", "--json"),
            env={**os.environ, **deployment.environment()},
            stdout=file,
        )

    sent = 0

    async def followed() -> bool:
        nonlocal sent
        await deployment.send([comment(sent, ANGRY)])
        sent += 1
        return b'"labels":["anger"]' in log.read_bytes()

    try:
        await until(followed, what="a new event to be shown")
    finally:
        process.kill()
        await process.wait()


async def test_topics_are_shown_created_and_never_changed(deployment: Deployment) -> None:
    code, output, _ = await fanpulse(deployment, "topics")
    assert code == 0
    assert f"{deployment.topic}: 1 partitions" in output

    new = {"comments_topic": f"{deployment.topic}-new", "rejected_topic": f"{deployment.topic}-new.rejected"}
    code, output, _ = await fanpulse(deployment, "topics", **new)
    assert code == 1
    assert "missing" in output
    code, output, _ = await fanpulse(deployment, "topics", "--create", "--partitions", "3", **new)
    assert code == 0
    assert f"{deployment.topic}-new: 3 partitions" in output
    code, _, errors = await fanpulse(deployment, "topics", "--create", "--partitions", "5", **new)
    assert code == 2
    assert "has 3 partitions, not 5" in errors


async def test_a_service_that_is_away_is_named(deployment: Deployment) -> None:
    for arguments, settings in (
        (("topics",), {"kafka_url": "kafka://127.0.0.1:1"}),
        (("events",), {"redis_url": "redis://127.0.0.1:1/0"}),
        (("window", "x"), {"redis_url": "redis://127.0.0.1:1/0"}),
    ):
        code, _, errors = await fanpulse(deployment, *arguments, **settings)
        assert code == 1, (arguments, errors)
        assert "is unavailable" in errors
        assert "Traceback" not in errors
