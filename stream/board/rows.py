"""The ranking's rows: published windows turned into standings, and the past hour of each as a spark line."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from stream.board.standing import Stretch, level, standing
from stream.buckets import MINUTE
from stream.rolling import Buckets, Size, Window, starts

Row = dict[str, Any]
Windows = dict[Size, Window]
SPARK_POINTS = 30
SPARK_STEP_S = 2 * MINUTE


class Rows:
    """One row a community, with the version that changed it."""

    def __init__(self) -> None:
        self.as_of: float | None = None  # epoch s of the newest window
        self._windows: dict[str, Windows] = {}
        self._rows: dict[str, tuple[int, Row]] = {}
        self._sparks: dict[str, dict[int, float | None]] = defaultdict(dict)
        self.without_past: set[str] = set()  # their spark line's past is unknown, or may have changed

    def replace(self, windows: Mapping[str, Windows], version: int) -> None:
        """Take these for all there are."""
        self.without_past = set(windows)
        for community in self._windows.keys() - windows.keys():
            del self._windows[community]
            self._rows.pop(community, None)
            self._sparks.pop(community, None)
        for community, sizes in windows.items():
            self._windows[community] = dict(sizes)
            self._judge(community, version)

    def publish(self, windows: Iterable[Window], version: int) -> bool:
        """Take newly published windows, oldest first; return whether some are of communities not known yet."""
        known, touched = set(self._windows), set[str]()
        for window in windows:
            self._windows.setdefault(window.community, {})[window.size] = window
            touched.add(window.community)
        for community in touched:
            self._judge(community, version)
        self.without_past |= touched - known
        return not touched <= known

    def remember(self, community: str, minutes: Buckets, now: float, version: int) -> None:
        """Take the past hour's minute buckets for the spark line."""
        self.without_past.discard(community)
        spark = self._sparks[community]
        for back in range(1, SPARK_POINTS):
            at = now - back * SPARK_STEP_S
            of_five = [minutes[start] for start in starts("5m", at) if start in minutes]
            comments = sum(fields.get("n", 0) for fields in of_five)
            negative = sum(fields.get("neg", 0) for fields in of_five)
            spark[int(at) // SPARK_STEP_S] = _rounded(negative / comments if comments else None)
        self._judge(community, version)

    def since(self, version: int) -> list[Row]:
        """Rows that changed after that version."""
        return [row for changed, row in self._rows.values() if changed > version]

    def usual(self, community: str) -> dict[str, float] | None:
        """Mean and standard deviation of the community's negative share, once known."""
        window = self._windows.get(community, {}).get("1h")
        if window is None or window.baseline is None:
            return None
        return {"mean": window.baseline.mean, "spread": window.baseline.deviation}

    def _judge(self, community: str, version: int) -> None:
        windows = self._windows[community]
        if not {"5m", "1h"} <= windows.keys():
            return
        newest = windows["5m"]
        self.as_of = max(self.as_of or 0.0, newest.as_of.timestamp())
        now = standing(_stretch(newest), _stretch(windows["1h"]))
        row: Row = {
            "community": community,
            "unusual": round(now.unusual, 1),
            "level": level(now.unusual),
            "level_of_share": level(now.share_score),
            "level_of_volume": level(abs(now.volume_score)),
            "basis": now.basis,
            "n": now.n,
            "share": _rounded(now.share),
            "usual": _rounded(now.usual),
            "per_minute": round(now.per_minute, 1),
            "per_minute_before": round(now.per_minute_before, 1),
            "spark": self._spark(community, newest),
        }
        if self._rows.get(community, (0, None))[1] != row:
            self._rows[community] = (version, row)

    def _spark(self, community: str, window: Window) -> list[float | None]:
        """Negative shares of five minutes, one every two minutes, up to the newest."""
        spark = self._sparks[community]
        now = int(window.as_of.timestamp()) // SPARK_STEP_S
        spark[now] = _rounded(window.negative_share)
        for slot in [slot for slot in spark if slot <= now - SPARK_POINTS]:
            del spark[slot]
        return [spark.get(slot) for slot in range(now - SPARK_POINTS + 1, now + 1)]


def _stretch(window: Window) -> Stretch:
    baseline = window.baseline
    return Stretch(
        comments=window.comments,
        share=window.negative_share,
        comments_before=window.before.comments,
        share_before=window.before.negative_share,
        usual=baseline.mean if baseline else None,
        spread=baseline.deviation if baseline else None,
    )


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 3)
