"""What a worker tells Prometheus. Names follow Prometheus' rules: base units, `_total` for counters."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()


class BulkHistogram(Histogram):
    """A histogram that takes a batch's values at once: one call each would cost more than scoring from cache."""

    def observe_all(self, values: NDArray[np.float64]) -> None:
        """Count every one of `values`, as `observe` would."""
        found = np.searchsorted(self._upper_bounds, values, side="left")
        for place, count in enumerate(np.bincount(found, minlength=len(self._upper_bounds)).tolist()):
            if count:
                self._buckets[place].inc(count)
        self._sum.inc(float(values.sum()))


_STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZE_BUCKETS = (1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096)
_DIFFERENCE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
_SHARE_BUCKETS = tuple(i / 10 for i in range(1, 11))

CONSUMED = Counter(
    "fanpulse_comments_consumed", "Records taken from Kafka.", ["partition"], registry=REGISTRY
)
SETTLED = Counter("fanpulse_comments_settled", "Offsets settled in Redis.", ["partition"], registry=REGISTRY)
REPLAYED = Counter(
    "fanpulse_comments_replayed",
    "Records read again below the fence and left out.",
    ["partition"],
    registry=REGISTRY,
)
REJECTED = Counter("fanpulse_comments_rejected", "Dead letters sent.", ["reason"], registry=REGISTRY)
SCORED = Counter("fanpulse_texts_scored", "Texts scored by Triton.", ["model", "version"], registry=REGISTRY)
CACHED = Counter(
    "fanpulse_texts_cached",
    "Texts answered without Triton: repeats.",
    ["model", "version"],
    registry=REGISTRY,
)
BATCH_RECORDS = Histogram(
    "fanpulse_batch_records", "Records in one settled batch.", buckets=_SIZE_BUCKETS, registry=REGISTRY
)
STAGE_SECONDS = Histogram(
    "fanpulse_stage_seconds",
    "Time a batch spends in a stage: decode, score, enrich, reject, settle.",
    ["stage"],
    buckets=_STAGE_BUCKETS,
    registry=REGISTRY,
)
FRESHNESS_SECONDS = BulkHistogram(
    "fanpulse_freshness_seconds",
    "From the record's Kafka timestamp to readable in Redis, one observation a comment.",
    buckets=_STAGE_BUCKETS,
    registry=REGISTRY,
)
LAG = Gauge(
    "fanpulse_lag_records",
    "Records of an assigned partition not yet settled.",
    ["partition"],
    registry=REGISTRY,
)
ASSIGNED = Gauge("fanpulse_assigned_partitions", "Comment partitions this worker owns.", registry=REGISTRY)
BREAKER_OPEN = Gauge(
    "fanpulse_breaker_open", "1 while calls to the service are held back.", ["service"], registry=REGISTRY
)
RETRIES = Counter("fanpulse_retries", "Calls tried again after a failure.", ["service"], registry=REGISTRY)
REFUSED = Counter(
    "fanpulse_requests_refused",
    "Requests that a model refused and that were bisected.",
    ["model"],
    registry=REGISTRY,
)
FENCE_MOVED = Counter("fanpulse_fence_moved", "Seeks back to the fence.", ["partition"], registry=REGISTRY)
SCORE = BulkHistogram(
    "fanpulse_score",
    "Probabilities by label, one observation a text.",
    ["model", "version", "task", "label"],
    buckets=_SHARE_BUCKETS,
    registry=REGISTRY,
)
LABELLED = Counter(
    "fanpulse_comments_labelled",
    "Comments carrying a label.",
    ["model", "version", "label"],
    registry=REGISTRY,
)
IN_SERVICE = Gauge(
    "fanpulse_model_in_service",
    "Share of the partitions that a version scores, by role: served or canary; a shadow scores all, and settles none.",
    ["model", "version", "role"],
    registry=REGISTRY,
)
SHADOWED = Counter(
    "fanpulse_shadow_texts",
    "Texts offered to a shadow version: compared, dropped because others were waiting, failed.",
    ["model", "version", "shadow", "outcome"],
    registry=REGISTRY,
)
SHADOW_AGREED = Counter(
    "fanpulse_shadow_agreed",
    "Texts to which the served version and its shadow gave the same labels.",
    ["model", "version", "shadow"],
    registry=REGISTRY,
)
SHADOW_DIFFERENCE = BulkHistogram(
    "fanpulse_shadow_score_difference",
    "Mean absolute difference of a text's scores between the served version and its shadow.",
    ["model", "version", "shadow"],
    buckets=_DIFFERENCE_BUCKETS,
    registry=REGISTRY,
)
SHADOW_LABELLED = Counter(
    "fanpulse_shadow_labelled",
    "Texts compared that carry a label, by the served version and by its shadow.",
    ["model", "version", "shadow", "label", "by"],
    registry=REGISTRY,
)
DRIFT_SCORES = Gauge(
    "fanpulse_drift_scores",
    "Population stability index of a label's scores of late, in deciles of the version's reference.",
    ["model", "version", "task", "label"],
    registry=REGISTRY,
)
DRIFT_LABELS = Gauge(
    "fanpulse_drift_labels",
    "Population stability index of a task's labels of late, against the version's reference.",
    ["model", "version", "task"],
    registry=REGISTRY,
)
UNKNOWN_TOKENS = Gauge(
    "fanpulse_unknown_tokens_ratio",
    "Mean share of a text's tokens that the tokenizer does not know: of late, and in the version's reference.",
    ["model", "version", "of"],
    registry=REGISTRY,
)
REFERENCE_TEXTS = Gauge(
    "fanpulse_drift_reference_texts",
    "Texts in the version's reference; 0 where it has none, and then there is no drift to see.",
    ["model", "version"],
    registry=REGISTRY,
)
WINDOWS_PUBLISHED = Counter("fanpulse_windows_published", "Rolling windows written.", registry=REGISTRY)
WINDOWS_PUBLISHED_AT = Gauge(
    "fanpulse_windows_published_timestamp_seconds",
    "When windows were last published, Unix time.",
    registry=REGISTRY,
)


def begin(partitions: Iterable[int]) -> None:
    """Show the counters of `partitions` as zero: a rate needs a beginning, and nothing happened is an answer."""
    for partition in partitions:
        for counter in (CONSUMED, SETTLED, REPLAYED, FENCE_MOVED):
            counter.labels(partition)
