"""Invented communities whose moods turn at known times; the same seed tells the same story.

It knows what every comment is meant to feel, and nothing of how it will be scored."""

import heapq
import tomllib
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from random import Random
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

Emotion = Literal["anger", "anxiety", "expect", "hate", "joy", "love", "sorrow", "surprise", "neutral"]
EMOTIONS: tuple[Emotion, ...] = get_args(Emotion)
TurnKind = Literal["souring", "spike", "drift", "brigade", "silence", "joy"]

_WORDS = tomllib.loads(files("stream").joinpath("storyline.toml").read_text(encoding="utf-8"))
COMMUNITIES: tuple[str, ...] = tuple(_WORDS["cast"])

# Shares of the nine emotions, in their order, in a community at rest, sour, rejoicing and brigaded.
_AT_REST = np.array([0.04, 0.05, 0.13, 0.03, 0.17, 0.16, 0.04, 0.06, 0.32])
_SOUR = np.array([0.34, 0.07, 0.03, 0.17, 0.03, 0.04, 0.14, 0.05, 0.13])
_JOYFUL = np.array([0.01, 0.01, 0.13, 0.01, 0.38, 0.30, 0.01, 0.08, 0.07])
_NEGATIVE: frozenset[Emotion] = frozenset(("anger", "anxiety", "hate", "sorrow"))

# Activity by hour of the day in the communities' time zone (UTC+8): a night's dip, noon, an evening peak.
_NIGHT = (0.5, 0.3, 0.2, 0.15, 0.12, 0.15, 0.3, 0.6)
_DAY = (0.8, 0.9, 1.0, 1.1, 1.4, 1.3, 1.1, 1.0, 1.0, 1.1, 1.3, 1.6, 1.9, 2.0, 1.7, 1.0)
_HOURS = np.array((*_NIGHT, *_DAY))


class _Shape(NamedTuple):
    """What a turn does at its full effect."""

    mood: NDArray[np.float64] = _AT_REST
    share: float = 0.0  # of the mood that takes this one's place
    growth: float = 0.0  # of the volume
    brigade: float = 0.0  # pasted comments, for each one at rest
    turned: float = 0.0  # share of the negative comments that are about the turn


_SHAPES: dict[TurnKind, _Shape] = {
    "souring": _Shape(_SOUR, share=0.9, growth=1.0, turned=0.8),
    "spike": _Shape(_SOUR, share=0.9, growth=2.0, turned=0.8),
    "drift": _Shape(_SOUR, share=0.5, turned=0.5),
    "brigade": _Shape(brigade=1.0),
    "silence": _Shape(growth=-0.99),
    "joy": _Shape(_JOYFUL, share=0.9, growth=3.0),
}
_ZONE_S = 8 * 3600
_BRIGADIERS = 4
_REGULARS = 600


@dataclass(frozen=True, slots=True)
class Turn:
    """Something planned to happen to one community; times in seconds, `start` since the epoch."""

    kind: TurnKind
    community: str
    start: float
    duration_s: float

    @property
    def alarming(self) -> bool:
        """Whether somebody should be told; a surge of joy is nobody's emergency."""
        return self.kind != "joy"

    @property
    def due(self) -> float:
        """When half of the effect is there: from here on the delay of an alert is counted."""
        return self.start + {"souring": 60.0, "drift": self.duration_s / 4}.get(self.kind, 0.0)

    def effect(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """How much of the turn is felt, from 0 to 1, at these seconds since the epoch."""
        age = at - self.start
        during = (age >= 0) & (age < self.duration_s)
        if self.kind == "souring":
            return np.clip(age / 120.0, 0, 1) * during
        if self.kind == "drift":
            return np.clip(age / (self.duration_s / 2), 0, 1) * during
        if self.kind == "spike":
            return np.exp(-np.maximum(age, 0) / self.duration_s) * during
        return during.astype(np.float64)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one community will do, step by step: arrays over steps beginning at `start` (epoch s)."""

    start: NDArray[np.float64]
    comments: NDArray[np.float64]  # expected number, the brigade's left out
    brigade: NDArray[np.float64]  # expected number from a few authors who paste copies of few texts
    mood: NDArray[np.float64]  # (steps, 9): share of each emotion among `comments`
    turned: NDArray[np.float64]  # share of the negative comments that are about the turn


def plan(
    seed: int,
    community: str,
    start: float,
    duration_s: float,
    rate: float,
    turns: Sequence[Turn],
    step_s: float,
) -> Plan:
    """Draw the community's course. `rate`: comments a second on average, turns left out; days have a rhythm,
    rates and moods wander a little by themselves (a mean-reverting walk of about an hour's memory)."""
    rng = np.random.default_rng([seed, zlib.crc32(community.encode())])
    at = np.arange(start, start + duration_s, step_s, dtype=np.float64)
    hour = ((at + _ZONE_S) / 3600) % 24
    rhythm = np.interp(hour, np.arange(25), np.append(_HOURS, _HOURS[0]))
    volume = rhythm / rhythm.mean() * np.exp(0.15 * _wander(rng, len(at), step_s))
    habit = rng.dirichlet(_AT_REST * 400)
    gloom = 0.02 * _wander(rng, len(at), step_s)
    mood = _blend(np.tile(habit, (len(at), 1)), _SOUR, np.clip(gloom + 0.02, 0, 0.1))
    brigade, turned = np.zeros(len(at)), np.zeros(len(at))
    for turn in turns:
        if turn.community != community:
            continue
        felt, shape = turn.effect(at), _SHAPES[turn.kind]
        brigade += shape.brigade * felt * volume
        mood = _blend(mood, shape.mood, shape.share * felt)
        volume = volume * (1 + shape.growth * felt)
        turned = np.maximum(turned, shape.turned * felt)
    seconds = np.minimum(step_s, start + duration_s - at)
    return Plan(at, volume * rate * seconds, brigade * rate * seconds, mood, turned)


def storyline(
    seed: int,
    communities: Sequence[str],
    start: float,
    duration_s: float,
    rate: float,
    turns: Sequence[Turn] = (),
) -> Iterator[tuple[dict[str, Any], Emotion]]:
    """Comments as the comment topic takes them, in order of `created_at`, each with its planned emotion.

    `start` in epoch seconds, `rate` in comments a second and community, averaged over the story. Communities
    besides COMMUNITIES borrow the words of one of those."""
    stories = [_tell(seed, name, start, duration_s, rate, turns) for name in communities]
    yield from heapq.merge(*stories, key=lambda told: told[0]["created_at"])


def _tell(
    seed: int, community: str, start: float, duration_s: float, rate: float, turns: Sequence[Turn]
) -> Iterator[tuple[dict[str, Any], Emotion]]:
    step_s = 10.0
    course = plan(seed, community, start, duration_s, rate, turns, step_s)
    rng = Random(f"{seed}/{community}")
    counts = np.random.default_rng([seed, zlib.crc32(community.encode()), 1])
    voice = _Voice(community, rng)
    number = 0
    for step, begin in enumerate(course.start):
        width = min(step_s, start + duration_s - begin)
        ordinary, pasted = counts.poisson((course.comments[step], course.brigade[step]))
        moods = rng.choices(EMOTIONS, course.mood[step].tolist(), k=ordinary)
        drawn: list[tuple[float, Emotion | None]] = [(begin + rng.random() * width, mood) for mood in moods]
        drawn += [(begin + rng.random() * width, None) for _ in range(pasted)]
        for at, planned in sorted(drawn, key=lambda one: one[0]):
            number += 1
            comment_id = f"{zlib.crc32(community.encode()):08x}-{seed}-{number}"
            about_turn = planned in _NEGATIVE and rng.random() < course.turned[step]
            said = voice.says(planned, about_turn) if planned else voice.pasted()
            comment = {"id": comment_id, "community": community, "created_at": int(at * 1000)}
            yield comment | said | voice.place(comment_id, number, about_turn), planned or "hate"


class _Voice:
    """Puts planned emotions into words, under posts, by authors of whom some write much more than others."""

    def __init__(self, community: str, rng: Random) -> None:
        casts = _WORDS["cast"]
        borrowed = COMMUNITIES[zlib.crc32(community.encode()) % len(COMMUNITIES)]
        self._cast = casts.get(community) or casts[borrowed]
        self._community = community
        self._rng = rng
        self._recent: deque[tuple[str, str]] = deque(maxlen=50)  # post and id of comments to answer

    def says(self, emotion: Emotion, about_turn: bool) -> dict[str, Any]:
        rng, cast = self._rng, self._cast
        lang = "en" if rng.random() < cast["english"] else "zh"
        suffix = "_en" if lang == "en" else ""
        templates = cast["turn"][lang][emotion] if about_turn else _WORDS[lang][emotion]
        text = rng.choice(templates).format(
            who=rng.choice(cast["who" + suffix]),
            work=rng.choice(cast["work" + suffix]),
            deg=rng.choice(_WORDS["degree"][lang]),
            day=rng.randint(1, 365),
        )
        return {
            "text": rng.choice(_WORDS["lead"][lang]) + text + rng.choice(_WORDS["tail"][lang]),
            "author": f"{self._community}-{int(_REGULARS * rng.random() ** 2)}",
            "likes": int(rng.paretovariate(1.2)) - 1,
            "lang": lang,
        }

    def pasted(self) -> dict[str, Any]:
        author = f"{self._community}-new-{self._rng.randrange(_BRIGADIERS)}"
        return {"text": self._rng.choice(self._cast["copied"]), "author": author, "likes": 0, "lang": "zh"}

    def place(self, comment_id: str, number: int, about_turn: bool) -> dict[str, str]:
        """Under which post the comment stands, and whom it answers."""
        rng = self._rng
        if about_turn:
            return {"post_id": self._cast["turn_post"]}
        post, answered = f"{self._cast['post']}-{1 + number // 200}", None
        if self._recent and rng.random() < 0.4:
            post, answered = rng.choice(self._recent)
        self._recent.append((post, comment_id))
        return {"post_id": post} | ({"reply_to": answered} if answered else {})


def _wander(rng: np.random.Generator, steps: int, step_s: float) -> NDArray[np.float64]:
    """An Ornstein-Uhlenbeck walk of unit variance and one hour's memory, sampled every `step_s`."""
    keep = float(np.exp(-step_s / 3600))
    noise = rng.standard_normal(steps) * np.sqrt(1 - keep * keep)
    walk = np.empty(steps)
    value = rng.standard_normal()
    for i, shock in enumerate(noise):
        value = keep * value + shock
        walk[i] = value
    return walk


def _blend(
    mood: NDArray[np.float64], other: NDArray[np.float64], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    return mood * (1 - share[:, None]) + other * share[:, None]
