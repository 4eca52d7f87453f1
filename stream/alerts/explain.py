"""Why an alert fires: the words, posts, comments and authors that set its negative comments apart. Pure."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import log, sqrt

import rjieba

from stream.alerts.alert import Explanation, Post, Representative, Term
from stream.alerts.conditions import Crowd
from stream.events import EmotionEvent

TERMS, POSTS, REPRESENTATIVES, FEW_AUTHORS = 8, 5, 3, 5
_LEAST_COMMENTS = 3  # a word in fewer negative comments explains nothing
_PRIOR_WORDS = 500.0  # the prior weighs as much as this many words
_WORD = re.compile(r"[\u4e00-\u9fff]{2,}|[a-z][a-z'-]{2,}")


def crowd(events: Iterable[EmotionEvent]) -> Crowd:
    """Shares of the negative events by the busiest authors and of the most repeated text; 0 without any."""
    negative = [event for event in events if event.negative]
    authors = Counter(event.author for event in negative if event.author)
    texts = Counter(same(event.text) for event in negative if event.text)
    return Crowd(
        sum(count for _, count in authors.most_common(FEW_AUTHORS)) / max(len(negative), 1),
        max(texts.values(), default=0) / max(len(negative), 1),
    )


def explain(now: Sequence[EmotionEvent], before: Sequence[EmotionEvent]) -> Explanation | None:
    """Compare the negative events of `now` with all those `before`; None where there are no negative ones."""
    negative = [event for event in now if event.negative]
    if not negative:
        return None
    concentration = crowd(negative)
    return Explanation(
        comments=len(now),
        negative=len(negative),
        terms=terms([event.text for event in negative if event.text], [e.text for e in before if e.text]),
        posts=_posts(now),
        representatives=representatives(negative),
        by_few_authors=round(concentration.by_authors, 4),
        by_one_text=round(concentration.by_text, 4),
    )


def terms(now: Sequence[str], before: Sequence[str]) -> list[Term]:
    """Words that are over-represented in `now`, the clearest first.

    Log-odds ratio with an informative Dirichlet prior, in standard deviations: Monroe, Colaresi and Quinn
    (2008), "Fightin' Words", equations 16 and 22. The prior is the word's share in both corpora together.
    A word counts once per comment, so one long rant does not make a topic.
    """
    here, there = Counter[str](), Counter[str]()
    for counts, texts in ((here, now), (there, before)):
        for text in texts:
            counts.update(set(words(text)))
    n_here, n_there = here.total(), there.total()
    scored = []
    for word, count in here.items():
        if count < _LEAST_COMMENTS:
            continue
        prior = _PRIOR_WORDS * (count + there[word]) / (n_here + n_there)
        a, b = count + prior, there[word] + prior
        rest_here = n_here + _PRIOR_WORDS - a
        rest_there = n_there + _PRIOR_WORDS - b
        z = (log(a / rest_here) - log(b / rest_there)) / sqrt(1 / a + 1 / b)
        if z > 0:
            scored.append(Term(term=word, z=round(z, 2), comments=count))
    return sorted(scored, key=lambda term: (-term.z, term.term))[:TERMS]


def words(text: str) -> list[str]:
    """Chinese words of two characters and more and English ones of three."""
    cut: list[str] = rjieba.cut(text.lower())
    return [word for word in cut if _WORD.fullmatch(word)]


def representatives(negative: Sequence[EmotionEvent]) -> list[Representative]:
    """Few comments that stand for many: repeated often or very negative, and unlike those before them."""
    first: dict[str, EmotionEvent] = {}
    copies = Counter[str]()
    for event in negative:
        if event.text and (text := same(event.text)):
            first.setdefault(text, event)
            copies[text] += 1
    weight = {text: event.negativity * (1 + log(copies[text])) for text, event in first.items()}
    pairs = {text: frozenset(map("".join, pairwise(f" {text} "))) for text in first}
    chosen: list[str] = []
    while len(chosen) < min(REPRESENTATIVES, len(first)):
        # Maximal marginal relevance (Carbonell and Goldstein 1998), by overlap of character pairs.
        best = max(first.keys() - set(chosen), key=lambda text: (weight[text], text))
        chosen.append(best)
        for text in first:
            weight[text] *= 1 - len(pairs[text] & pairs[best]) / len(pairs[text] | pairs[best])
    return [_representative(first[text], copies[text]) for text in chosen]


def same(text: str) -> str:
    """What makes two texts copies of each other: letters and digits alone, case and width folded."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum())


def _representative(event: EmotionEvent, copies: int) -> Representative:
    return Representative(
        id=event.id,
        text=event.text or "",
        author=event.author,
        created_at=event.created_at,
        labels=event.labels,
        negativity=event.negativity,
        copies=copies,
    )


def _posts(now: Sequence[EmotionEvent]) -> list[Post]:
    comments = Counter(event.post_id for event in now if event.post_id)
    negative = Counter(event.post_id for event in now if event.post_id and event.negative)
    return [
        Post(post_id=post, comments=comments[post], negative=count)
        for post, count in negative.most_common(POSTS)
    ]
