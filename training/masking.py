"""Takes out of a text what gives its label away: bracketed emoticons, key words."""

import re
from collections.abc import Iterable

import numpy as np

# Weibo writes emoticons as [name]; names are short and hold no brackets.
EMOTICON = re.compile(r"[\[［【][^\[\]［］【】\s]{1,8}[\]］】]")
SPACES = re.compile(r"\s+")


def without_emoticons(text: str) -> str:
    return SPACES.sub(" ", EMOTICON.sub(" ", text)).strip()


def without_words(texts: Iterable[str], words: Iterable[str], *, share: float, seed: int) -> list[str]:
    """Replaces every occurrence of `words` by one mask character in `share` of the texts, chosen by
    `seed`.
    """
    pattern = re.compile("|".join(sorted(map(re.escape, words), key=len, reverse=True)))
    random = np.random.default_rng(seed)
    return [pattern.sub("某", text) if random.random() < share else text for text in texts]
