from stream.model import Model
from tests.stream.examples import EMOTIONS, NEGATIVE, triton_config


def test_a_model_is_read_from_its_triton_config() -> None:
    model = Model.parse(triton_config())
    assert str(model) == "emotion_zh/3"
    assert model.languages == ("zh",)
    assert [task.name for task in model.tasks] == ["emotion", "lovelorn", "sentiment"]
    assert model.primary.labels == tuple(EMOTIONS)
    assert model.primary.negative == frozenset(NEGATIVE)
