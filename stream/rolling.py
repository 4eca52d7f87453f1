"""Buckets become rolling windows. Pure: it knows neither Redis nor the clock."""

from collections.abc import Mapping
from datetime import UTC, datetime
from math import fsum, sqrt
from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from stream.buckets import HOUR, MILLIONTHS, MINUTE

Size = Literal["5m", "1h", "24h"]
SIZES: tuple[Size, ...] = get_args(Size)

Buckets = Mapping[int, Mapping[str, int]]
"""Start in epoch seconds → the bucket's fields (DESIGN section 4), summed over the partitions."""

BASELINE_HOURS = 168
BASELINE_DAYS = 7
LEAST_HOURS = 24
LEAST_DAYS = 3

_NOTHING: Mapping[str, int] = {}
_SHAPES: dict[Size, tuple[int, int]] = {"5m": (MINUTE, 5), "1h": (MINUTE, 60), "24h": (HOUR, 24)}

_Share = Annotated[float, Field(ge=0, le=1)]


class EmotionShare(BaseModel):
    """One emotion within a window."""

    comments: int = Field(description="Comments that carry the label.")
    share: _Share
    mean: _Share = Field(description="Mean probability over all comments.")


class Before(BaseModel):
    """The window of the same size just before."""

    comments: int
    negative_share: _Share | None


class Baseline(BaseModel):
    """The negative share over the past 7 days: mean and standard deviation over hours, or days for `24h`."""

    mean: float
    deviation: float
    periods: int = Field(description="Hours or days with comments; each weighs the same.")


class Window(BaseModel):
    """One community over the last 5 minutes, hour or 24 hours; its newest bucket is still being filled."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=lambda name: {"schema_version": "schema", "start": "from", "end": "to"}.get(
            name, name
        ),
        serialize_by_alias=True,
        validate_by_name=True,
        validate_by_alias=True,
        json_schema_serialization_defaults_required=True,
    )

    schema_version: Literal[1] = Field(default=1, description="Version of this format.")
    community: str
    size: Size
    start: AwareDatetime = Field(description="Start of the first bucket.")
    end: AwareDatetime = Field(description="End of the last bucket, exclusive.")
    as_of: AwareDatetime = Field(description="When the window was rolled up.")
    comments: int
    negative: int = Field(description="Comments that carry a negative emotion.")
    negative_share: _Share | None = Field(description="null without comments.")
    negativity: _Share | None = Field(description="Mean negativity; null without comments.")
    emotions: dict[str, EmotionShare]
    authors: int | None = Field(description="Distinct authors, estimated to 1 %; null where not counted.")
    rejected: int
    before: Before
    change: float | None = Field(description="negative_share minus before's; null without either.")
    baseline: Baseline | None = Field(description="null with comments in fewer than 24 hours, or 3 days.")
    z: float | None = Field(description="(negative_share - mean) / deviation; null without a baseline.")


def starts(size: Size, at: float, back: int = 0) -> range:
    """Starts of the buckets of the window that holds the moment `at` (epoch s) in its last bucket.

    `back` counts windows: 1 is the one just before.
    """
    step, count = _SHAPES[size]
    last = int(at) // step * step - back * step * count
    return range(last - (count - 1) * step, last + step, step)


def window_at(
    community: str,
    size: Size,
    at: float,
    minutes: Buckets,
    hours: Buckets,
    *,
    authors: int | None = None,
) -> Window:
    """Roll up the window that ends with the bucket of `at` (epoch s).

    It needs 120 minutes back for `5m` and `1h`, 192 hours for the rest; buckets that are not there are empty.
    """
    buckets = hours if size == "24h" else minutes
    current = starts(size, at)
    total = add_up(buckets, current)
    comments, negative = total.get("n", 0), total.get("neg", 0)
    share = _ratio(negative, comments)
    comments_before, negative_before = _negative(buckets, starts(size, at, back=1))
    before = Before(comments=comments_before, negative_share=_ratio(negative_before, comments_before))
    baseline = _baseline(size, at, hours)
    z = None
    if share is not None and baseline is not None and baseline.deviation > 0:
        z = round((share - baseline.mean) / baseline.deviation, 3)
    return Window(
        community=community,
        size=size,
        start=_moment(current[0]),
        end=_moment(current[-1] + current.step),
        as_of=_moment(at),
        comments=comments,
        negative=negative,
        negative_share=share,
        negativity=_ratio(total.get("negativity", 0), comments * MILLIONTHS),
        emotions={
            label: EmotionShare(
                comments=total.get(f"l:{label}", 0),
                share=_ratio(total.get(f"l:{label}", 0), comments) or 0.0,
                mean=_ratio(total.get(f"s:{label}", 0), comments * MILLIONTHS) or 0.0,
            )
            for label in sorted({name[2:] for name in total if name.startswith(("l:", "s:"))})
        },
        authors=authors,
        rejected=total.get("rej", 0),
        before=before,
        change=None
        if share is None or before.negative_share is None
        else round(share - before.negative_share, 6),
        baseline=baseline,
        z=z,
    )


def add_up(buckets: Buckets, at: range) -> dict[str, int]:
    """Sum all fields of the buckets with these starts."""
    total: dict[str, int] = {}
    for start in at:
        for name, amount in buckets.get(start, _NOTHING).items():
            total[name] = total.get(name, 0) + amount
    return total


def _negative(buckets: Buckets, at: range) -> tuple[int, int]:
    """Comments, and negative ones, in the buckets with these starts."""
    comments = negative = 0
    for start in at:
        if bucket := buckets.get(start):
            comments += bucket.get("n", 0)
            negative += bucket.get("neg", 0)
    return comments, negative


def _baseline(size: Size, at: float, hours: Buckets) -> Baseline | None:
    if size == "24h":
        periods, least = [starts("24h", at, back) for back in range(1, BASELINE_DAYS + 1)], LEAST_DAYS
    else:
        now = int(at) // HOUR * HOUR
        past = range(now - BASELINE_HOURS * HOUR, now, HOUR)
        periods, least = [range(start, start + HOUR, HOUR) for start in past], LEAST_HOURS
    counts = [_negative(hours, period) for period in periods]
    shares = [negative / comments for comments, negative in counts if comments]
    if len(shares) < least:
        return None
    mean = fsum(shares) / len(shares)
    deviation = sqrt(fsum((share - mean) ** 2 for share in shares) / (len(shares) - 1))
    return Baseline(mean=round(mean, 6), deviation=round(deviation, 6), periods=len(shares))


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
