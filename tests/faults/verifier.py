"""Says whether Redis holds what Kafka said: each offset one effect, each aggregate an integer recount.

It works after the run on what it reads itself and shares no code with the product.
"""

import hmac
import json
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
from aiokafka import ConsumerRecord
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from redis.asyncio import Redis as RedisClient

from tests.faults.observed import Names, Partition, dead_letters, observe
from tests.faults.oracle import TOLERANCE, Oracle, carried, negativity
from tests.faults.recount import (
    Buckets,
    reason,
    recount,
    recount_authors,
    window_beside_recount,
)

SCHEMA = Path(__file__).parents[2] / "docs/schemas/event.json"

_EXAMPLES = 5
_SIZES = {b"5m", b"1h", b"24h"}
_PUBLISHED_WITHIN_S = 60.0  # the window of a minute ends with it
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROUNDING = 1.01e-6  # of a probability with six decimals
_CHECKED_AGAINST_SCHEMA = 200  # events a partition


@dataclass
class Verdict:
    """Counts of what was seen, and of what is wrong with examples; right means that nothing is wrong."""

    comments: int = 0
    events: int = 0
    rejected: int = 0
    buckets: int = 0
    windows: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def blame(self, what: str, example: object) -> None:
        self.wrong[what] += 1
        if len(self.examples[what]) < _EXAMPLES:
            self.examples[what].append(str(example)[:600])

    def __str__(self) -> str:
        if not self.wrong:
            return f"{self.comments} comments, nothing lost, nothing counted twice"
        return "; ".join(f"{what}: {n}, e.g. {self.examples[what]}" for what, n in self.wrong.items())


@dataclass
class Verifier:
    """Judges one run. `pseudonym_key` is what the workers were given.

    One event in `compared` is compared byte for byte; every one is counted.
    """

    redis: RedisClient
    bootstrap: str
    oracle: Oracle
    names: Names
    pseudonym_key: bytes
    compared: int = 1
    _sketches: dict[frozenset[str], int] = field(default_factory=dict)

    async def verify(self) -> Verdict:
        """Read and judge everything, a partition at a time; the workers have been stopped just now."""
        verdict, stopped = Verdict(), time.time()
        letters = await dead_letters(self.bootstrap, self.names)
        total: Buckets = defaultdict(Counter)
        authors: dict[str, set[str]] = defaultdict(set)
        for number in range(self.names.partitions):
            partition = await observe(self.redis, self.bootstrap, self.names, number, letters)
            counted, wrote = await self.judge(partition, verdict)
            for bucket, counts in counted.items():
                total[bucket] += counts
            for bucket, names in wrote.items():
                authors[bucket] |= names
        await self.judge_windows(total, authors, verdict, stopped=stopped)
        return verdict

    async def judge(self, partition: Partition, verdict: Verdict) -> tuple[Buckets, dict[str, set[str]]]:
        """Add what `partition` shows to `verdict`; return its recounted buckets and their authors."""
        place = f"partition {partition.number}"
        verdict.comments += len(partition.records)
        verdict.events += len(partition.events)
        verdict.rejected += len(partition.letters)
        if partition.fence != partition.end:
            verdict.blame("fence not at the end", f"{place}: {partition.fence}, log ends at {partition.end}")
        if partition.committed is not None and partition.committed > partition.fence:
            verdict.blame("commit ahead", f"{place}: {partition.committed} > {partition.fence}")
        events = self._judge_order(partition, verdict)
        for offset, record in partition.records.items():
            event, letter = events.get(offset), partition.letters.get(offset)
            if event is None and letter is None:
                verdict.blame("lost", f"{place} offset {offset}")
            elif event is not None and letter is not None:
                verdict.blame("both event and dead letter", f"{place} offset {offset}: {reason(letter)}")
            elif event is not None and offset % self.compared == 0:
                await self._judge_event(partition.number, record, event, verdict)
            if letter is not None and event is None:
                _judge_letter(record, letter, verdict)
        for offset in (events.keys() | partition.letters.keys()) - partition.records.keys():
            verdict.blame("out of nothing", f"{place} offset {offset}")
        counted, authors = recount(partition), recount_authors(partition)
        await self._judge_buckets(partition, counted, authors, verdict)
        return counted, authors

    def _judge_order(self, partition: Partition, verdict: Verdict) -> dict[int, bytes]:
        events: dict[int, bytes] = {}
        last = -1
        schema = Draft202012Validator(json.loads(SCHEMA.read_text()))
        for number, (entry, content) in enumerate(partition.events):
            event = orjson.loads(content)
            offset = event["source"]["offset"]
            if number < _CHECKED_AGAINST_SCHEMA and not schema.is_valid(event):
                verdict.blame("not as the schema says", f"{entry}: {best_match(schema.iter_errors(event))}")
            if offset in events:
                verdict.blame("duplicated", f"partition {partition.number} offset {offset}")
            elif offset < last:
                verdict.blame("out of order", f"{entry} holds offset {offset}, after {last}")
            elif entry != f"{offset}-1":
                verdict.blame("wrong entry ID", f"{entry} holds offset {offset}")
            events[offset] = content
            last = offset
        return events

    async def _judge_event(
        self, number: int, record: ConsumerRecord, content: bytes, verdict: Verdict
    ) -> None:
        """Write the event anew from the record and the text's own scores, and compare byte for byte.

        Scores are held against Triton's within the tolerance and then taken as they are, as is when they were
        made; so are text and language of a fuzzed record, whose cleaning is the product's own matter.
        """
        headers, event = dict(record.headers), orjson.loads(content)
        if "reason" in headers:
            verdict.blame("scored what is poison", f"{headers['reason']!r} became {event['id']}")
            return
        comment = orjson.loads(record.value)
        tasks = await self.oracle.tasks(event["model"])
        truth = await self.oracle.scores(event["model"], event["text"])
        said = {"emotion": event["scores"]} | {name: t["scores"] for name, t in event["tasks"].items()}
        for name, task in tasks.items():
            apart = [abs(said[name][label] - p) for label, p in zip(task["labels"], truth[name], strict=True)]
            if max(apart) > TOLERANCE:
                verdict.blame("wrong score", f"{event['source']}: {name} is {max(apart)} off")
        scores = {name: list(said[name].values()) for name in tasks}
        labels = carried(tasks["emotion"], scores["emotion"])
        probability = round(negativity(tasks["emotion"], scores["emotion"]), 6)
        if abs(probability - event["negativity"]) <= _ROUNDING:
            probability = event["negativity"]
        expected = {
            "schema": 1,
            "id": comment["id"],
            "community": comment["community"],
            "author": self._pseudonym(comment.get("author")),
            "post_id": comment.get("post_id") or None,
            "reply_to": comment.get("reply_to") or None,
            "lang": "zh" if "text" in headers else event["lang"],
            "text": headers["text"].decode() if "text" in headers else event["text"],
            "created_at": _EPOCH + timedelta(milliseconds=comment["created_at"]),
            "scored_at": event["scored_at"],
            "scores": event["scores"],
            "labels": labels,
            "negativity": probability,
            "negative": not set(labels).isdisjoint(tasks["emotion"]["negative"]),
            "tasks": {
                name: {"scores": said[name], "labels": carried(tasks[name], scores[name])}
                for name in sorted(tasks)
                if name != "emotion"
            },
            "model": event["model"],
            "source": {"topic": self.names.topic, "partition": number, "offset": record.offset},
        }
        made = orjson.dumps(expected, option=orjson.OPT_UTC_Z)
        if made != content:
            verdict.blame("wrong event", f"{content!r} should be {made!r}")

    def _pseudonym(self, author: str | None) -> str | None:
        return hmac.digest(self.pseudonym_key, author.encode(), "sha256")[:16].hex() if author else None

    async def _judge_buckets(
        self, partition: Partition, expected: Buckets, authors: Mapping[str, set[str]], verdict: Verdict
    ) -> None:
        verdict.buckets += len(expected)
        for name in expected.keys() | partition.buckets.keys():
            counted, stored = dict(expected.get(name, {})), partition.buckets.get(name, {})
            if counted != stored:
                apart = {key: (stored.get(key), counted.get(key)) for key in counted.keys() | stored.keys()}
                apart = {key: pair for key, pair in apart.items() if pair[0] != pair[1]}
                verdict.blame(
                    "wrong bucket", f"partition {partition.number} {name}: stored, recounted {apart}"
                )
        for bucket, pseudonyms in authors.items():
            name = bucket.replace("m:", "am:", 1) if bucket.startswith("m:") else f"a{bucket[1:]}"
            sketch = await self._sketch(frozenset(pseudonyms))
            if partition.sketches.get(name) != sketch:
                verdict.blame("wrong authors", f"{name}: {partition.sketches.get(name)}, not {sketch}")

    async def _sketch(self, pseudonyms: frozenset[str]) -> int:
        """What a HyperLogLog of these estimates: the same set always gives the same."""
        if pseudonyms not in self._sketches:
            key = "verifier:sketch"
            await self.redis.delete(key)
            await self.redis.pfadd(key, *pseudonyms)
            self._sketches[pseudonyms] = int(await self.redis.pfcount(key))
        return self._sketches[pseudonyms]

    async def judge_windows(
        self,
        buckets: Mapping[str, Counter[str]],
        authors: Mapping[str, set[str]],
        verdict: Verdict,
        *,
        stopped: float,
    ) -> None:
        """Each community has its windows, each a recount, the newest of the last minutes before `stopped`."""
        communities = {name.split(":", 2)[2] for name, counts in buckets.items() if counts["n"]}
        for community in sorted(communities):
            published = await self.redis.hgetall(f"{self.names.prefix}:window:{community}")
            if missing := _SIZES - published.keys():
                verdict.blame("missing window", f"{community}: {missing}")
            elif (ends := _end(published[b"5m"])) < stopped - _PUBLISHED_WITHIN_S:
                verdict.blame("stale window", f"{community}: 5m ends {stopped - ends:.0f} s before the stop")
            for size, content in published.items():
                verdict.windows += 1
                window = json.loads(content)
                for name, (stored, counted) in window_beside_recount(
                    window, community, buckets, authors
                ).items():
                    if stored != counted:
                        where = f"{community} {size.decode()} from {window['from']}"
                        verdict.blame("wrong window", f"{where}: {name} {stored}, recounted {counted}")


def _end(window: bytes) -> float:
    return datetime.fromisoformat(orjson.loads(window)["to"]).timestamp()


def _judge_letter(record: ConsumerRecord, letter: ConsumerRecord, verdict: Verdict) -> None:
    headers, expected = dict(letter.headers), dict(record.headers)
    source = (headers["source.topic"], headers["source.partition"], headers["source.offset"])
    if letter.value != (record.value or b"") or source != (
        record.topic.encode(),
        str(record.partition).encode(),
        str(record.offset).encode(),
    ):
        verdict.blame("wrong dead letter", f"{record.partition}:{record.offset}")
    if "text" in expected:
        verdict.blame("rejected what is valid", f"{record.partition}:{record.offset}: {headers}")
    elif expected.get("reason", headers["reason"]) != headers["reason"]:
        verdict.blame("wrong reason", f"{expected['reason']!r}: {headers['reason']!r}")
