import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.local import Redis
from deploy.local.redis import cluster, join
from stream.alerts.alert import Alert
from stream.alerts.service import Service
from stream.alerts.store import Store
from stream.buckets import MINUTE
from stream.client import Fanpulse
from stream.errors import Unavailable
from tests.stream.alerts.examples import rules_file
from tests.stream.alerts.town import NOON, Clock, Town
from tests.stream.deployment import until

SHIFT = """
board_url = "http://127.0.0.1:8080/"

[[rule]]
name = "turning"
kind = "shift"
severity = "critical"
clear_for = "2m"
cool_down = "5m"
"""
CHANNEL = """
[[channel]]
name = "ops"
kind = "webhook"
url = "http://127.0.0.1:9/"
secret_env = "OPS_SECRET"
"""


@pytest.fixture
async def fp(redis_server: Redis) -> AsyncIterator[Fanpulse]:
    async with Fanpulse(redis_server.url) as connected:
        yield connected


@pytest.fixture
def town(fp: Fanpulse) -> Town:
    return Town(fp)


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def judged(service: Service, clock: Clock, minutes: range) -> None:
    for minute in minutes:
        clock.after(minute)
        await service.turn()


async def told(fp: Fanpulse) -> list[tuple[str, str]]:
    return [(alert.rule, alert.state) for alert in reversed(await fp.recent_alerts())]


async def only(fp: Fanpulse) -> Alert:
    (alert,) = await fp.recent_alerts()
    return alert


async def test_a_turn_fires_once_explains_itself_and_is_resolved_once(fp, town, clock, tmp_path):
    service = Service(fp, rules_file(tmp_path, SHIFT), clock=clock)
    await town.live(range(60), 2)
    await judged(service, clock, range(58, 60))
    assert await told(fp) == []
    await town.live(range(60, 70), 14)
    await judged(service, clock, range(60, 70))
    alert = await only(fp)
    assert (alert.rule, alert.community, alert.state, alert.severity) == (
        "turning",
        "starlight",
        "firing",
        "critical",
    )
    assert alert.value > alert.limit > alert.baseline
    assert alert.numbers["comments"] == 100
    assert "starlight" in alert.summary["zh"]
    assert "starlight" in alert.summary["en"]
    assert (
        alert.link
        == f"http://127.0.0.1:8080/?community=starlight&alert=turning%2Fstarlight%2F{alert.id[18:]}"
    )
    why = alert.explanation
    assert "退票" in [term.term for term in why.terms]
    assert why.posts[0].post_id == "notice"
    assert 1 <= len(why.representatives) <= 3
    assert len({one.text for one in why.representatives}) == len(why.representatives)
    await town.live(range(70, 80), 2)
    await judged(service, clock, range(70, 80))
    assert await told(fp) == [("turning", "firing"), ("turning", "resolved")]


async def test_no_text_and_no_author_is_logged(fp, town, clock, tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "stream")
    service = Service(fp, rules_file(tmp_path, SHIFT), clock=clock)
    await town.live(range(60), 2)
    await town.live(range(60, 66), 14, author="xiaoming")
    await judged(service, clock, range(58, 66))
    assert "xiaoming" not in (await only(fp)).model_dump_json()
    assert "turning/starlight" in caplog.text
    assert "退票" not in caplog.text


async def test_minutes_missed_while_nobody_led_are_judged_later_one_by_one(fp, town, clock, tmp_path):
    first = Service(fp, rules_file(tmp_path, SHIFT), clock=clock)
    await town.live(range(60), 2)
    await judged(first, clock, range(58, 60))
    await first._lease.release()
    await town.live(range(60, 70), 14)
    await town.live(range(70, 82), 2)
    second = Service(fp, tmp_path / "rules.toml", clock=clock)
    await judged(second, clock, range(81, 82))
    assert await told(fp) == [("turning", "firing"), ("turning", "resolved")]


async def test_of_two_replicas_one_leads_and_nothing_is_told_twice(fp, town, clock, tmp_path):
    replicas = [Service(fp, rules_file(tmp_path, SHIFT), clock=clock) for _ in range(2)]
    await town.live(range(60), 2)
    await town.live(range(60, 70), 14)
    for minute in range(58, 70):
        clock.after(minute)
        for replica in replicas:
            await replica.turn()
    assert await told(fp) == [("turning", "firing")]
    assert [replica._token for replica in replicas] == [1, None]


async def test_a_leader_that_slept_past_its_lease_writes_nothing(fp, town, clock, tmp_path):
    sleepy = Service(fp, rules_file(tmp_path, SHIFT), clock=clock)
    await town.live(range(60), 2)
    await judged(sleepy, clock, range(58, 59))
    await fp.redis.delete(fp.keys.alert_root + "lease")
    other = Service(fp, tmp_path / "rules.toml", clock=clock)
    await judged(other, clock, range(59, 60))
    before = await Store(fp.redis, fp.keys).status()
    clock.after(60)
    sleepy._lease.token = 1
    await sleepy._judge_due(1)
    assert await Store(fp.redis, fp.keys).status() == before


async def test_missing_data_neither_fires_nor_resolves_but_is_told(fp, town, clock, tmp_path):
    service = Service(fp, rules_file(tmp_path, SHIFT), clock=clock)
    await town.live(range(60), 2)
    await town.live(range(60, 66), 14)
    await judged(service, clock, range(58, 66))
    await judged(service, clock, range(66, 90))  # nothing is written
    assert await told(fp) == [("turning", "firing"), ("data-missing", "firing")]
    status = await Store(fp.redis, fp.keys).status()
    assert int(status["missing_since"]) == NOON + 65 * MINUTE
    await town.live(range(90, 92), 14)
    await judged(service, clock, range(90, 92))
    assert await told(fp) == [("turning", "firing"), ("data-missing", "firing"), ("data-missing", "resolved")]
    assert (await Store(fp.redis, fp.keys).status())["missing_since"] == ""
    await town.live(range(92, 105), 2)
    await judged(service, clock, range(92, 105))
    assert (await told(fp))[-1] == ("turning", "resolved")


async def test_the_first_minute_of_all_is_no_missing_data(fp, town, clock, tmp_path):
    service = Service(fp, rules_file(tmp_path, SHIFT), clock=clock)
    for minute in (59, 60, 61):
        clock.after(minute)
        await town.write(minute + 1, 2)  # the minute that has just begun
        await service.turn()
    assert await told(fp) == []
    assert int((await Store(fp.redis, fp.keys).status())["minute"]) == NOON + 61 * MINUTE


async def test_comments_that_come_after_an_outage_are_judged_by_their_own_minutes(fp, town, clock, tmp_path):
    service = Service(fp, rules_file(tmp_path, SHIFT), clock=clock)
    await town.live(range(60), 2)
    await judged(service, clock, range(58, 75))
    await town.live(range(60, 68), 2)
    await town.live(range(68, 80), 14)
    await judged(service, clock, range(79, 80))
    alert = (await fp.recent_alerts())[0]
    assert (alert.rule, alert.state) == ("turning", "firing")
    assert NOON + 68 * MINUTE <= alert.at.timestamp() <= NOON + 73 * MINUTE


async def test_silence_is_told_from_missing_data_by_a_worker_that_publishes(fp, town, clock, tmp_path):
    silence = '[[rule]]\nname = "hush"\nkind = "silence"\nwindow = "5m"\n'
    service = Service(fp, rules_file(tmp_path, silence), clock=clock)
    await town.live(range(-240, 60), 2)
    await judged(service, clock, range(58, 60))
    for minute in range(60, 70):
        clock.after(minute)
        await fp.redis.xadd(fp.keys.windows, {"window": "{}"}, id=f"{int(clock() * 1000)}-0")
        await service.turn()
    assert await told(fp) == [("hush", "firing")]


async def test_late_comments_and_clocks_that_run_ahead_make_no_flapping(fp, town, clock, tmp_path):
    service = Service(fp, rules_file(tmp_path, SHIFT), clock=clock)
    await town.live(range(60), 2)
    for minute in range(58, 75):
        clock.after(minute)
        if minute >= 60:
            await town.write(minute, 7, comments=10)
            await town.write(minute - 3, 7, comments=10)  # half of them come three minutes late
            await town.write(minute + 30, 0, comments=2)  # a producer's clock is half an hour ahead
        await service.turn()
    assert await told(fp) == [("turning", "firing")]


async def test_a_broken_rules_file_leaves_the_old_rules_on_and_shows_its_error(fp, town, clock, tmp_path):
    path = rules_file(tmp_path, SHIFT)
    service = Service(fp, path, clock=clock)
    await town.live(range(60), 2)
    await town.live(range(60, 75), 14)
    await judged(service, clock, range(58, 60))
    rules_file(tmp_path, SHIFT.replace('"shift"', '"shit"'))
    await judged(service, clock, range(60, 66))
    assert await told(fp) == [("turning", "firing")]
    status = await Store(fp.redis, fp.keys).status()
    assert "rule 'turning'" in status["rules_error"]
    rules_file(tmp_path, SHIFT.replace("turning", "renamed"))
    await judged(service, clock, range(66, 68))
    assert (await Store(fp.redis, fp.keys).status())["rules_error"] == ""
    assert ("turning", "resolved") in await told(fp)


async def test_a_rules_error_that_another_leader_found_is_not_shown_for_ever(fp, town, clock, tmp_path):
    path = rules_file(tmp_path, SHIFT)
    first, second = (Service(fp, path, clock=clock) for _ in range(2))
    await town.live(range(60), 2)
    await judged(first, clock, range(58, 59))
    rules_file(tmp_path, "no TOML")
    await judged(first, clock, range(59, 60))
    assert (await Store(fp.redis, fp.keys).status())["rules_error"]
    rules_file(tmp_path, SHIFT)
    await first._lease.release()
    await judged(second, clock, range(60, 61))
    assert (await Store(fp.redis, fp.keys).status())["rules_error"] == ""


async def test_the_channels_hear_of_a_muted_alert_when_the_mute_ends(fp, town, clock, tmp_path, monkeypatch):
    monkeypatch.setenv("OPS_SECRET", "secret")
    mute = 'mute_until = "2026-11-21T13:08:00Z"\n'
    service = Service(fp, rules_file(tmp_path, SHIFT + mute + CHANNEL), clock=clock)
    monkeypatch.setattr(service._courier, "deliver", _nothing)
    store = Store(fp.redis, fp.keys)
    await town.live(range(60), 2)
    await town.live(range(60, 75), 14)
    await judged(service, clock, range(58, 67))
    assert (await only(fp)).muted
    assert await store.outbox() == []
    await judged(service, clock, range(67, 72))
    (message,) = await store.outbox()
    assert (message.channel, message.alert.state) == ("ops", "firing")


async def _nothing(*_: object) -> None: ...


async def test_while_redis_is_away_nothing_is_told_and_afterwards_it_goes_on(tmp_path, clock):
    server = Redis(tmp_path / "redis")
    async with AsyncExitStack() as stack:
        await server.start()
        fp = await stack.enter_async_context(Fanpulse(server.url))
        town = Town(fp)
        await town.live(range(60), 2)
        await town.live(range(60, 64), 14)
        clock.after(59)
        running = asyncio.create_task(Service(fp, rules_file(tmp_path, SHIFT), clock=clock).run())
        stack.callback(running.cancel)
        store = Store(fp.redis, fp.keys)
        await until(lambda: _judged(store, 59))
        await server.stop()
        clock.after(63)
        await server.start()
        stack.push_async_callback(server.stop)
        await until(lambda: _judged(store, 63))
        assert await told(fp) == [("turning", "firing")]


async def _judged(store: Store, minute: int) -> bool:
    try:
        return (await store.status()).get("minute") == str(NOON + minute * MINUTE)
    except Unavailable:
        return False


async def test_it_judges_and_tells_on_redis_cluster(tmp_path, clock, monkeypatch):
    monkeypatch.setenv("OPS_SECRET", "secret")
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(node) for node in cluster(tmp_path / "cluster")]
        await join(nodes)
        fp = await stack.enter_async_context(Fanpulse(nodes[0].url, cluster=True))
        town = Town(fp)
        await town.live(range(60), 2)
        await town.live(range(60, 66), 14)
        service = Service(fp, rules_file(tmp_path, SHIFT + CHANNEL), clock=clock)
        monkeypatch.setattr(service._courier, "deliver", _nothing)
        await judged(service, clock, range(58, 66))
        assert await told(fp) == [("turning", "firing")]
        store = Store(fp.redis, fp.keys)
        (message,) = await store.outbox()
        assert await store.delivered(service._token, message, "refused")
        assert [dead.error for dead in await store.dead()] == ["refused"]
        await service._lease.release()


async def test_the_rights_in_the_shipped_acl_are_enough(fp, town, clock, tmp_path, redis_server, monkeypatch):
    monkeypatch.setenv("OPS_SECRET", "secret")
    acl = (Path(__file__).parents[3] / "deploy/redis.acl").read_text(encoding="utf-8").splitlines()
    _, name, *rights = next(line for line in acl if line.startswith("user fanpulse-alerts")).split()
    await fp.redis.execute_command("ACL", "SETUSER", name, "reset", ">pass", *rights)
    url = redis_server.url.replace("redis://", f"redis://{name}:pass@")
    await town.live(range(60), 2)
    await town.live(range(60, 66), 14)
    async with Fanpulse(url) as limited:
        service = Service(limited, rules_file(tmp_path, SHIFT + CHANNEL.replace("9/", "9")), clock=clock)
        await judged(service, clock, range(58, 66))
        store = Store(limited.redis, limited.keys)
        (message,) = await store.outbox()
        await service._courier.stop()
        assert await store.delivered(1, message, "refused")
        await store.revive((await store.dead())[0])
        await service._lease.release()
    assert await told(fp) == [("turning", "firing")]
    await fp.redis.execute_command("ACL", "DELUSER", name)


async def test_few_authors_behind_the_negativity_are_found_in_the_comments(fp, town, clock, tmp_path):
    brigade = '[[rule]]\nname = "brigade"\nkind = "concentration"\nleast_comments = 20\n'
    service = Service(fp, rules_file(tmp_path, brigade), clock=clock)
    await town.live(range(60), 12)
    await judged(service, clock, range(58, 60))
    assert await told(fp) == []
    await town.live(range(60, 72), 12, author="one")
    await judged(service, clock, range(60, 72))
    assert await told(fp) == [("brigade", "firing")]
    assert (await only(fp)).explanation.by_few_authors > 0.5
