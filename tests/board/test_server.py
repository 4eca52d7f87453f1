"""The board's web server on a real Redis: who may look, what is pushed, and what is answered on bad days."""

import asyncio
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from redis.asyncio import Redis as Client
from yarl import URL

from deploy.local import Redis
from deploy.local.redis import cluster, join
from stream.board.server import Board
from stream.connections import connect_redis
from stream.errors import ConfigurationError
from stream.settings import Settings
from stream.storyline import COMMUNITIES
from tests.board.conftest import Serve
from tests.board.told import Told, comments_now, raise_alert
from tests.stream.deployment import until

TOKEN = "a token that is long enough"
HOME = COMMUNITIES[0]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@asynccontextmanager
async def frames(
    session: aiohttp.ClientSession, url: str, **query: str
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The frames of one viewer, as they come."""
    async with session.get(f"{url}frames", params=query) as response:
        assert response.status == 200

        async def read() -> AsyncIterator[dict[str, Any]]:
            async for line in response.content:
                if line.startswith(b"data: "):
                    yield orjson.loads(line.removeprefix(b"data: "))

        yield read()


async def first(stream: AsyncIterator[dict[str, Any]], condition: Any = lambda _: True) -> dict[str, Any]:
    async with asyncio.timeout(30):
        async for frame in stream:
            if condition(frame):
                return frame
    raise AssertionError("the stream ended")


class TestWhoMayLook:
    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "board.example"])
    def test_an_address_that_others_reach_is_refused_without_a_token_or_a_proxy(self, host: str) -> None:
        with pytest.raises(ConfigurationError, match="FANPULSE_BOARD_TOKEN"):
            Board(Settings(board_host=host))

    def test_a_short_token_is_refused(self) -> None:
        with pytest.raises(ValueError, match="board_token"):
            Settings.model_validate({"board_token": "short"})

    async def test_on_loopback_everyone_on_this_machine_may_look(
        self, serve: Serve, http: aiohttp.ClientSession
    ) -> None:
        async with http.get(await serve()) as response:
            assert response.status == 200

    async def test_a_page_that_rebinds_its_name_to_this_machine_sees_nothing(
        self, serve: Serve, http: aiohttp.ClientSession
    ) -> None:
        async with http.get(f"{await serve()}frames", headers={"Host": "evil.example"}) as response:
            assert response.status == 403

    async def test_with_a_token_nothing_is_shown_without_it(
        self, serve: Serve, http: aiohttp.ClientSession
    ) -> None:
        url = await serve(board_token=TOKEN)
        for path in ("frames", "history", "comments", "comment", "assets/board.js"):
            async with http.get(url + path, allow_redirects=False) as response:
                assert response.status == 403, path
        async with http.get(url, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (303, "login")

    async def test_the_token_opens_by_header_and_by_form_but_a_wrong_one_does_not(
        self, serve: Serve, http: aiohttp.ClientSession
    ) -> None:
        url = await serve(board_token=TOKEN)
        async with http.get(url + "frames", headers={"Authorization": f"Bearer {TOKEN}"}) as response:
            assert response.status == 200
        async with http.post(url + "login", data={"token": TOKEN[:-1]}) as response:
            assert response.status == 403
            assert "Set-Cookie" not in response.headers
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
            async with browser.post(url + "login", data={"token": TOKEN}) as response:
                assert response.status == 200
                cookie = response.history[0].headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert TOKEN not in cookie
            async with browser.get(url + "history?community=x&since=0&until=60&step=60") as response:
                assert response.status == 200

    @pytest.mark.parametrize("cookie", ["9999999999.", "9999999999.0000", "garbage", "1.2.3", "é.é"])
    async def test_a_made_up_cookie_opens_nothing(
        self, serve: Serve, http: aiohttp.ClientSession, cookie: str
    ) -> None:
        url = await serve(board_token=TOKEN)
        async with http.get(url + "frames", headers={"Cookie": f"fanpulse_board={cookie}"}) as response:
            assert response.status == 403

    async def test_a_proxy_is_believed_only_from_its_network(
        self, serve: Serve, http: aiohttp.ClientSession
    ) -> None:
        behind = await serve(board_proxy_header="X-Forwarded-User")
        elsewhere = await serve(board_proxy_header="X-Forwarded-User", board_proxies=["192.0.2.0/24"])
        headers = {"X-Forwarded-User": "manager"}
        for url, sent, status in ((behind, headers, 200), (behind, {}, 403), (elsewhere, headers, 403)):
            async with http.get(url, headers=sent) as response:
                assert response.status == status


class TestHeaders:
    @pytest.mark.parametrize(
        "path",
        ["", "frames", "history", "nowhere", "assets/board.js", "assets/../access.py", "live", "login"],
    )
    async def test_every_answer_carries_a_strict_policy(
        self, serve: Serve, http: aiohttp.ClientSession, path: str
    ) -> None:
        async with http.get(URL(await serve() + path, encoded=True)) as response:
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["X-Frame-Options"] == "DENY"

    async def test_a_file_that_the_browser_has_is_not_sent_again(
        self, serve: Serve, http: aiohttp.ClientSession
    ) -> None:
        url = await serve() + "vendor/echarts/index.js"
        async with http.get(url) as response:
            assert response.status == 200
            etag = response.headers["ETag"]
        async with http.get(url, headers={"If-None-Match": etag}) as response:
            assert response.status == 304


class TestFrames:
    async def test_a_turn_is_ranked_first_within_a_tick_of_its_publication(
        self, told: Told, serve: Serve, http: aiohttp.ClientSession
    ) -> None:
        async with frames(http, await serve()) as stream:
            start = await first(stream)
            assert start["whole"]
            assert {row["community"] for row in start["rows"]} == set(COMMUNITIES)
            assert all(row["level"] == "usual" for row in start["rows"])
            await told.said(comments_now(HOME, "气死我了", 150, "anger"))
            await told.publish()
            frame = await first(stream, lambda frame: any(row["level"] == "very" for row in frame["rows"]))
            assert [row["community"] for row in frame["rows"] if row["level"] == "very"] == [HOME]

    @pytest.mark.usefixtures("told")
    async def test_frames_come_at_most_twice_a_second(
        self, serve: Serve, http: aiohttp.ClientSession
    ) -> None:
        async with frames(http, await serve()) as stream:
            await first(stream)
            times = [(await first(stream))["status"]["at"] for _ in range(5)]
        assert times[-1] - times[0] > 4 * 0.45

    async def test_later_frames_hold_only_what_changed(
        self, told: Told, serve: Serve, http: aiohttp.ClientSession
    ) -> None:
        async with frames(http, await serve()) as stream:
            await first(stream, lambda frame: all(row["spark"][0] is not None for row in frame["rows"]))
            quiet = await first(stream, lambda frame: not frame["rows"])
            assert not quiet["whole"]
            await told.said(comments_now(HOME, "你好", 5))
            await told.publish()
            changed = await first(stream, lambda frame: frame["rows"])
            assert [row["community"] for row in changed["rows"]] == [HOME]

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"community": HOME}, {"愉快", "难受"}),
            ({"community": HOME, "emotion": "sorrow"}, {"难受"}),
            ({"community": HOME, "emotion": "negative"}, {"难受"}),
            ({"community": HOME, "feed": "all"}, {"愉快", "难受", "别处"}),
            ({"community": HOME, "feed": "none"}, set()),
        ],
    )
    async def test_the_feed_is_filtered_by_community_and_emotion(
        self, told: Told, serve: Serve, http: aiohttp.ClientSession, query: dict[str, str], expected: set[str]
    ) -> None:
        async with frames(http, await serve(), **query) as stream:
            await first(stream)
            await told.said(comments_now(HOME, "愉快", 1, "joy"))
            await told.said(comments_now(HOME, "难受", 1, "sorrow"))
            await told.said(comments_now(COMMUNITIES[1], "别处", 1, "joy"))
            heard: set[str] = set()
            for _ in range(4):
                heard |= {comment["text"] for comment in (await first(stream))["comments"]}
        assert heard == expected

    async def test_an_alert_keeps_its_reasons_when_it_is_resolved(
        self, told: Told, serve: Serve, http: aiohttp.ClientSession
    ) -> None:
        async with frames(http, await serve()) as stream:
            await first(stream)
            now = time.time()
            alert_id = await raise_alert(told.redis, HOME, now)
            fired = await first(stream, lambda frame: frame["alerts"])
            assert (fired["alerts"][0]["id"], fired["alerts"][0]["state"]) == (alert_id, "firing")
            await raise_alert(told.redis, HOME, now, state="resolved")
            resolved = (await first(stream, lambda frame: frame["alerts"]))["alerts"][0]
            assert resolved["state"] == "resolved"
            assert resolved["explanation"] == fired["alerts"][0]["explanation"]


class TestThePast:
    async def test_history_gives_the_buckets_of_a_community(
        self, told: Told, serve: Serve, http: aiohttp.ClientSession
    ) -> None:
        now = time.time()
        await told.said(comments_now(HOME, "气死我了", 7, "anger"))
        query = {"community": HOME, "since": now - 600, "until": now + 60, "step": 60}
        async with http.get(f"{await serve()}history", params=query) as response:
            points = (await response.json())["points"]
        assert sum(point[1] for point in points if point[0] >= now - 120) >= 7
        assert all(len(point) == 12 for point in points)

    @pytest.mark.usefixtures("told")
    async def test_comments_of_a_past_hour_are_found_by_their_time(
        self, serve: Serve, http: aiohttp.ClientSession
    ) -> None:
        now = time.time()
        query = {"community": HOME, "since": now - 1200, "until": now - 600}
        async with http.get(f"{await serve()}comments", params=query) as response:
            found = await response.json()
        assert len(found) > 20
        assert all(now - 1200 <= comment["at"] < now - 600 for comment in found)
        assert {comment["community"] for comment in found} == {HOME}

    @pytest.mark.parametrize(
        "path",
        [
            "history",
            "history?community=x&since=a&until=b&step=c",
            "comments",
            "comments?since=nan&until=inf",
            "frames?step=7",
        ],
    )
    async def test_a_question_that_makes_no_sense_is_refused(
        self, serve: Serve, http: aiohttp.ClientSession, path: str
    ) -> None:
        async with http.get(await serve() + path) as response:
            assert response.status == 400

    async def test_only_comments_can_be_read_by_key(
        self, told: Told, serve: Serve, http: aiohttp.ClientSession
    ) -> None:
        await told.redis.xadd("secret", {"event": '{"text": "not yours"}'}, id="1-1")
        for key in ("secret#1-1", "fp:alerts#1-1", "", "#", "fp:{comments:0}:events#9999999-1"):
            async with http.get(f"{await serve()}comment", params={"key": key}) as response:
                assert response.status == 404, key


class TestBadDays:
    async def test_redis_away_is_said_with_the_time_of_the_last_figures_and_ends_by_itself(
        self, tmp_path: Path, serve: Serve, http: aiohttp.ClientSession
    ) -> None:
        async with Redis(tmp_path) as server, server.connect() as client:
            told = Told(client)
            await told.said(comments_now(HOME, "你好", 5))
            await told.publish()
            url = await serve(redis_url=server.url)
            async with frames(http, url, community=HOME) as stream:
                before = await first(stream, lambda frame: frame["rows"])
                await server.stop()
                away = await first(stream, lambda frame: "redis_away_since" in frame["status"])
                assert before["status"]["at"] - 2 < away["status"]["redis_away_since"] < away["status"]["at"]
                async with http.get(url + "ready") as response:
                    assert response.status == 503
                async with http.get(url + f"history?community={HOME}&since=0&until=60&step=60") as response:
                    assert response.status == 503
                await server.start()
                await first(
                    stream, lambda frame: "redis_away_since" not in frame["status"] and frame["whole"]
                )
                async with http.get(url + "ready") as response:
                    assert response.status == 200

    async def test_entries_that_cannot_be_read_are_left_out_and_the_rest_is_shown(
        self, told: Told, client: Client, serve: Serve, http: aiohttp.ClientSession
    ) -> None:
        for stream, field in (
            ("fp:windows", "window"),
            ("fp:alerts", "alert"),
            ("fp:{comments:0}:events", "event"),
        ):
            await client.xadd(stream, {field: '{"schema": 99}'})
        await raise_alert(client, HOME, time.time())
        async with frames(http, await serve()) as stream_of_frames:
            frame = await first(stream_of_frames)
            assert len(frame["rows"]) == len(COMMUNITIES)
            assert len(frame["alerts"]) == 1
            assert frame["comments"]

    async def test_a_board_started_before_the_first_comment_shows_it_soon(
        self, client: Client, serve: Serve, http: aiohttp.ClientSession
    ) -> None:
        url = await serve()
        told = Told(client)
        async with frames(http, url, community=HOME) as stream:
            assert (await first(stream))["rows"] == []
            await told.said(comments_now(HOME, "第一条", 3))
            await told.publish()
            await first(stream, lambda frame: any("第一条" in said["text"] for said in frame["comments"]))
            frame = await first(stream, lambda frame: "points" in frame)
            assert sum(point[1] for point in frame["points"]["points"]) == 3

    async def test_a_board_started_before_redis_says_that_it_never_saw_it(
        self, serve: Serve, http: aiohttp.ClientSession
    ) -> None:
        url = await serve(redis_url="redis://127.0.0.1:1/0")
        async with frames(http, url) as stream:
            frame = await first(stream)
            assert frame["status"]["redis_away_since"] is None
        async with http.get(url + "live") as response:
            assert response.status == 200

    @pytest.mark.usefixtures("told")
    async def test_figures_that_stand_still_are_called_silent(
        self, serve: Serve, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("stream.board.viewer.SILENT_S", 0.5)
        async with frames(http, await serve()) as stream:
            frame = await first(stream, lambda frame: frame["status"].get("silent"))
            assert frame["status"]["figures_at"] < frame["status"]["at"] - 0.5

    @pytest.mark.usefixtures("told")
    async def test_a_redis_that_was_emptied_is_shown_empty(
        self, client: Client, serve: Serve, http: aiohttp.ClientSession
    ) -> None:
        async with frames(http, await serve(), community=HOME) as stream:
            await first(stream, lambda frame: frame["rows"])
            await first(stream)
            await client.flushall()
            emptied = await first(stream, lambda frame: frame["whole"])
            assert emptied["rows"] == []

    async def test_stopping_does_not_wait_for_viewers(
        self, redis_server: Redis, http: aiohttp.ClientSession
    ) -> None:
        board = Board(Settings.model_validate({"redis_url": redis_server.url, "board_port": 0}))
        url = f"http://127.0.0.1:{await board.start()}/"
        async with frames(http, url) as stream:
            await first(stream)
            began = time.monotonic()
            await board.stop()
            assert time.monotonic() - began < 10


async def test_a_user_that_may_only_read_is_enough(
    each_redis: Redis, serve: Serve, http: aiohttp.ClientSession
) -> None:
    """The ACL is the one that docs/board.md gives."""
    rules = _documented_acl()
    async with each_redis.connect() as client:
        told = Told(client)
        await told.said(comments_now(HOME, "你好", 5))
        await told.publish()
        await raise_alert(client, HOME, time.time())
        await client.execute_command("ACL", "SETUSER", "board", "reset", "on", ">secret", *rules)
    url = await serve(redis_url=each_redis.url.replace("//", "//board:secret@"))
    async with frames(http, url, community=HOME) as stream:
        frame = await first(stream, lambda frame: frame["rows"] and frame["comments"] and frame["alerts"])
        assert frame["comments"][0]["text"] == "你好"
    now = time.time()
    for path in (f"history?community={HOME}&step=60", "comments?x=y"):
        async with http.get(f"{url}{path}&since={now - 600}&until={now + 60}") as response:
            assert response.status == 200
    async with Client.from_url(each_redis.url.replace("//", "//board:secret@")) as reader:
        with pytest.raises(Exception, match="permissions"):
            await reader.set("fp:x", "1")
        with pytest.raises(Exception, match="permissions"):
            await reader.get("another")


def _documented_acl() -> list[str]:
    for line in Path("docs/board.md").read_text("utf-8").splitlines():
        if line.startswith("ACL SETUSER board"):
            _, _, rules = line.partition(">")
            return rules.split()[1:]
    raise AssertionError("docs/board.md gives no ACL")


@pytest.mark.usefixtures("told")
async def test_frames_are_packed(serve: Serve) -> None:
    async with (
        aiohttp.ClientSession(auto_decompress=False) as raw,
        raw.get(f"{await serve()}frames") as response,
    ):
        content = await response.content.readany()
    assert orjson.loads(zlib.decompressobj(31).decompress(content).removeprefix(b"data: "))["whole"]


async def test_the_board_waits_for_nothing_it_does_not_need(
    serve: Serve, http: aiohttp.ClientSession
) -> None:
    """Without a single community there is still a page, ready to show the first one."""
    url = await serve()

    async def ready() -> bool:
        async with http.get(url + "ready") as response:
            return response.status == 200

    await until(ready, what="the board to be ready on an empty Redis")


async def test_it_follows_a_redis_cluster(tmp_path: Path, serve: Serve, http: aiohttp.ClientSession) -> None:
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(node) for node in cluster(tmp_path)]
        await join(nodes)
        settings = {"redis_url": nodes[0].url, "redis_cluster": True}
        client = connect_redis(Settings.model_validate(settings))
        stack.push_async_callback(client.aclose)
        told = Told(client)
        await told.said(comments_now(HOME, "你好", 5))
        await told.publish()
        await raise_alert(client, HOME, time.time())
        async with frames(http, await serve(**settings), community=HOME) as stream:
            frame = await first(stream)
        assert [row["n"] for row in frame["rows"]] == [5]
        assert len(frame["comments"]) == 5
        assert len(frame["alerts"]) == 1
