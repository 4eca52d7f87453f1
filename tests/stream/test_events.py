from stream.events import EmotionEvent, dumps
from tests.stream.examples import event, scores


def test_the_fast_path_writes_what_the_schema_reads() -> None:
    content = dumps(event(7, scores(anger=0.75, joy=0.5)))
    parsed = EmotionEvent.model_validate_json(content)
    assert parsed.model_dump_json().encode() == content
    assert parsed.labels == ["anger", "joy"]
    assert parsed.negativity == 0.75
    assert parsed.negative
    assert parsed.source.offset == 7
