"""The tasks, their labels in the order of the model's outputs, and how published label sets map onto them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Task:
    """One head. `name` is the graph's output; `negative` are the labels that count towards negativity."""

    name: str
    kind: Literal["multilabel", "multiclass"]
    labels: tuple[str, ...]
    negative: tuple[str, ...] = ()

    def index(self, label: str) -> int:
        return self.labels.index(label)


NEGATIVE = ("anger", "anxiety", "hate", "sorrow")

# A recipe names tasks by these keys; `emotion-en` serves as `emotion` too, from a model of its own.
TASKS: Mapping[str, Task] = {
    "emotion": Task(
        "emotion",
        "multilabel",
        ("anger", "anxiety", "expect", "hate", "joy", "love", "sorrow", "surprise", "neutral"),
        NEGATIVE,
    ),
    "emotion-en": Task(
        "emotion",
        "multiclass",
        ("anger", "anxiety", "joy", "love", "sorrow", "surprise"),
        ("anger", "anxiety", "sorrow"),
    ),
    "sentiment": Task("sentiment", "multiclass", ("negative", "positive"), ("negative",)),
    "lovelorn": Task("lovelorn", "multiclass", ("ordinary", "lovelorn")),
}

# Raw label -> target label. A set says nothing about the target labels that none of its own map to.
MAPPINGS: Mapping[str, Mapping[str, str]] = {
    "ren-cecps": {label: label for label in TASKS["emotion"].labels},
    "smp2020": {
        "angry": "anger", "happy": "joy", "neutral": "neutral", "sad": "sorrow", "surprise": "surprise",
        "fear": "anxiety",
    },
    "ocemotion": {
        "sadness": "sorrow", "happiness": "joy", "disgust": "hate", "anger": "anger", "like": "love",
        "surprise": "surprise", "fear": "anxiety",
    },
    "nlpcc2014": {
        "like": "love", "happiness": "joy", "disgust": "hate", "sadness": "sorrow", "anger": "anger",
        "surprise": "surprise", "fear": "anxiety", "none": "neutral",
    },
    "covid-weibo": {
        "optimism": "expect", "anger": "anger", "disgust": "hate", "sadness": "sorrow",
        "surprise": "surprise", "fear": "anxiety", "gratitude": "love",
    },
    "dair": {
        "sadness": "sorrow", "joy": "joy", "love": "love", "anger": "anger", "fear": "anxiety",
        "surprise": "surprise",
        "0": "sorrow", "1": "joy", "2": "love", "3": "anger", "4": "anxiety", "5": "surprise",
    },
    "polarity": {"0": "negative", "1": "positive"},
    "lovelorn": {"0": "ordinary", "1": "lovelorn"},
}  # fmt: skip
