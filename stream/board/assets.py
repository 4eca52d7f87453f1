"""The page's files, compressed once and kept in memory: our own, and ECharts out of NiceGUI's wheel."""

import gzip
import hashlib
import mimetypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from aiohttp import hdrs, web

from stream.errors import ConfigurationError

PAGE = Path(__file__).parent / "page"


class Asset:
    """One file as it goes over the wire."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        self._body = gzip.compress(content, compresslevel=6, mtime=0)
        self._headers = {
            hdrs.CONTENT_TYPE: f"{mimetypes.guess_type(path.name)[0]}; charset=utf-8",
            hdrs.CONTENT_ENCODING: "gzip",
            hdrs.CACHE_CONTROL: "no-cache",  # asked for again each time, answered with 304
            hdrs.ETAG: f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        }

    def answer(self, request: web.Request) -> web.Response:
        """200 with the file, or 304 where the browser has it."""
        if request.headers.get(hdrs.IF_NONE_MATCH) == self._headers[hdrs.ETAG]:
            return web.Response(status=304, headers={hdrs.ETAG: self._headers[hdrs.ETAG]})
        return web.Response(body=self._body, headers=self._headers)


@cache
def page_assets() -> dict[str, Asset]:
    """Address → file, for all that a page may ask for but the page itself.

    Raises ConfigurationError where the wheel that carries ECharts is not installed, or carries it no more.
    """
    files = {f"assets/{path.name}": path for path in PAGE.iterdir() if path.suffix in (".js", ".css", ".svg")}
    files |= {f"vendor/echarts/{path.name}": path for path in echarts_folder().glob("*.js")}
    return {address: Asset(path) for address, path in files.items()}


def echarts_folder() -> Path:
    """Where NiceGUI keeps ECharts as an ES module; NiceGUI itself is never imported."""
    spec = find_spec("nicegui")
    for place in (spec and spec.submodule_search_locations) or ():
        folder = Path(place) / "elements" / "echart" / "dist"
        if (folder / "index.js").is_file():
            return folder
    raise ConfigurationError(
        "The board draws with ECharts from the `nicegui` wheel: pip install 'fanpulse[board]'"
    )
