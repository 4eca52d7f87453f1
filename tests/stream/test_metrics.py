"""Histograms that take a batch at once."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from stream.metrics import BulkHistogram

BUCKETS = (0.1, 0.5, 1.0)


def samples(histogram: Histogram) -> dict[Any, float]:
    """All samples but the time of creation; sums rounded, as the order of adding differs."""
    return {
        (sample.name, *sample.labels.values()): round(sample.value, 6)
        for family in histogram.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@given(st.lists(st.floats(0, 2) | st.sampled_from(BUCKETS)))
def test_a_batch_counts_as_its_values_one_by_one(values: list[float]) -> None:
    single = Histogram("h", "h", buckets=BUCKETS, registry=CollectorRegistry())
    bulk = BulkHistogram("h", "h", buckets=BUCKETS, registry=CollectorRegistry())
    for value in values:
        single.observe(value)
    bulk.observe_all(np.array(values))
    assert samples(bulk) == samples(single)
