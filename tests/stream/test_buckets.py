from stream.buckets import settlement
from stream.events import dumps
from tests.stream.examples import NOON_MS, event, scores

NOON = NOON_MS // 1000


def test_a_batch_sums_to_integer_increments_of_minutes_and_hours() -> None:
    first = event(0, scores(anger=0.75))
    second = event(1, scores(joy=0.5), created_at_ms=NOON_MS + 60_000)
    settled = settlement(0, 3, [(first, dumps(first)), (second, dumps(second))], [("", NOON_MS)])
    assert settled.events == [(0, dumps(first)), (1, dumps(second))]
    assert settled.increments == {
        f"m:{NOON}:starlight": {"n": 1, "neg": 1, "negativity": 750_000, "l:anger": 1, "s:anger": 750_000},
        f"m:{NOON + 60}:starlight": {"n": 1, "l:joy": 1, "s:joy": 500_000},
        f"m:{NOON}:": {"rej": 1},
        f"h:{NOON}:starlight": {
            "n": 2, "neg": 1, "negativity": 750_000,
            "l:anger": 1, "l:joy": 1, "s:anger": 750_000, "s:joy": 500_000,
        },
        f"h:{NOON}:": {"rej": 1},
    }  # fmt: skip
    assert settled.authors[f"h:{NOON}:starlight"] == [first["author"]]
