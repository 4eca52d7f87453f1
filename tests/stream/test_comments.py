"""What comes in: every kind of bad record, and that nothing but Rejected ever escapes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.comments import Comment, Reason, Rejected, decode
from tests.stream.examples import NOON_MS

NOON = datetime.fromtimestamp(NOON_MS / 1000, UTC)
VALID: dict[str, Any] = {
    "id": "c1",
    "community": "starlight",
    "text": "舞台太好看了[泪]",
    "created_at": NOON_MS,
    "author": "xiaoming",
    "post_id": "p1",
    "reply_to": "c0",
    "likes": 3,
}


def record(**changes: Any) -> bytes:
    return orjson.dumps({**VALID, **changes})


def accepted(**changes: Any) -> Comment:
    return decode(record(**changes), now_ms=NOON_MS)


def rejection(value: bytes | None, **options: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        decode(value, now_ms=NOON_MS, **options)
    return caught.value


def test_a_valid_record_becomes_a_comment() -> None:
    assert accepted() == Comment(
        id="c1",
        community="starlight",
        text="舞台太好看了[泪]",
        created_at_ms=NOON_MS,
        author="xiaoming",
        post_id="p1",
        reply_to="c0",
        likes=3,
        lang="zh",
    )


def test_unknown_fields_are_ignored_and_optional_ones_may_be_missing_null_or_empty() -> None:
    least = {name: VALID[name] for name in ("id", "community", "text", "created_at")}
    bare = decode(orjson.dumps(least), now_ms=NOON_MS)
    assert decode(orjson.dumps({**least, "mood": {"a": [1]}}), now_ms=NOON_MS) == bare
    nothing: dict[str, Any] = dict.fromkeys(("author", "post_id", "reply_to", "likes", "lang"))
    assert accepted(**nothing) == bare
    assert accepted(**nothing | {"author": "", "post_id": "", "reply_to": ""}) == bare


def without(name: str) -> bytes:
    return orjson.dumps({key: value for key, value in VALID.items() if key != name})


BAD = {
    "no value": (None, Reason.NULL_VALUE, "no value"),
    "no bytes": (b"", Reason.NOT_JSON, ""),
    "not JSON": (b"hello", Reason.NOT_JSON, ""),
    "cut short": (record()[:-1], Reason.NOT_JSON, ""),
    "not UTF-8": (record().replace("舞".encode(), b"\xff\xfe"), Reason.NOT_JSON, ""),
    "NaN": (record().replace(b'"likes":3', b'"likes":NaN'), Reason.NOT_JSON, ""),
    "NaN in an unknown field": (record().replace(b'"likes"', b'"mood":NaN,"likes"'), Reason.NOT_JSON, ""),
    "infinity": (record().replace(b'"likes":3', b'"likes":1e999'), Reason.NOT_JSON, ""),
    "a lone surrogate": (record().replace("舞".encode(), b"\\ud83d"), Reason.NOT_JSON, ""),
    "a surrogate in bytes": (record().replace("舞".encode(), b"\xed\xa0\xbd"), Reason.NOT_JSON, ""),
    "deep nesting": (b"[" * 100_000 + b"]" * 100_000, Reason.NOT_JSON, ""),
    "deep nesting in an unknown field": (
        record().replace(b'"likes"', b'"x":' + b"[" * 5000 + b"]" * 5000 + b',"likes"'), Reason.NOT_JSON, "",
    ),
    "an array": (b"[1]", Reason.INVALID, "record"),
    "null": (b"null", Reason.INVALID, "record"),
    "a string": (b'"text"', Reason.INVALID, "record"),
    "1 MB": (record(text="好" * 350_000), Reason.TOO_LARGE, "bytes"),
    "no id": (without("id"), Reason.INVALID, "id"),
    "no community": (without("community"), Reason.INVALID, "community"),
    "no text": (without("text"), Reason.INVALID, "text"),
    "no time": (without("created_at"), Reason.INVALID, "created_at"),
    "a null id": (record(id=None), Reason.INVALID, "id"),
    "a null text": (record(text=None), Reason.INVALID, "text"),
    "a number as id": (record(id=1), Reason.INVALID, "id"),
    "a list as text": (record(text=["a"]), Reason.INVALID, "text"),
    "a number as text": (record(text=5), Reason.INVALID, "text"),
    "likes in a string": (record(likes="3"), Reason.INVALID, "likes"),
    "likes below 0": (record(likes=-1), Reason.INVALID, "likes"),
    "half a like": (record(likes=1.5), Reason.INVALID, "likes"),
    "a bool as likes": (record(likes=True), Reason.INVALID, "likes"),
    "an empty id": (record(id=""), Reason.INVALID, "id"),
    "an empty community": (record(community=""), Reason.INVALID, "community"),
    "a long id": (record(id="x" * 257), Reason.INVALID, "id"),
    "a community of many bytes": (record(community="星" * 86), Reason.INVALID, "community"),
    "a line break in the community": (record(community="a\nb"), Reason.INVALID, "community"),
    "NUL in the id": (record(id="a\x00"), Reason.INVALID, "id"),
    "NUL in the author": (record(author="a\x00"), Reason.INVALID, "author"),
    "NUL in the text": (record(text="好看\x00"), Reason.INVALID, "text"),
    "a bare NUL byte": (record().replace("舞".encode(), b"\x00"), Reason.NOT_JSON, ""),
    "no text left": (record(text=" \u200b\n\ufeff "), Reason.EMPTY_TEXT, ""),
    "an empty text": (record(text=""), Reason.EMPTY_TEXT, ""),
    "10,001 characters": (record(text="好" * 10_001), Reason.TEXT_TOO_LONG, "10001"),
    "epoch milliseconds in a string": (record(created_at=str(NOON_MS)), Reason.INVALID, "created_at"),
    "a fraction of milliseconds": (record(created_at=1.5), Reason.INVALID, "created_at"),
    "a time without a zone": (record(created_at="2026-11-21T12:00:00"), Reason.INVALID, "zone"),
    "a date": (record(created_at="2026-11-21"), Reason.INVALID, "zone"),
    "words as time": (record(created_at="yesterday"), Reason.INVALID, "created_at"),
    "a time before 2000": (record(created_at=946_684_799_999), Reason.TIMESTAMP_OUT_OF_BOUNDS, "2000"),
    "epoch seconds": (record(created_at=NOON_MS // 1000), Reason.TIMESTAMP_OUT_OF_BOUNDS, "2000"),
    "the year 1": (record(created_at="0001-01-01T00:00:00+23:59"), Reason.TIMESTAMP_OUT_OF_BOUNDS, "2000"),
    "a year ahead": (record(created_at="2027-11-21T12:00:00Z"), Reason.TIMESTAMP_OUT_OF_BOUNDS, "ahead"),
    "the year 9999": (record(created_at="9999-12-31T23:59-23:59"), Reason.TIMESTAMP_OUT_OF_BOUNDS, "ahead"),
    "over a day ahead": (record(created_at=NOON_MS + 86_400_001), Reason.TIMESTAMP_OUT_OF_BOUNDS, "ahead"),
    "a huge time": (record().replace(str(NOON_MS).encode(), b"9" * 400), Reason.NOT_JSON, ""),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_record_is_rejected_with_its_reason(what: str) -> None:
    value, reason, mention = BAD[what]
    rejected = rejection(value)
    assert rejected.reason is reason
    assert mention in rejected.detail


def test_what_is_just_within_bounds_is_accepted() -> None:
    accepted(id="x" * 256, community="星" * 85, text="好" * 10_000)
    accepted(created_at=946_684_800_000)
    accepted(created_at=NOON_MS + 86_400_000)


@pytest.mark.parametrize(
    "created_at", ["2026-11-21T12:00:00Z", "2026-11-21T20:00:00.000+08:00", "20261121T120000Z", NOON_MS]
)
def test_a_time_is_iso_8601_with_a_zone_or_epoch_milliseconds(created_at: object) -> None:
    assert accepted(created_at=created_at).created_at_ms == NOON_MS


def test_the_largest_record_is_a_setting() -> None:
    value = record()
    decode(value, now_ms=NOON_MS, max_bytes=len(value))
    assert rejection(value, max_bytes=len(value) - 1).reason is Reason.TOO_LARGE


def test_a_rejection_names_the_community_where_it_is_known() -> None:
    assert rejection(record(text="")).community == "starlight"
    assert rejection(record(likes="3")).community == "starlight"
    assert rejection(record(created_at="soon")).community == "starlight"
    assert rejection(record(community="a\nb")).community == ""
    assert rejection(b"[]").community == ""
    assert rejection(b'"starlight"').community == ""


_SECRETS = st.text(alphabet="绝密话语私事", min_size=4, max_size=8)


@given(secret=_SECRETS, field=st.sampled_from([*VALID, "lang"]))
def test_a_rejection_never_quotes_the_comment(secret: str, field: str) -> None:
    rejected = rejection(record(**{"text": secret, field: [secret]}))
    assert secret not in str(rejected) + rejected.detail + repr(rejected)
    assert secret not in str(rejection(record(text=secret)[:-1]))


def mutated(value: bytes, at: int, piece: bytes, cut: int) -> bytes:
    at %= len(value)
    return value[:at] + piece + value[at + cut :]


_PIECES = st.binary(max_size=6) | st.sampled_from(
    [b"\\u0000", b"\\ud800", b"NaN", b"1e400", b"[[[[", b"{}", b'"', b"null", b"-", b"\xf0\x9f", b"\\", b"0"]
)


@given(value=st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_arbitrary_bytes_raise_nothing_but_rejected(value: bytes) -> None:
    try:
        comment = decode(value, now_ms=NOON_MS)
    except Rejected:
        return
    assert comment.text


@given(at=st.integers(0, 10_000), piece=_PIECES, cut=st.integers(0, 20))
def test_mutated_records_raise_nothing_but_rejected(at: int, piece: bytes, cut: int) -> None:
    value = mutated(record(lang="zh", text="好看 @小星星 https://example.org/a 👨‍👩‍👧"), at, piece, cut)
    try:
        comment = decode(value, now_ms=NOON_MS)
    except Rejected:
        return
    assert comment.text
    assert comment.id
    assert 0 < len(comment.community.encode()) <= 256


_ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(changes=st.dictionaries(st.sampled_from([*VALID, "lang"]), _ANYTHING, max_size=4))
def test_any_values_in_the_fields_raise_nothing_but_rejected(changes: dict[str, Any]) -> None:
    try:
        comment = decode(record(**changes), now_ms=NOON_MS)
    except Rejected:
        return
    assert isinstance(comment, Comment)
    assert comment.lang in ("zh", "en", "other")


def test_a_text_without_letters_is_in_the_default_language() -> None:
    assert decode(record(text="😭"), now_ms=NOON_MS, default_lang="en").lang == "en"


@pytest.mark.parametrize(
    ("declared", "lang"),
    [
        ("zh", "zh"),
        ("zh-Hans-CN", "zh"),
        ("ZH_tw", "zh"),
        ("en-GB", "en"),
        ("ja", "other"),
        ("", "zh"),
        (None, "zh"),
    ],
)
def test_a_declared_language_wins_over_the_script(declared: str | None, lang: str) -> None:
    assert accepted(lang=declared).lang == lang


@given(days=st.integers(-9000, 400))
def test_a_comment_is_accepted_from_2000_until_a_day_ahead(days: int) -> None:
    moment = NOON + timedelta(days=days)
    if days <= 1:
        assert accepted(created_at=moment.isoformat()).created_at_ms == moment.timestamp() * 1000
    else:
        assert rejection(record(created_at=moment.isoformat())).reason is Reason.TIMESTAMP_OUT_OF_BOUNDS
