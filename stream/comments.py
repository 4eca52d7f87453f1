"""Wire format in: the bytes of one record become a Comment, or are Rejected with a reason. Pure."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from stream.errors import FanpulseError
from stream.text import Lang, clean, declared_language, language

MAX_RECORD_BYTES = 262_144
MAX_TEXT_CHARACTERS = 10_000
MAX_NAME_BYTES = 256
EARLIEST_MS = 946_684_800_000  # 2000-01-01T00:00:00Z
LATEST_AHEAD_MS = 86_400_000  # clocks differ and zones get lost, by a day at most


class Reason(StrEnum):
    """Why a comment has no emotion event; stands in the dead letter's headers and in the metrics."""

    NOT_JSON = "not_json"
    NULL_VALUE = "null_value"
    TOO_LARGE = "too_large"
    INVALID = "invalid"
    EMPTY_TEXT = "empty_text"
    TEXT_TOO_LONG = "text_too_long"
    TIMESTAMP_OUT_OF_BOUNDS = "timestamp_out_of_bounds"
    UNSUPPORTED_LANGUAGE = "unsupported_language"
    MODEL_REFUSED = "model_refused"


class Rejected(FanpulseError):
    """One comment that cannot be processed.

    `detail` never holds the comment's text; `community` is "" where it is not known.
    """

    def __init__(self, reason: Reason, detail: str, community: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.community = community


class Comment(NamedTuple):
    """A valid comment: `text` is cleaned, `author` is still the author's own name."""

    id: str
    community: str
    text: str
    created_at_ms: int
    author: str | None
    post_id: str | None
    reply_to: str | None
    likes: int | None
    lang: Lang


def _fit(name: str) -> str:
    if len(name.encode()) > MAX_NAME_BYTES:
        raise PydanticCustomError("too_long", f"longer than {MAX_NAME_BYTES} bytes")
    return name


_NO_CONTROL_CHARACTERS = r"^\P{Cc}*$"
_Name = Annotated[str, Field(min_length=1, pattern=_NO_CONTROL_CHARACTERS), AfterValidator(_fit)]
_Reference = Annotated[str, Field(max_length=MAX_NAME_BYTES, pattern=_NO_CONTROL_CHARACTERS)]


class Record(BaseModel):
    """The comment topic's JSON object (DESIGN section 5). Strict: a number in a string is not a number."""

    model_config = ConfigDict(strict=True)

    id: _Name
    community: _Name
    text: str
    created_at: Annotated[int | str, Field(union_mode="left_to_right")]
    author: _Reference | None = None
    post_id: _Reference | None = None
    reply_to: _Reference | None = None
    likes: Annotated[int, Field(ge=0)] | None = None
    lang: str | None = None


def decode(
    value: bytes | None, *, now_ms: int, max_bytes: int = MAX_RECORD_BYTES, default_lang: Lang = "zh"
) -> Comment:
    """Turn one Kafka record's value into a Comment.

    `now_ms` bounds `created_at`; `default_lang` is the language of a text without letters (emoji, digits).
    Raises Rejected, and nothing else, for whatever bytes come.
    """
    if value is None:
        raise Rejected(Reason.NULL_VALUE, "the record has no value")
    if len(value) > max_bytes:
        raise Rejected(Reason.TOO_LARGE, f"{len(value)} bytes, at most {max_bytes} are read")
    try:
        content = orjson.loads(value)  # unlike pydantic's own parser it refuses NaN
    except orjson.JSONDecodeError as error:
        raise Rejected(Reason.NOT_JSON, str(error)) from None
    try:
        record = Record.model_validate(content)
    except ValidationError as error:
        raise Rejected(Reason.INVALID, _explain(error), _community_of(content)) from None

    community = record.community
    created_at_ms = _milliseconds(record.created_at, community)
    if not EARLIEST_MS <= created_at_ms <= now_ms + LATEST_AHEAD_MS:
        bounds = "before the year 2000" if created_at_ms < EARLIEST_MS else "more than a day ahead"
        raise Rejected(Reason.TIMESTAMP_OUT_OF_BOUNDS, f"created_at is {bounds}", community)
    if len(record.text) > MAX_TEXT_CHARACTERS:
        raise Rejected(
            Reason.TEXT_TOO_LONG, f"{len(record.text)} characters, at most {MAX_TEXT_CHARACTERS}", community
        )
    if "\x00" in record.text:
        raise Rejected(Reason.INVALID, "text: holds a NUL byte", community)
    text = clean(record.text)
    if not text:
        raise Rejected(Reason.EMPTY_TEXT, "nothing is left of the text after cleaning", community)
    return Comment(
        record.id,
        community,
        text,
        created_at_ms,
        record.author or None,
        record.post_id or None,
        record.reply_to or None,
        record.likes,
        declared_language(record.lang) if record.lang else language(text, default_lang),
    )


def _explain(error: ValidationError) -> str:
    """Fields and complaints; never the input."""
    complaints = error.errors(include_input=False, include_context=False, include_url=False)
    return "; ".join(f"{'.'.join(map(str, c['loc'])) or 'record'}: {c['msg']}" for c in complaints)


_COMMUNITY = TypeAdapter(_Name, config=ConfigDict(strict=True))


def _community_of(content: Any) -> str:
    """The community of a record that is invalid elsewhere, so that the rejection counts where it belongs."""
    try:
        return _COMMUNITY.validate_python(content["community"])
    except (KeyError, TypeError, ValidationError):
        return ""


def _milliseconds(created_at: int | str, community: str) -> int:
    if isinstance(created_at, int):
        return created_at
    try:
        moment = datetime.fromisoformat(created_at)
        if moment.tzinfo:
            return round(moment.timestamp() * 1000)
        problem = "has no time zone"
    except ValueError:
        problem = "is neither ISO 8601 nor epoch milliseconds"
    raise Rejected(Reason.INVALID, f"created_at: {problem}", community)
