"""Comments and poison for the comment topic, each record with a header that tells what must become of it.

The product does not read headers, the verifier does. `text`: an event with that text. `reason`: a dead
letter. Neither (fuzz: valid records with bytes changed): one of both, either will do.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Any
from zlib import crc32

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

Record = tuple[bytes | None, list[tuple[str, bytes]], str | None]
"""Value, headers, and the community whose partition it goes to; None: any partition."""

_LETTERS = "怒慌盼恨乐爱哭哇哦负正恋演唱会门票今天好听难过晚安加油"
_DISGUISES = ("{}", "{}", "{}", " {} ", "{}\n", "\u200b{}", "{}\u2060")
COMMUNITIES = ["星光", "moonlight", "极昼", "a:b:c", "{brace}", "晚风"]
_TICK_S = 0.1


class Traffic:
    """`rate` comments a second on `partitions` partitions, about one in a hundred of them poison.

    They were said by `communities` within the last `reach_s` seconds. `keyed`: a community's comments go to one
    partition, as those of a producer that keys by community do, and only what is fuzzed strays.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        topic: str,
        partitions: int,
        rate: float,
        seed: int,
        communities: Sequence[str] = COMMUNITIES,
        reach_s: int = 120,
        keyed: bool = False,
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._partitions = partitions
        self._communities = communities
        self._reach_s = reach_s
        self._keyed = keyed
        self.rate = rate
        self._rng = Random(seed)
        texts = ["".join(self._rng.choices(_LETTERS, k=self._rng.randint(1, 14))) for _ in range(1200)]
        self._texts = texts
        self._number = 0
        self.clock_off_s = 0.0
        self._deliveries: set[asyncio.Future[Any]] = set()

    async def run(self) -> None:
        """Send until cancelled, and then wait for what is on its way."""
        begun, sent = time.monotonic(), 0
        try:
            while True:
                due = int((time.monotonic() - begun) * self.rate)
                await self._send([self._any() for _ in range(due - sent)])
                sent = due
                await asyncio.sleep(_TICK_S)
        except asyncio.CancelledError:
            await self.delivered()

    async def burst(self, count: int) -> None:
        """As many comments as fast as they can be sent; returns when the broker has them."""
        await self._send([self._comment() for _ in range(count)])
        await self.delivered()

    async def flood(self, count: int) -> None:
        """Poison alone, half of it valid records with bytes changed, on one partition."""
        partition = self._rng.randrange(self._partitions)
        await self._send(
            [draw() for _ in range(count // 2) for draw in (self._poison, self._fuzzed)], partition
        )

    async def delivered(self) -> None:
        """Wait for what is on its way to the broker."""
        await asyncio.gather(*self._deliveries, return_exceptions=True)

    async def _send(self, records: list[Record], partition: int | None = None) -> None:
        for value, headers, community in records:
            home = partition
            if home is None and self._keyed and community is not None:
                home = crc32(community.encode()) % self._partitions
            with suppress(KafkaError):  # what the broker did not take was never said
                delivery = await self._producer.send(
                    self._topic,
                    value,
                    key=b"k",
                    partition=self._rng.randrange(self._partitions) if home is None else home,
                    timestamp_ms=int((time.time() + self.clock_off_s) * 1000),
                    headers=headers,
                )
                self._deliveries.add(delivery)
                delivery.add_done_callback(self._delivered)

    def _delivered(self, delivery: asyncio.Future[Any]) -> None:
        self._deliveries.discard(delivery)
        if not delivery.cancelled():
            delivery.exception()

    def _any(self) -> Record:
        draw = self._rng.random()
        if draw < 0.005:
            return self._poison()
        return self._fuzzed() if draw < 0.01 else self._comment()

    def _comment(self) -> Record:
        # Favourites come often: fan communities repeat themselves.
        text = self._texts[int(len(self._texts) * self._rng.random() ** 2)]
        disguised = self._rng.choice(_DISGUISES).format(text)
        community = self._community()
        return self._encoded(text=disguised, community=community), [("text", text.encode())], community

    def _community(self) -> str:
        return self._communities[int(len(self._communities) * self._rng.random() ** 2)]

    def _encoded(self, **changes: Any) -> bytes:
        self._number += 1
        rng = self._rng
        now_ms = int((time.time() + self.clock_off_s) * 1000) - rng.randrange(self._reach_s * 1000)
        author = f"author-{int(400 * rng.random() ** 2)}"
        body = {
            "id": f"c{self._number}",
            "community": self._community(),
            "text": "今天乐",
            "created_at": now_ms,
            **({"author": author} if rng.random() < 0.9 else {}),
            **({"post_id": f"p{rng.randrange(50)}"} if rng.random() < 0.5 else {}),
            "unknown": rng.random(),
            **changes,
        }
        return json.dumps(body, ensure_ascii=rng.random() < 0.5).encode()

    def _fuzzed(self) -> Record:
        content = bytearray(self._encoded())
        for _ in range(self._rng.randint(1, 4)):
            place = self._rng.randrange(len(content))
            how = self._rng.randrange(4)
            if how == 0:
                content[place] = self._rng.randrange(256)
            elif how == 1:
                content[place] ^= 1 << self._rng.randrange(8)
            elif how == 2:
                del content[place : place + self._rng.randint(1, 8)]
            else:
                content[place:place] = bytes(self._rng.randrange(256) for _ in range(self._rng.randint(1, 4)))
            if not content:
                break
        return bytes(content), [], None

    def _poison(self) -> Record:
        encoded, day = self._encoded, 86_400
        now = time.time()
        poison: dict[str, list[bytes | None]] = {
            "not_json": [
                b"garbage",
                b"",
                b"[" * 5000,
                encoded()[:-1],
                encoded().replace(b'"unknown": ', b'"likes": NaN, "unknown": '),
                encoded().replace(b'"id": "', b'"id": "\\ud800'),
            ],
            "null_value": [None],
            "too_large": [encoded(padding="x" * 300_000)],
            "invalid": [
                b"{}",
                b"[]",
                b'"text"',
                encoded(id=7),
                encoded(id=""),
                encoded(id="x" * 257),
                encoded(community="社" * 100),
                encoded(community=None),
                encoded(community="new\nline"),
                encoded(text=None),
                encoded(likes=-1),
                encoded(created_at="1800000000"),
                encoded(created_at="2026-11-21T12:00:00"),
                encoded(created_at=1.5),
                encoded(text="a\0b"),
            ],
            "empty_text": [encoded(text=""), encoded(text="\u200b \n\t")],
            "text_too_long": [encoded(text="好" * 10_001)],
            "timestamp_out_of_bounds": [
                encoded(created_at=int((now + 366 * day) * 1000)),
                encoded(created_at=900_000_000_000),
                encoded(created_at=-1),
            ],
            "unsupported_language": [encoded(lang="ja"), encoded(text="こんにちは、元気ですか")],
        }
        reason = self._rng.choice(sorted(poison))
        return self._rng.choice(poison[reason]), [("reason", reason.encode())], None
