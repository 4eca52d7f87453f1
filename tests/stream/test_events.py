from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stream.comments import Comment, Rejected, decode
from stream.events import EmotionEvent, carried, dumps, enrich, loads, negativity, pseudonym
from stream.model import Model
from tests.stream.examples import EMOTIONS, KEY, MODEL, NOON_MS, comment, event, scores, triton_config

ENGLISH = Model.parse(
    triton_config(
        **{
            "emotion@3": {
                "kind": "multiclass",
                "labels": EMOTIONS,
                "negative": ["anger", "anxiety", "hate", "sorrow"],
            }
        }
    )
)

_PROBABILITIES = st.lists(st.integers(0, 10**6).map(lambda n: n / 10**6), min_size=9, max_size=9)
_NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60)


@st.composite
def comments(draw: Any) -> Comment:
    optional = st.none() | _NAMES
    fields = {
        "id": draw(_NAMES),
        "community": draw(_NAMES),
        "text": draw(st.text(min_size=1, max_size=50)),
        "created_at": draw(st.integers(946_684_800_000, NOON_MS)),
        "author": draw(optional),
        "post_id": draw(optional),
        "reply_to": draw(optional),
        "lang": draw(st.sampled_from(["zh", "en", "ja", None])),
    }
    try:
        return decode(orjson.dumps(fields), now_ms=NOON_MS)
    except (Rejected, TypeError):
        return comment()


@given(comment=comments(), emotion=_PROBABILITIES, offset=st.integers(0, 2**53), include_text=st.booleans())
def test_the_fast_path_writes_byte_for_byte_what_the_pydantic_model_would(
    comment: Comment, emotion: list[float], offset: int, include_text: bool
) -> None:
    made = enrich(
        comment,
        {**scores(), "emotion": tuple(emotion)},
        MODEL,
        ("comments", 3, offset),
        scored_at=datetime(2026, 11, 21, 12, 0, 5, 123456, tzinfo=UTC),
        pseudonym_key=KEY,
        include_text=include_text,
    )
    content = dumps(made)
    parsed = EmotionEvent.model_validate_json(content)
    assert orjson.loads(parsed.model_dump_json()) == orjson.loads(content)
    assert list(orjson.loads(parsed.model_dump_json())) == list(orjson.loads(content))
    assert loads(content) == made


def test_an_event_says_where_it_is_from_and_who_judged_it() -> None:
    made = event(7, scores(anger=0.75, joy=0.5), post_id="p1", reply_to="c0")
    assert made["source"] == {"topic": "comments", "partition": 0, "offset": 7}
    assert made["model"] == "emotion_zh/3"
    assert (made["post_id"], made["reply_to"]) == ("p1", "c0")
    assert made["created_at"].timestamp() * 1000 == NOON_MS


def test_labels_are_those_at_or_above_their_threshold() -> None:
    assert event(0, scores(anger=0.5, joy=0.499999))["labels"] == ["anger"]
    assert event(0, scores())["labels"] == []


def test_a_multiclass_text_carries_its_most_probable_label_alone() -> None:
    assert carried(ENGLISH.primary, scores(joy=0.3, love=0.31)["emotion"]) == ["love"]


def test_a_comment_is_negative_when_a_negative_emotion_is_among_its_labels() -> None:
    assert event(0, scores(sorrow=0.6))["negative"]
    assert not event(0, scores(joy=0.9, anger=0.4))["negative"]


def test_negativity_is_the_probability_of_any_negative_emotion() -> None:
    given_scores = scores(anger=0.5, sorrow=0.2, joy=0.3)["emotion"]
    assert negativity(MODEL.primary, given_scores) == 0.6  # 1 - 0.5 * 0.8
    assert negativity(ENGLISH.primary, given_scores) == 0.7


@given(emotion=_PROBABILITIES)
def test_negativity_is_a_probability_not_below_that_of_any_negative_emotion(emotion: list[float]) -> None:
    value = negativity(MODEL.primary, emotion)
    assert max(emotion[at] for at in MODEL.primary.negative_at) <= value <= 1


def test_further_tasks_stand_beside_the_emotions() -> None:
    assert event()["tasks"]["sentiment"] == {
        "scores": {"negative": 0.25, "positive": 0.75},
        "labels": ["positive"],
    }
    assert event()["tasks"]["lovelorn"]["labels"] == ["ordinary"]


def test_an_author_is_a_pseudonym_that_depends_on_the_key() -> None:
    name = event(author="xiaoming")["author"]
    assert name == pseudonym("xiaoming", KEY)
    assert name != pseudonym("xiaoming", b"another key")
    assert len(name) == 32
    assert b"xiaoming" not in dumps(event(author="xiaoming"))
    assert event(author=None)["author"] is None


def test_the_text_can_be_left_out() -> None:
    made = enrich(
        comment(),
        scores(),
        MODEL,
        ("t", 0, 0),
        scored_at=datetime.now(UTC),
        pseudonym_key=KEY,
        include_text=False,
    )
    assert made["text"] is None


def test_scores_that_do_not_fit_the_labels_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        event(0, {**scores(), "emotion": (0.1, 0.2)})


def test_what_is_no_event_is_not_read_as_one() -> None:
    with pytest.raises(ValidationError):
        loads(b'{"schema":1}')
