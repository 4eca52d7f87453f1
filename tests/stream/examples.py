"""A model, a comment and its scores, as the other tests use them."""

from datetime import UTC, datetime
from typing import Any

import orjson

from stream.comments import Comment
from stream.events import Event, Scores, enrich
from stream.model import Model

EMOTIONS = ["anger", "anxiety", "expect", "hate", "joy", "love", "sorrow", "surprise", "neutral"]
NEGATIVE = ["anger", "anxiety", "hate", "sorrow"]
NOON_MS = 1_795_262_400_000  # 2026-11-21T12:00:00Z
KEY = b"a key for tests only"

PARAMETERS: dict[str, Any] = {
    "version": "3",
    "languages": "zh",
    "emotion@3": {"kind": "multilabel", "labels": EMOTIONS, "negative": NEGATIVE, "thresholds": [0.5] * 9},
    "sentiment@3": {"kind": "multiclass", "labels": ["negative", "positive"], "negative": ["negative"]},
    "lovelorn@3": {"kind": "multiclass", "labels": ["ordinary", "lovelorn"], "negative": []},
    "embedding@3": {"dim": 256},
}


def triton_config(**parameters: Any) -> dict[str, Any]:
    """A model config as Triton tells it in JSON; `None` leaves a parameter out."""
    merged = {**PARAMETERS, **parameters}
    return {
        "name": "emotion_zh",
        "output": [
            {"name": "emotion", "data_type": "TYPE_FP32", "dims": ["9"]},
            {"name": "sentiment", "data_type": "TYPE_FP32", "dims": ["2"]},
            {"name": "lovelorn", "data_type": "TYPE_FP32", "dims": ["2"]},
            {"name": "embedding", "data_type": "TYPE_FP32", "dims": ["256"]},
        ],
        "parameters": {
            name: {"string_value": value if isinstance(value, str) else orjson.dumps(value).decode()}
            for name, value in merged.items()
            if value is not None
        },
    }


MODEL = Model.parse(triton_config())


def comment(**changes: Any) -> Comment:
    values: dict[str, Any] = {
        "id": "c1",
        "community": "starlight",
        "text": "舞台太好看了[泪]",
        "created_at_ms": NOON_MS,
        "author": "xiaoming",
        "post_id": None,
        "reply_to": None,
        "likes": None,
        "lang": "zh",
    }
    return Comment(**{**values, **changes})


def scores(**emotions: float) -> Scores:
    """All emotions at 0 but those given."""
    return {
        "emotion": tuple(emotions.get(label, 0.0) for label in EMOTIONS),
        "sentiment": (0.25, 0.75),
        "lovelorn": (0.9, 0.1),
    }


def event(offset: int = 0, given: Scores | None = None, **changes: Any) -> Event:
    return enrich(
        comment(**changes),
        given if given is not None else scores(joy=0.9),
        MODEL,
        ("comments", 0, offset),
        scored_at=datetime(2026, 11, 21, 12, 0, 5, tzinfo=UTC),
        pseudonym_key=KEY,
    )
