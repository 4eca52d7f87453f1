from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from typer.testing import CliRunner

from deploy.local import Kafka
from stream import topics
from stream.cli import application
from stream.errors import ConfigurationError
from stream.replay import Columns, Pace, Summary, replay_rows, to_comment
from stream.rows import BadRow, Row
from stream.settings import Settings
from tests.stream.examples import NOON_MS

SHANGHAI = ZoneInfo("Asia/Shanghai")
ROW: Row = {"community": "starlight", "text": "好看", "created_at": "2026-11-21T12:00:00Z"}


def comment_of(row: Row, number: int = 1, **columns: str) -> dict[str, Any]:
    return to_comment(number, row, Columns(**columns), SHANGHAI)


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-21T12:00:00Z",
        "2026-11-21 20:00:00",
        datetime(2026, 11, 21, 12, tzinfo=UTC),
        datetime(2026, 11, 21, 20),  # noqa: DTZ001 - files hold such
        NOON_MS,
        NOON_MS // 1000,
        str(NOON_MS),
    ],
)
def test_a_time_may_be_iso_a_datetime_or_epoch_seconds_or_milliseconds(time: object) -> None:
    assert comment_of({**ROW, "created_at": time})["created_at"] == NOON_MS


def test_a_date_is_its_midnight_in_the_zone() -> None:
    expected = int(datetime(2026, 11, 21, tzinfo=SHANGHAI).timestamp() * 1000)
    assert comment_of({**ROW, "created_at": date(2026, 11, 21)})["created_at"] == expected
    assert comment_of({**ROW, "created_at": "2026-11-21"})["created_at"] == expected


def test_columns_may_have_any_name_and_a_list_of_communities_gives_its_first() -> None:
    row = {"tags": ["starlight", "other"], "body": "好看", "when": NOON_MS, "who": 7, "key": 9}
    comment = comment_of(row, community="tags", text="body", time="when", author="who", id="key")
    assert comment == {
        "id": "9", "community": "starlight", "text": "好看", "author": "7", "created_at": NOON_MS,
    }  # fmt: skip


def test_an_id_of_ones_own_is_the_same_each_time_and_differs_between_equal_rows() -> None:
    assert comment_of(ROW)["id"] == comment_of(ROW)["id"]
    assert comment_of(ROW, number=1)["id"] != comment_of(ROW, number=2)["id"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"text": None}, "nothing in column text"),
        ({"community": []}, "nothing in column community"),
        ({"created_at": "yesterday"}, "time"),
        ({"created_at": float("nan")}, "time"),
        ({"text": "\udcff"}, "JSON"),
    ],
)
def test_a_row_that_makes_no_comment_says_why(change: Row, why: str) -> None:
    with pytest.raises(BadRow, match=why):
        comment_of({**ROW, **change})


def test_comments_are_due_by_rate_by_the_files_time_or_at_once() -> None:
    assert Pace(rate=50).due_s(sent=100, since_first_s=7) == 2
    assert Pace(speed=10).due_s(sent=100, since_first_s=7) == 0.7
    assert Pace().due_s(sent=100, since_first_s=7) == 0


@pytest.fixture
async def settings(kafka: Kafka) -> Settings:
    """Settings with a comment topic of its own."""
    settings = Settings(
        kafka_url=kafka.url, comments_topic=f"replay-{uuid4().hex}", rejected_topic=uuid4().hex
    )
    await topics.create(settings, 2, 1)
    return settings


@pytest.fixture
async def consumer(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    address = settings.kafka_url.removeprefix("kafka://")
    async with AIOKafkaConsumer(
        settings.comments_topic, bootstrap_servers=address, auto_offset_reset="earliest"
    ) as consumer:
        yield consumer


async def take(consumer: AIOKafkaConsumer, count: int) -> list[ConsumerRecord]:
    return [await consumer.getone() for _ in range(count)]


@pytest.mark.connected
async def test_rows_reach_the_topic_keyed_by_community_and_bad_ones_are_named(
    settings: Settings, consumer: AIOKafkaConsumer
) -> None:
    rows = [ROW, BadRow("not JSON"), {**ROW, "text": " "}, {**ROW, "community": "moonlight"}]
    summary = await replay_rows(settings, rows, Columns(), Pace())
    assert (summary.sent, summary.bad) == (2, 2)
    assert [number for number, _ in summary.named] == [2, 3]
    assert summary.named[0][1] == "not JSON"
    assert "empty_text" in summary.named[1][1]
    records = await take(consumer, 2)
    assert {record.key for record in records} == {b"starlight", b"moonlight"}


@pytest.mark.connected
async def test_a_repeated_replay_sends_the_same_ids_also_when_restamped(
    settings: Settings, consumer: AIOKafkaConsumer
) -> None:
    for _ in range(2):
        await replay_rows(settings, [ROW, ROW], Columns(), Pace(restamp=True))
    sent = [orjson.loads(record.value) for record in await take(consumer, 4)]
    assert len({comment["id"] for comment in sent}) == 2
    assert all(comment["created_at"] != NOON_MS for comment in sent)


@pytest.mark.connected
async def test_a_replay_at_a_rate_takes_its_time(settings: Settings) -> None:
    started = datetime.now(UTC)
    summary = await replay_rows(settings, [ROW] * 21, Columns(), Pace(rate=20))
    assert summary.sent == 21
    assert (datetime.now(UTC) - started).total_seconds() >= 1


@pytest.mark.connected
async def test_a_missing_topic_is_told_before_anything_is_sent(kafka: Kafka) -> None:
    settings = Settings(kafka_url=kafka.url, comments_topic=f"nowhere-{uuid4().hex}")
    with pytest.raises(ConfigurationError, match="no topic nowhere"):
        await replay_rows(settings, [ROW], Columns(), Pace())


def test_only_the_first_bad_rows_are_kept_by_name() -> None:
    summary = Summary()
    for number in range(1, 100):
        summary.count_bad(number, BadRow("empty"))
    assert summary.bad == 99
    assert len(summary.named) == 20


def test_the_command_refuses_a_rate_together_with_a_speed(tmp_path: Path) -> None:
    path = tmp_path / "fans.csv"
    path.write_text("text\n")
    result = CliRunner().invoke(application(), ["replay", str(path), "--rate", "1", "--speed", "1"])
    assert result.exit_code == 2
    assert "exclude each other" in result.output


@pytest.mark.connected
def test_the_command_sends_a_file_and_counts_its_rows(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fans.jsonl"
    path.write_bytes(b"\n".join([orjson.dumps(ROW), b"{oops", orjson.dumps(ROW), orjson.dumps(ROW)]))
    monkeypatch.setenv("FANPULSE_KAFKA_URL", settings.kafka_url)
    monkeypatch.setenv("FANPULSE_COMMENTS_TOPIC", settings.comments_topic)
    monkeypatch.setenv("FANPULSE_REJECTED_TOPIC", settings.rejected_topic)
    result = CliRunner().invoke(application(), ["replay", str(path), "--limit", "3"])
    assert result.exit_code == 0, result.output
    assert f"sent 2 comments to {settings.comments_topic}, 1 bad rows" in result.output
    assert "row 2: not JSON" in result.output
