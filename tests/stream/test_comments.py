import orjson
import pytest

from stream.comments import Reason, Rejected, decode
from tests.stream.examples import NOON_MS

VALID = {"id": "c1", "community": "starlight", "text": "舞台太好看了[泪]", "created_at": NOON_MS}


def test_a_valid_record_becomes_a_comment() -> None:
    comment = decode(orjson.dumps(VALID), now_ms=NOON_MS)
    assert (comment.id, comment.community, comment.text) == ("c1", "starlight", "舞台太好看了[泪]")
    assert comment.created_at_ms == NOON_MS
    assert comment.lang == "zh"


def test_a_record_that_is_not_json_is_rejected() -> None:
    with pytest.raises(Rejected) as rejected:
        decode(b"{", now_ms=NOON_MS)
    assert rejected.value.reason is Reason.NOT_JSON
