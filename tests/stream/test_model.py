from typing import Any

import pytest

from stream.errors import ConfigurationError
from stream.model import Model
from tests.stream.examples import EMOTIONS, NEGATIVE, PARAMETERS, triton_config

EMOTION: dict[str, Any] = PARAMETERS["emotion@3"]


def test_a_model_is_read_from_its_triton_config() -> None:
    model = Model.parse(triton_config(languages="zh, en"))
    assert str(model) == "emotion_zh/3"
    assert model.languages == ("zh", "en")
    assert [task.name for task in model.tasks] == ["emotion", "lovelorn", "sentiment"]
    assert model.primary.labels == tuple(EMOTIONS)
    assert model.primary.negative == frozenset(NEGATIVE)
    assert model.primary.thresholds == (0.5,) * 9


def test_another_version_has_its_own_labels_and_thresholds() -> None:
    later = {**EMOTION, "thresholds": [0.4] * 9, "negative": ["anger"]}
    model = Model.parse(triton_config(**{"emotion@4": later}), version="4")
    assert str(model) == "emotion_zh/4"
    assert [task.name for task in model.tasks] == ["emotion"]
    assert model.primary.thresholds == (0.4,) * 9


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"version": None}, "no parameter version"),
        ({"languages": None}, "no parameter languages"),
        ({"emotion@3": None}, "emotion@3 is missing"),
        ({"emotion@3": "{"}, "emotion@3 is not a JSON object"),
        ({"emotion@3": "[1]"}, "emotion@3 is not a JSON object"),
        ({"emotion@3": {**EMOTION, "kind": "binary"}}, "emotion@3: kind"),
        ({"emotion@3": {**EMOTION, "negative": []}}, "names no negative label"),
        ({"emotion@3": {**EMOTION, "negative": ["rage"]}}, "'rage'"),
        ({"emotion@3": {**EMOTION, "thresholds": [0.5]}}, "one threshold per label"),
        ({"emotion@3": {**EMOTION, "thresholds": [0.5] * 8 + [1.5]}}, "thresholds.8"),
        ({"emotion@3": {**EMOTION, "thresholds": ["0.5"] * 9}}, "thresholds.0"),
        ({"emotion@3": {**EMOTION, "labels": [*EMOTIONS[:8], "anger"]}}, "labels repeat"),
        ({"emotion@3": {**EMOTION, "labels": EMOTIONS[:8], "thresholds": [0.5] * 8}}, "has 8 labels.*has 9"),
        ({"emotion@3": {**EMOTION, "colour": "red"}}, "colour"),
        ({"mood@3": EMOTION}, "output mood has none"),
        ({"embedding@3": {"dim": 0}}, "embedding@3: dim"),
        ({"reference@3": {"texts": 1, "tasks": {}}}, "reference@3 is not about the labels of emotion"),
        ({"reference@3": {"texts": 1}}, "reference@3: tasks"),
        ({"lovelorn@3": {**PARAMETERS["lovelorn@3"], "thresholds": [0.5, 0.5]}}, "a multiclass task none"),
    ],
)
def test_a_config_that_cannot_serve_is_refused_naming_model_and_parameter(
    parameters: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"model emotion_zh: .*{complaint}"):
        Model.parse(triton_config(**parameters))


def test_a_version_the_config_does_not_describe_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="emotion@9"):
        Model.parse(triton_config(), version="9")
