"""Takes the pictures of the documentation from one long run of `fanpulse demo`.

python -m docs.pictures [SECONDS]
"""

import asyncio
import html
import io
import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.cells import cell_len
from rich.console import Console
from rich.terminal_theme import MONOKAI

from stream import demo, demo_play
from stream.demo_seen import Seen
from stream.demo_view import Screen

IMAGES = Path(__file__).parent / "images"
WITHOUT_WEB_FONTS = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
TEXT = re.compile(r'(<text [^>]*?)textLength="([\d.]+)"([^>]*)>([^<]*)</text>')
SETTLES_S = 3.0  # the page, when something was clicked or has come
ALERT_SHOWN_S = 12.0


class Posing(Seen):
    """What the demo has seen, within reach."""

    sitter: "Posing"

    def __init__(self, *given: object) -> None:
        super().__init__(*given)
        Posing.sitter = self

    def save(self, path: Path) -> None:
        console = Console(record=True, width=120, file=io.StringIO(), force_terminal=True)
        console.print(Screen(self))
        svg = console.export_svg(title="make demo", theme=MONOKAI, code_format=WITHOUT_WEB_FONTS)
        path.write_text(TEXT.sub(_in_cells, svg), encoding="utf-8")


def _in_cells(text: re.Match[str]) -> str:
    """Rich gives each character one cell's width, also those that take two."""
    attributes, length, rest, content = text.groups()
    shown = html.unescape(content)
    return (
        f'{attributes}textLength="{float(length) / len(shown) * cell_len(shown):.1f}"{rest}>{content}</text>'
    )


async def main(seconds: float) -> None:
    demo_play.Seen = Posing
    demo_play.TURN_AFTER_S = 20.0  # time for a picture at rest
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        playing = asyncio.create_task(demo.perform(seconds, True, 7))
        taking = asyncio.create_task(take(browser, seconds))
        await asyncio.wait([playing, taking], return_when=asyncio.FIRST_COMPLETED)
        playing.cancel()
        with suppress(asyncio.CancelledError):
            await playing
        await taking
        await browser.close()


async def take(browser: Browser, seconds: float) -> None:
    rules = demo.FOLDER / "rules.toml"  # written when calm is settled
    rules.unlink(missing_ok=True)
    while not rules.exists():  # noqa: ASYNC110
        await asyncio.sleep(0.5)
    board = re.findall(r'board_url = "(.*)"', rules.read_text())[0]
    page = await looked_at(browser, board)
    await asyncio.sleep(SETTLES_S)
    await page.screenshot(path=IMAGES / "board-rest.png")
    while Posing.sitter.warned_for_s < ALERT_SHOWN_S:  # noqa: ASYNC110
        await asyncio.sleep(0.5)
    Posing.sitter.save(IMAGES / "demo.svg")
    await asyncio.sleep(seconds - Posing.sitter.played_s - 30)
    await page.locator("#firing button").last.click()  # the first alert to fire
    await asyncio.sleep(SETTLES_S)
    await page.screenshot(path=IMAGES / "board-turn.png")
    link = page.url
    dark = await looked_at(browser, link, scheme="dark", language="zh-CN")
    await dark.screenshot(path=IMAGES / "board-dark.png")
    phone = await looked_at(browser, link.replace("alert=", "none="), width=390, height=844)
    await phone.screenshot(path=IMAGES / "board-phone.png")


async def looked_at(
    browser: Browser,
    url: str,
    *,
    width: int = 1440,
    height: int = 900,
    scheme: str = "light",
    language: str = "en-GB",
) -> Page:
    page = await browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        locale=language,
        timezone_id="Asia/Shanghai",
    )
    await page.goto(url)
    await page.locator("#communities li").nth(2).wait_for(state="attached")
    await asyncio.sleep(SETTLES_S)
    return page


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 600.0))
