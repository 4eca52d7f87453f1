"""What is in the data before a model sees it: counts, lengths, repeats within and across splits, give-aways.

Texts are compared after removing what reposts change (case, spaces, punctuation, links, mentions). Near
copies are found by MinHash (Broder, 1997) over character 4-grams and confirmed by their true Jaccard
similarity.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from datasketch import MinHash, MinHashLSH

from training.errors import LeakError
from training.labels import Task
from training.markdown import table
from training.masking import EMOTICON
from training.recipe import Source
from training.rows import Rows, known

SIMILAR = 0.8
SHINGLE = 4
SHORTEST = 10  # characters left after normalizing; shorter posts coincide without being copies
PERMUTATIONS = 48
NOISE = re.compile(r"https?://\S+|//@|@[\w\-]+|\W|_")
GIVEAWAY_ROWS = 20
GIVEAWAY_SHARE = 0.97


class Copy(NamedTuple):
    """A train row that nearly repeats a held-out one; both are row numbers of their splits."""

    train: int
    split: str
    held_out: int


def normalized(text: str) -> str:
    return NOISE.sub("", unicodedata.normalize("NFKC", text).lower())


def shingles(text: str) -> set[bytes]:
    return {text[at : at + SHINGLE].encode() for at in range(max(1, len(text) - SHINGLE + 1))}


def copies(splits: Mapping[str, Rows]) -> list[Copy]:
    """Every train row with a near copy among dev or test rows, with the first such copy found."""
    held = [(split, row, text) for split in ("dev", "test") for row, text in enumerate(splits[split].texts)]
    clean = [normalized(text) for _, _, text in held]
    exact = {text: at for at, text in reversed(list(enumerate(clean))) if text}
    index = MinHashLSH(threshold=SIMILAR, num_perm=PERMUTATIONS)
    with index.insertion_session() as session:
        for at, sketch in _sketches(clean):
            session.insert(at, sketch)
    train = [normalized(text) for text in splits["train"].texts]
    found: dict[int, int] = {row: exact[text] for row, text in enumerate(train) if text in exact}
    for row, sketch in _sketches(["" if row in found else text for row, text in enumerate(train)]):
        mine = shingles(train[row])
        for at in sorted(index.query(sketch)):
            theirs = shingles(clean[at])
            if len(mine & theirs) >= SIMILAR * len(mine | theirs):
                found[row] = at
                break
    return [Copy(row, held[at][0], held[at][1]) for row, at in sorted(found.items())]


def _sketches(texts: Sequence[str]) -> Iterable[tuple[int, MinHash]]:
    long = [at for at, text in enumerate(texts) if len(text) >= SHORTEST]
    sketches = MinHash.generator((shingles(texts[at]) for at in long), num_perm=PERMUTATIONS)
    return zip(long, sketches, strict=True)


def settle_leaks(
    splits: Mapping[str, Rows], sources: Sequence[Source], found: Sequence[Copy]
) -> dict[str, Rows]:
    """Drops train rows of the sources that say so; raises LeakError naming those that neither drop nor
    allow.
    """
    policy = {source.name: source.leaks for source in sources}
    leaking = Counter(splits["train"].sources[copy.train] for copy in found)
    stopping = {name: count for name, count in leaking.items() if policy[name] == "stop"}
    if stopping:
        names = ", ".join(f"{name} ({count} rows)" for name, count in stopping.items())
        raise LeakError(
            f"train rows nearly repeat held-out ones in {names}; remove them with "
            "--set source.NAME.leaks=drop, or keep them knowingly with --set source.NAME.leaks=allow"
        )
    gone = {copy.train for copy in found if policy[splits["train"].sources[copy.train]] == "drop"}
    return {
        **splits,
        "train": splits["train"].select(row for row in range(len(splits["train"])) if row not in gone),
    }


def giveaways(rows: Rows, name: str, task: Task) -> dict[str, Any]:
    """Bracketed emoticons that almost only stand beside one label, and the share of rows they decide."""
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    said = np.flatnonzero(known(rows.targets[name]))
    decided = [(row, set(EMOTICON.findall(rows.texts[row]))) for row in said]
    for row, tokens in decided:
        for label in np.flatnonzero(rows.targets[name][row] >= 0.5):
            for token in tokens:
                labels[token][task.labels[label]] += 1
    telling = {
        token: label
        for token, counts in labels.items()
        for label, count in counts.most_common(1)
        if counts.total() >= GIVEAWAY_ROWS and count >= GIVEAWAY_SHARE * counts.total()
    }
    rows_with = sum(1 for _, tokens in decided if tokens & telling.keys())
    return {"tokens": telling, "share_of_rows": rows_with / max(len(decided), 1)}


def report(splits: Mapping[str, Rows], found: Sequence[Copy], heads: Mapping[str, Task]) -> dict[str, Any]:
    """JSON-ready: per split and source rows, lengths in characters, repeats and label counts; then leaks."""
    page: dict[str, Any] = {"rows": {}, "give_aways": {}}
    for split, rows in splits.items():
        page["rows"][split] = {name: _describe(rows.of(name), heads) for name in sorted(set(rows.sources))}
    for name, task in heads.items():
        telling = giveaways(splits["train"], name, task)
        if telling["tokens"]:
            page["give_aways"][name] = telling
    pairs = Counter(
        (splits["train"].sources[copy.train], copy.split, splits[copy.split].sources[copy.held_out])
        for copy in found
    )
    page["near_copies"] = [
        {"train": train, "split": split, "of": of, "rows": count}
        for (train, split, of), count in pairs.most_common()
    ]
    return page


def _describe(rows: Rows, heads: Mapping[str, Task]) -> dict[str, Any]:
    lengths = [len(text) for text in rows.texts]
    repeats = Counter(map(normalized, rows.texts))
    return {
        "rows": len(rows),
        "repeated": sum(count - 1 for count in repeats.values()),
        "characters": dict(
            zip(("median", "p95", "most"), map(int, np.percentile(lengths, (50, 95, 100))), strict=True)
        ),
        "labels": {
            name: {
                label: round(float(count))
                for label, count in zip(task.labels, np.nansum(rows.targets[name], axis=0), strict=True)
                if count
            }
            for name, task in heads.items()
            if known(rows.targets[name]).any()
        },
    }


def markdown(found: Mapping[str, Any]) -> str:
    """The report as a page."""
    sets = (
        (split, name, row["rows"], row["repeated"], row["characters"]["median"], _counts(row["labels"]))
        for split, sources in found["rows"].items()
        for name, row in sources.items()
    )
    leaks = ((leak["train"], leak["split"], leak["of"], leak["rows"]) for leak in found["near_copies"])
    telling = (
        (task, len(what["tokens"]), f"{what['share_of_rows']:.1%}")
        for task, what in found["give_aways"].items()
    )
    return "\n\n".join(
        [
            "# Data report",
            table(("split", "set", "rows", "repeated", "median length", "labels"), sets),
            "## Near copies across splits",
            table(("train set", "repeats", "of set", "train rows"), leaks),
            "## Bracketed emoticons that name the label (`mask_emoticons` removes them)",
            table(("task", "emoticons", "rows that have one"), telling) + "\n",
        ]
    )


def _counts(labels: Mapping[str, Mapping[str, int]]) -> str:
    return "; ".join(
        f"{task}: " + ", ".join(f"{k} {n}" for k, n in of.items()) for task, of in labels.items()
    )
