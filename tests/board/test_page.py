"""The page in a real Chromium: a manager at two in the morning, with mouse, keyboard and phone."""

import re
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect
from redis.asyncio import Redis as Client

from deploy.local import Redis
from stream.storyline import COMMUNITIES, Turn
from tests.board.conftest import Look, Serve
from tests.board.told import Told, comments_now, raise_alert

HOME, OTHER, THIRD = COMMUNITIES
VERY = "#communities [data-level=very]"


def at(url: str, **query: str) -> str:
    return url + "?" + "&".join(f"{name}={quote(value)}" for name, value in query.items())


async def turn(told: Told) -> None:
    """The demo's turn: within two minutes HOME turns sour."""
    now = time.time()
    await told.story([HOME], now - 290, now, rate=1.0, turns=[Turn("souring", HOME, now - 400, 3600)], seed=2)
    await told.publish()


async def drawn(page: Page) -> None:
    """The chart has been drawn, and described."""
    await expect(page.locator("#chart-negativity canvas")).to_be_visible()
    await expect(page.locator("#chart-negativity")).to_have_attribute("aria-label", re.compile("."))


async def test_the_demos_turn_is_seen_rising_and_its_alert_appears_with_the_reasons(
    told: Told, client: Client, serve: Serve, look: Look
) -> None:
    page = await look(await serve())
    await expect(page.locator("#communities li")).to_have_count(3)
    await expect(page.locator(VERY)).to_have_count(0)
    await turn(told)
    await expect(page.locator(VERY)).to_contain_text(HOME)
    await page.locator(VERY).click()
    await expect(page.locator("#verdict")).to_have_text("Very unusual")
    await expect(page.locator("#figures")).to_contain_text("last 5 minutes")
    await raise_alert(client, HOME, time.time() - 60)
    await page.locator("#firing button").click()
    for reason in ("道歉", "tour-list-3", "主办方的回应让人恶心", "said 41 times", "7%"):
        await expect(page.locator("#alert")).to_contain_text(reason)
    await expect(page.locator("#alert")).to_be_focused()


@pytest.mark.usefixtures("told")
async def test_clicking_the_mark_on_the_line_opens_the_alert(
    client: Client, serve: Serve, look: Look
) -> None:
    await raise_alert(client, HOME, time.time() - 5400)
    page = await look(at(await serve(), community=HOME))
    await expect(page.locator("#firing")).to_be_visible()
    await drawn(page)
    box = await page.locator("#chart-negativity").bounding_box()
    assert box
    width = box["width"] - 48
    await page.mouse.click(box["x"] + 40 + width / 2 - 2, box["y"] + box["height"] - 26)
    await expect(page.locator("#alert")).to_be_visible()


@pytest.mark.usefixtures("told")
async def test_a_reload_shows_the_same(serve: Serve, look: Look) -> None:
    page = await look(await serve())
    await page.get_by_role("button", name=OTHER).click()
    await page.get_by_role("button", name="24 hours").click()
    await page.locator("#filters").get_by_role("button", name="joy").click()
    await page.reload()
    await expect(page.locator("#community")).to_have_text(OTHER)
    await expect(page.get_by_role("button", name="24 hours")).to_have_attribute("aria-pressed", "true")
    await expect(page.locator("#filters").get_by_role("button", name="joy")).to_have_attribute(
        "aria-pressed", "true"
    )
    await page.go_back()
    await expect(page.locator("#filters").get_by_role("button", name="all")).to_have_attribute(
        "aria-pressed", "true"
    )


@pytest.mark.usefixtures("told")
async def test_dragging_across_a_chart_shows_that_time_and_what_was_said_then(
    serve: Serve, look: Look
) -> None:
    page = await look(at(await serve(), community=HOME))
    await drawn(page)
    box = await page.locator("#chart-volume").bounding_box()
    assert box
    right = box["x"] + box["width"] - 8
    await page.mouse.move(right - 60, box["y"] + 30)
    await page.mouse.down()
    await page.mouse.move(right - 30, box["y"] + 40, steps=4)
    await page.mouse.up()
    await expect(page.locator("#feed-title")).to_have_text("Comments then")
    await expect(page.locator("#verdict")).to_contain_text(" to ")
    await expect(page.locator("#comments li").nth(5)).to_be_visible()
    await page.get_by_role("button", name="Back to now").click()
    await expect(page.locator("#feed-title")).to_have_text("Comments now")


async def test_the_feed_shows_one_emotion_when_asked(told: Told, serve: Serve, look: Look) -> None:
    page = await look(at(await serve(), community=HOME))
    await page.locator("#filters").get_by_role("button", name="sorrow").click()
    await expect(page.locator("#comments li").first).to_be_visible()
    metas = await page.locator("#comments .meta").all_inner_texts()
    assert all("sorrow" in meta for meta in metas)
    await told.said(comments_now(HOME, "新来的难过", 1, "sorrow"))
    await expect(page.locator("#comments")).to_contain_text("新来的难过")


async def test_the_feed_holds_still_under_the_pointer(told: Told, serve: Serve, look: Look) -> None:
    page = await look(at(await serve(), community=HOME))
    await page.locator("#comments li").first.hover()
    await told.said(comments_now(HOME, "等你看完", 1))
    await expect(page.locator("#fresh")).to_have_text("1 new comment")
    await expect(page.locator("#comments")).not_to_contain_text("等你看完")
    await page.locator("#fresh").click()
    await expect(page.locator("#comments li").first).to_contain_text("等你看完")


async def test_comment_text_is_only_ever_text(told: Told, serve: Serve, look: Look) -> None:
    script = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
    mirrored = "\u202eesrever ni txet\u2066\u200f تعليق"
    long = "长" * 9_999 + "完"
    page = await look(at(await serve(), community=HOME, emotion="surprise"))
    for text in (script, mirrored, long):
        await told.said(comments_now(HOME, text, 1, "surprise"))
    for text in (script, mirrored, long):
        await expect(page.locator("#comments li", has_text=text[:40])).to_be_visible()
    assert await page.title() == f"{HOME} · fanpulse"
    assert await page.locator("#comments script, #comments img").count() == 0
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    directions = await page.locator("#comments .said").evaluate_all(
        "all => all.map(one => getComputedStyle(one).unicodeBidi)"
    )
    assert set(directions) == {"isolate"}
    await page.get_by_role("button", name="whole comment").click()
    await expect(page.locator("#comments .whole")).to_have_text(long)


async def test_redis_away_is_said_with_the_time_and_ends_by_itself(
    tmp_path: Path, serve: Serve, look: Look
) -> None:
    async with Redis(tmp_path) as server, server.connect() as writer:
        told = Told(writer)
        await told.said(comments_now(HOME, "还在", 9))
        await told.publish()
        page = await look(at(await serve(redis_url=server.url), community=HOME))
        await expect(page.locator("#status")).to_contain_text("Live")
        await server.stop()
        await expect(page.locator("#old")).to_contain_text("Redis is away. Figures have not changed since")
        await expect(page.locator("#communities li")).to_have_count(1)
        await server.start()
        await expect(page.locator("#old")).to_be_hidden()
        await writer.connection_pool.disconnect()
        await told.said(comments_now(HOME, "回来了", 3))
        await expect(page.locator("#comments")).to_contain_text("回来了")


@pytest.mark.usefixtures("told")
async def test_the_language_can_be_switched_and_is_remembered(serve: Serve, look: Look) -> None:
    page = await look(at(await serve(), community=HOME), language="zh-CN")
    await expect(page.locator("#ranking-title")).to_have_text("社区")
    await expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    await page.get_by_role("button", name="English").click()
    await expect(page.locator("#ranking-title")).to_have_text("Communities")
    await expect(page.locator("#verdict")).to_have_text("As usual")
    await page.reload()
    await expect(page.locator("#ranking-title")).to_have_text("Communities")


@pytest.mark.usefixtures("told")
async def test_the_theme_follows_the_system_and_can_be_chosen(serve: Serve, look: Look) -> None:
    page = await look(await serve(), dark=True)
    root = page.locator("html")
    await expect(root).to_have_attribute("data-theme", "dark")
    await page.emulate_media(color_scheme="light")
    await expect(root).to_have_attribute("data-theme", "light")
    await page.get_by_role("button", name="Theme: system").click()
    await page.get_by_role("button", name="Theme: light").click()
    await expect(root).to_have_attribute("data-theme", "dark")
    await page.reload()
    await expect(root).to_have_attribute("data-theme", "dark")


@pytest.mark.usefixtures("told")
async def test_the_keyboard_alone_leads_to_a_community_an_alert_and_a_past_hour(
    client: Client, serve: Serve, look: Look
) -> None:
    await raise_alert(client, HOME, time.time() - 60)
    page = await look(await serve())
    await expect(page.locator("#communities li")).to_have_count(3)
    await page.keyboard.press("/")
    await page.keyboard.type(THIRD[:2])
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.locator("#community")).to_have_text(THIRD)
    await page.locator("#firing button").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#alert")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator("#alert")).to_be_hidden()
    await page.locator(".past summary").focus()
    await page.keyboard.press("Enter")
    past = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() + 8 * 3600 - 1500))
    until = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() + 8 * 3600 - 600))
    await page.locator("[name=from]").fill(past)
    await page.locator("[name=to]").fill(until)
    await page.keyboard.press("Enter")
    await expect(page.locator("#feed-title")).to_have_text("Comments then")
    await page.keyboard.press("Escape")
    await expect(page.locator("#feed-title")).to_have_text("Comments now")


@pytest.mark.usefixtures("told")
async def test_on_a_phone_one_thing_is_shown_at_a_time_and_nothing_sticks_out(
    serve: Serve, look: Look
) -> None:
    page = await look(await serve(), width=360, height=740)
    await expect(page.locator(".detail")).to_be_hidden()
    await page.get_by_role("button", name=OTHER).click()
    await expect(page.locator("#community")).to_have_text(OTHER)
    await expect(page.locator(".ranking")).to_be_hidden()
    await drawn(page)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.get_by_role("button", name="All communities").click()
    await expect(page.locator("#communities")).to_be_visible()


async def test_axe_finds_nothing_to_complain_of(told: Told, client: Client, serve: Serve, look: Look) -> None:
    await turn(told)
    alert = await raise_alert(client, HOME, time.time() - 60)
    url = await serve()
    page = await look(at(url, community=HOME, alert=alert))
    await expect(page.locator("#communities li")).to_have_count(3)
    await expect(page.locator("#alert")).to_be_visible()
    await complain_of_nothing(page)
    await page.emulate_media(color_scheme="dark")
    await page.locator("#language").click()
    await complain_of_nothing(page)
    phone = await look(url, width=360, height=740)
    await expect(phone.locator("#communities li")).to_have_count(3)
    await complain_of_nothing(phone)


async def complain_of_nothing(page: Page) -> None:
    report = await Axe().run(page)
    assert report.violations_count == 0, report.generate_report()


@pytest.mark.usefixtures("told")
async def test_the_login_form_leads_in_and_is_accessible(serve: Serve, look: Look) -> None:
    page = await look(await serve(board_token="sixteen characters"))
    report = await Axe().run(page)
    assert report.violations_count == 0, report.generate_report()
    await page.get_by_label("Token").fill("not the right one")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("This is not the token.")
    await page.get_by_label("Token").fill("sixteen characters")
    await page.keyboard.press("Enter")
    await expect(page.locator("#communities li")).to_have_count(3)
