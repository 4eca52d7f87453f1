"""Wire format in: the bytes of one record become a Comment, or are Rejected with a reason. Pure.

Cleaned text is NFC on one line, without invisible characters; `http` stands for each URL and `@user` for each
mention. Emoji and bracketed emoticons such as [泪] stay: they carry emotion.
"""

import re
import unicodedata
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from stream.errors import FanpulseError

Lang = Literal["zh", "en", "other"]

URL, MENTION = "http", "@user"

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
        _declared(record.lang) if record.lang else language(text, default_lang),
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


# Control, zero-width and direction characters. A joiner between two emoji makes one of them: it stays.
_PICTURE = "\u2190-\u2bff\U0001f000-\U0001faff"
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
    f"|\u200d(?![{_PICTURE}])|(?<![{_PICTURE}\ufe0f])\u200d"
)
# ASCII only, and no brackets: Chinese text and emoticons follow a URL without a space.
_URL = re.compile(
    r"(?:https?://|www\.)\w(?:[\w.~:/?#@!$&'()*+,;=%-]*[\w/#=&%~+-])?", re.ASCII | re.IGNORECASE
)
_MENTION = re.compile(r"(?<![A-Za-z0-9._+-])(?:@[\w-]{1,30})+")  # Weibo's names have 30 characters at most


def clean(text: str) -> str:
    """Normalise a comment for the model and for duplicate detection; idempotent, linear in the length."""
    if not text.isprintable():
        text = _INVISIBLE.sub("", text)
    text = unicodedata.normalize("NFC", text)
    if "://" in text or "www." in text:
        text = _URL.sub(f"{URL} ", text)
    if "@" in text:
        # The space keeps the rest of a run-on name, or a combining character, from joining the placeholder.
        text = _MENTION.sub(f"{MENTION} ", text)
    return " ".join(text.split())


_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
_WORD = re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]+")
# Other scripts: Greek to Ethiopic and beyond, hangul, and kana but for the dot and the long mark, which
# decorate Chinese too.
_FOREIGN = re.compile(
    "[\u0370-\u1dff\u1f00-\u1fff\u3041-\u309f\u30a1-\u30fa\u3131-\u318e\uac00-\ud7a3\uff66-\uff9d]"
)


def language(text: str, default: Lang) -> Lang:
    """Language by script of a cleaned text; `default` where it has no letters.

    Latin script counts as English. A Chinese character weighs as much as a Latin word or a letter of another
    script. More than a third in other scripts is `other` (a fan's の alone is not Japanese); else the greater
    part decides.
    """
    text = text.replace(URL, "").replace(MENTION, "")
    han = foreign = 0
    if not text.isascii():
        han = sum(map(len, _HAN.findall(text)))
        foreign = len(_FOREIGN.findall(text))
        if not foreign and han * 2 > len(text):  # the usual case, decided without counting words
            return "zh"
    english = len(_WORD.findall(text))
    if not han + foreign + english:
        return default
    if foreign * 3 > han + foreign + english:
        return "other"
    return "zh" if han >= english else "en"


def _declared(lang: str) -> Lang:
    """Map a BCP 47 tag such as `zh-Hans-CN` to a language that models are configured for."""
    primary = lang.lower().replace("_", "-").split("-")[0]
    return primary if primary in ("zh", "en") else "other"  # type: ignore[return-value]
