"""How unusual a community is now: its windows against its own past. Pure; knows no Redis and no page."""

from dataclasses import dataclass
from math import log, sqrt
from typing import Literal

Level = Literal["usual", "unusual", "very"]
Basis = Literal["5m", "1h"]

UNUSUAL, VERY_UNUSUAL = 3.0, 6.0
# Shares of negative comments, and volumes, wander by themselves: the least standard deviation believed.
SHARE_SPREAD, VOLUME_SPREAD = 0.03, 0.35


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a rolling window says: comments and their negative share, in it and in the window before."""

    comments: int
    share: float | None
    comments_before: int
    share_before: float | None
    usual: float | None  # mean negative share of the past 7 days' hours; None while they are too few
    spread: float | None  # their standard deviation


@dataclass(frozen=True, slots=True)
class Standing:
    """What the ranking shows of one community; shares in [0, 1], None where there is nothing to divide by."""

    basis: Basis
    share: float | None
    usual: float | None
    n: int
    per_minute: float
    per_minute_before: float
    share_score: float
    volume_score: float

    @property
    def unusual(self) -> float:
        """Standard deviations away from the usual; what the ranking sorts by."""
        return max(self.share_score, abs(self.volume_score))


def standing(five_minutes: Stretch, hour: Stretch) -> Standing:
    """Judge by the window that stands out more: five minutes show a spike, an hour a slow turn."""
    basis: Basis = "5m" if share_score(five_minutes) >= share_score(hour) and five_minutes.comments else "1h"
    stretch, minutes = (five_minutes, 5) if basis == "5m" else (hour, 60)
    return Standing(
        basis=basis,
        share=stretch.share,
        usual=stretch.usual,
        n=stretch.comments,
        per_minute=stretch.comments / minutes,
        per_minute_before=stretch.comments_before / minutes,
        share_score=share_score(stretch),
        volume_score=volume_score(five_minutes),
    )


def share_score(stretch: Stretch) -> float:
    """By how many standard deviations the negative share lies above the usual; 0 where it does not.

    The variance is that between hours plus that of drawing so many comments (binomial, with one comment of
    each kind added, so few never look certain). Without a usual, the window before stands in for it.
    """
    n, share, usual = stretch.comments, stretch.share, stretch.usual
    if share is None:
        return 0.0
    sampled = 1 / n
    if usual is None:
        usual = stretch.share_before
        sampled += 1 / max(1, stretch.comments_before)
    if usual is None:
        return 0.0
    expected = (usual * n + 1) / (n + 2)
    variance = max(stretch.spread or 0.0, SHARE_SPREAD) ** 2 + expected * (1 - expected) * sampled
    return max(0.0, (share - usual) / sqrt(variance))


def volume_score(stretch: Stretch) -> float:
    """By how many standard deviations the logarithm of the volume moved since the window before.

    Positive for a surge, negative for a fall. Two Poisson counts n and m: var(log(n/m)) is about 1/n + 1/m.
    """
    n, before = stretch.comments + 1, stretch.comments_before + 1
    return log(n / before) / sqrt(1 / n + 1 / before + VOLUME_SPREAD**2)


def level(score: float) -> Level:
    """The word for a score."""
    if score >= VERY_UNUSUAL:
        return "very"
    return "unusual" if score >= UNUSUAL else "usual"
