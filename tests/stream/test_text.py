import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.text import MOST_MARKS, clean, language


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("  两 \t\n 行\u3000字 ", "两 行 字"),
        ("cafe\u0301", "café"),
        ("好\u200b看\ufeff了\u00ad", "好看了"),
        ("a\x07b\x85c", "ab c"),
        ("\u202e反\u202c", "反"),
        ("看http://example.org/x?a=1好看", "看http 好看"),
        ("HTTPS://EXAMPLE.ORG/x, 真的", "http , 真的"),
        ("www.example.org/a[泪]", "http [泪]"),
        ("(http://example.org/a)", "(http )"),
        ("//@小星星_7:转发", "//@user :转发"),
        ("@小星星 @moon-light 你们好", "@user @user 你们好"),
        ("写信到 star@example.org", "写信到 star@example.org"),
        ("太好哭了[泪][doge] 😭😭", "太好哭了[泪][doge] 😭😭"),
        ("👨\u200d👩\u200d👧 ❤\ufe0f\u200d🔥 👍🏽", "👨\u200d👩\u200d👧 ❤\ufe0f\u200d🔥 👍🏽"),
        ("a\u200db 😀\u200d", "ab 😀"),
    ],
)
def test_cleaning(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


_INVISIBLE_PARTS = [
    "\u0301",
    "\u0338",
    "\u05b0",
    "\u3099",
    "\u200b",
    "\u200d",
    "\x1b",
    " ",
    "\n",
    "\u2126",
    "\u037e",
]
_VISIBLE_PARTS = [
    "http://",
    "https://",
    "www.",
    "a.b/c",
    "@user",
    "http",
    "名字",
    "か",
    "[泪]",
    "😀",
    "❤\ufe0f",
]
_PARTS = st.sampled_from([*_VISIBLE_PARTS, *_INVISIBLE_PARTS, *"@x-_.!?"])
_TEXTS = st.lists(_PARTS, max_size=15).map("".join) | st.text(max_size=60)


@given(text=_TEXTS)
@example("http://a\u0301")
@example("@bob\u05b0\u0301")
@example("@user@http://")
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(text=_TEXTS)
def test_cleaned_text_is_normal_on_one_line_and_visible(text: str) -> None:
    cleaned = clean(text)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned == cleaned.strip()
    assert not re.search(r"\s\s|[^\S ]|[\x00-\x1f\x7f-\x9f\u200b\u2060\ufeff\u202e]", cleaned)
    assert "://" not in cleaned or not re.search(r"https?://\w", cleaned, re.ASCII)


_MARKS = ["\u0301", "\u0327", "\u0334", "\u05b0", "\u0f73", "\u0f71", "\U0001d165"]


@given(
    text=st.lists(st.sampled_from([*_MARKS, "e", "\u1f82", "\u0958", "好", "\u200b", " "]), max_size=200).map(
        "".join
    )
)
@example("e" + "\u0301\u0327" * 5000)
@example("\u0f73" * 9000)
@example("\u0958" + "\u0301" * 30)
def test_no_run_of_combining_characters_is_long_enough_to_be_slow_to_sort(text: str) -> None:
    """Normalising takes time quadratic in the longest run; everything else here passes over a text once."""
    cleaned = clean(text)
    runs = "".join("m" if unicodedata.combining(c) else " " for c in unicodedata.normalize("NFD", cleaned))
    assert max(map(len, runs.split(" "))) <= MOST_MARKS + 3  # and what the letter itself carries
    assert clean(cleaned) == cleaned


def test_a_name_in_decomposed_letters_keeps_its_marks() -> None:
    assert clean("Beyonce\u0301 e\u0323\u0302") == "Beyoncé ệ"


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("今天的舞台太好看了", "zh"),
        ("我の宝贝们今天好可爱", "zh"),
        ("新歌 Starlight 好听", "zh"),
        ("今天好开心呀 listening to the new album again", "zh"),
        ("I love this song so much [心]", "en"),
        ("so good 好", "en"),
        ("Rosé!", "en"),
        ("きょうのライブは楽しかった", "other"),
        ("오늘 무대 최고였어요", "other"),
        ("Спасибо за концерт", "other"),
        ("สวัสดีครับ", "other"),
        ("😭😭😭", "zh"),
        ("666", "zh"),
        ("@user http", "zh"),
    ],
)
def test_language_by_script(text: str, lang: str) -> None:
    assert language(text, "zh") == lang


def test_a_text_without_letters_is_in_the_default_language() -> None:
    assert language("😭 666 !!", "en") == "en"
