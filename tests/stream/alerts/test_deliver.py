import asyncio
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote

import orjson
import pytest

from deploy.local import Redis
from stream.alerts.alert import Alert
from stream.alerts.deliver import Courier, plain
from stream.alerts.leader import Lease
from stream.alerts.rules import Rules
from stream.alerts.rules_file import load
from stream.alerts.store import Changes, Message, Store
from stream.client import Fanpulse
from tests.stream.alerts.examples import rules_file
from tests.stream.alerts.receiver import Receiver, receiving
from tests.stream.deployment import until
from tests.stream.test_client import NOON, alert

RULES = """
[[rule]]
name = "r"
kind = "week"

[[channel]]
name = "hook"
kind = "webhook"
url = "{url}/hook"
secret_env = "HOOK_SECRET"

[[channel]]
name = "manager"
kind = "alertmanager"
url = "{url}/am"

[[channel]]
name = "chat"
kind = "apprise"
url_env = "CHAT_URL"
"""


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one


class Office:
    """A store with a leader, a courier, and rules whose channels all lead to the receiver."""

    def __init__(self, fp: Fanpulse, rules: Rules, environment: dict[str, str]) -> None:
        self.fp, self.rules = fp, rules
        self.store = Store(fp.redis, fp.keys)
        self.lease = Lease(fp.redis, fp.keys)
        self.courier = Courier(self.store, attempts=3, longest_wait_s=0.01, environment=environment)
        self.sent = 0

    async def send(self, channel: str, told: Alert) -> None:
        """Put one message into the outbox, as judging a minute does."""
        token = await self.lease.hold()
        assert token
        changes = Changes(alerts=[told], outbox=[(channel, told)])
        began_from = str(self.sent) if self.sent else ""
        self.sent += 1
        assert await self.store.commit(token, began_from, changes, {"minute": str(self.sent)})

    async def deliver(self) -> None:
        """Until the outbox is empty."""

        async def empty() -> bool:
            await self.courier.deliver(await self.lease.hold() or 0, self.rules)
            return not await self.store.outbox()

        await until(empty)

    async def dead(self) -> list[Message]:
        return list(await self.store.dead())


@pytest.fixture
async def office(redis_server: Redis, receiver: Receiver, tmp_path: Path) -> AsyncIterator[Office]:
    chat = receiver.url.replace("http://", "json://") + "/chat"
    environment = {"HOOK_SECRET": "a secret", "CHAT_URL": chat}
    rules = load(rules_file(tmp_path, RULES.format(url=receiver.url)), environment)
    async with Fanpulse(redis_server.url) as fp:
        office = Office(fp, rules, environment)
        yield office
        await office.courier.close()


def firing(community: str = "星河", number: int = 1) -> Alert:
    return alert(number).model_copy(
        update={"id": f"r/{community}/{number}", "community": community, "link": "http://127.0.0.1/?a=1"}
    )


async def test_a_webhook_is_signed_and_carries_the_change_as_idempotency_key(
    office: Office, receiver: Receiver
):
    await office.send("hook", firing())
    await office.deliver()
    ((path, headers, body),) = receiver.got
    assert path == "/hook"
    assert Alert.model_validate_json(body) == firing()
    assert unquote(headers["Idempotency-Key"]) == "r/星河/1/firing"
    moment, signature = headers["X-Fanpulse-Signature"].split(",")
    expected = hmac.digest(b"a secret", moment.removeprefix("t=").encode() + b"." + body, "sha256").hex()
    assert signature == f"v1={expected}"
    assert await office.dead() == []


async def test_a_receiver_that_stumbles_gets_the_same_key_again(office: Office, receiver: Receiver):
    receiver.answers = [503, 429]
    await office.send("hook", firing())
    await office.deliver()
    assert len(receiver.got) == 3
    assert len({headers["Idempotency-Key"] for _, headers, _ in receiver.got}) == 1
    assert await office.dead() == []


async def test_what_is_refused_or_fails_too_often_becomes_a_dead_letter_that_can_be_sent_again(
    office: Office, receiver: Receiver
):
    receiver.answers = [400, 500, 500, 500]
    await office.send("hook", firing(number=1))
    await office.send("hook", firing(number=2))
    await office.send("hook", firing(number=3))
    await office.deliver()
    assert len(receiver.got) == 1 + 3 + 1
    dead = await office.dead()
    assert [message.alert.id for message in dead] == ["r/星河/1", "r/星河/2"]
    assert "400" in dead[0].error
    assert "500" in dead[1].error
    await office.store.revive(dead[0])
    await office.deliver()
    assert orjson.loads(receiver.got[-1][2])["id"] == "r/星河/1"
    assert [message.alert.id for message in await office.dead()] == ["r/星河/2"]


async def test_a_channel_that_is_gone_from_the_rules_makes_a_dead_letter(office: Office):
    await office.send("pager", firing())
    await office.deliver()
    (message,) = await office.dead()
    assert message.channel == "pager"


async def test_a_slow_channel_does_not_hold_up_the_others(office: Office, receiver: Receiver):
    receiver.silent = "/hook"
    await office.send("hook", firing(number=1))
    await office.courier.deliver(1, office.rules)
    await until(lambda: _true([path for path, _, _ in receiver.got] == ["/hook"]))
    await office.send("manager", firing(number=2))
    await office.courier.deliver(1, office.rules)
    await until(lambda: _true([path for path, _, _ in receiver.got] == ["/hook", "/am/api/v2/alerts"]))


async def _true(answer: bool) -> bool:
    return answer


async def test_alertmanager_gets_labels_and_an_end_that_is_far_until_it_is_resolved(
    office: Office, receiver: Receiver
):
    await office.send("manager", firing())
    await office.send("manager", firing().model_copy(update={"state": "resolved"}))
    await office.deliver()
    assert {path for path, _, _ in receiver.got} == {"/am/api/v2/alerts"}
    (first,), (last,) = (orjson.loads(body) for _, _, body in receiver.got)
    assert first["labels"] == last["labels"]
    assert first["labels"]["alertname"] == "r"
    assert first["startsAt"] == last["startsAt"] == last["endsAt"] == NOON.isoformat()
    assert first["endsAt"] > first["startsAt"]
    assert first["generatorURL"] == "http://127.0.0.1/?a=1"


async def test_chats_are_reached_through_apprise(office: Office, receiver: Receiver):
    told = firing().model_copy(update={"summary": {"zh": "星河转为负面", "en": "turning"}})
    await office.send("chat", told)
    await office.deliver()
    ((path, _, body),) = receiver.got
    assert path == "/chat"
    assert "星河转为负面" in orjson.loads(body)["message"]
    assert "http://127.0.0.1/?a=1" in plain(told, "en")


async def test_only_the_leader_empties_the_outbox(office: Office):
    await office.send("hook", firing())
    (message,) = await office.store.outbox()
    assert await office.store.delivered(99, message) is False
    assert len(await office.store.outbox()) == 1


async def test_what_was_sent_and_not_noted_is_sent_again_with_the_same_key(
    office: Office, receiver: Receiver
):
    await office.send("hook", firing())
    await office.courier.deliver(99, office.rules)  # a leader that is none any more, and does not know it
    await until(lambda: _true(len(receiver.got) == 1))
    await asyncio.gather(*office.courier._busy.values())
    await office.deliver()
    assert len(receiver.got) == 2
    assert len({headers["Idempotency-Key"] for _, headers, _ in receiver.got}) == 1
