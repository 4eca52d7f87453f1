"""A comment's text: cleaned, and its language by script. Pure.

Cleaned text is NFC on one line, without invisible characters; `http` stands for each URL and `@user` for each
mention. Emoji and bracketed emoticons such as [泪] stay: they carry emotion.
"""

import re
import unicodedata
from typing import Literal

Lang = Literal["zh", "en", "other"]

URL, MENTION = "http", "@user"
MOST_MARKS = 30  # as in Unicode's Stream-Safe Text Format (UAX #15, section 13)

# Whether a text is worth a closer look; in one range where historic scripts stand, which costs `re` a step.
_MARKS = "".join(filter(unicodedata.combining, map(chr, range(0x300, 0x10000)))) + "\U00010000-\U0001efff"
_DECOMPOSING = "\u0f73\u0f75\u0f81"  # two combining characters each, though it has class 0
_CROWD = re.compile(f"[{_MARKS}{_DECOMPOSING}][{_MARKS}{_DECOMPOSING}]{{9}}")

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
    if not text.isascii():
        # Normalising sorts each run of combining characters in quadratic time, and may lengthen it by a few.
        crowded = _CROWD.search(text)
        text = unicodedata.normalize("NFC", _thinned(text) if crowded else text)
        text = _thinned(text) if crowded else text
    if "://" in text or "www." in text:
        text = _URL.sub(f"{URL} ", text)
    if "@" in text:
        # The space keeps the rest of a run-on name, or a combining character, from joining the placeholder.
        text = _MENTION.sub(f"{MENTION} ", text)
    return " ".join(text.split())


def _thinned(text: str) -> str:
    """Cut each run of combining characters to MOST_MARKS."""
    kept, run = [], 0
    for letter in text:
        run = run + 1 if unicodedata.combining(letter) or letter in _DECOMPOSING else 0
        if run <= MOST_MARKS:
            kept.append(letter)
    return "".join(kept)


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
        rest = _HAN.sub("", text)
        han = len(text) - len(rest)
        foreign = len(_FOREIGN.findall(rest))
        if not foreign and han * 2 > len(text):  # the usual case, decided without counting words
            return "zh"
    english = len(_WORD.findall(text))
    if not han + foreign + english:
        return default
    if foreign * 3 > han + foreign + english:
        return "other"
    return "zh" if han >= english else "en"


_CONFIGURABLE: dict[str, Lang] = {"zh": "zh", "en": "en"}


def declared_language(lang: str) -> Lang:
    """Map a BCP 47 tag such as `zh-Hans-CN` to a language that models are configured for."""
    primary = lang.lower().replace("_", "-").split("-")[0]
    return _CONFIGURABLE.get(primary, "other")
