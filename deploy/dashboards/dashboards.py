"""The Grafana dashboards as code. Run as a script, it writes the JSON files beside it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).parent
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDE = 24  # columns of Grafana's grid

Query = tuple[str, str]  # PromQL and the legend of its series


@dataclass(frozen=True, slots=True)
class Panel:
    """`unit` is one of Grafana's; `width` counts columns of its grid; `colours` are one below a value and one from it on."""

    title: str
    unit: str
    queries: list[Query]
    kind: Literal["timeseries", "stat", "heatmap"] = "timeseries"
    width: int = 8
    stacked: bool = False
    colours: tuple[str, float, str] | None = None
    description: str = ""

    @property
    def height(self) -> int:
        return 4 if self.kind == "stat" else 8

    def json(self, number: int, x: int, y: int) -> dict[str, Any]:
        defaults: dict[str, Any] = {"unit": self.unit}
        if self.stacked:
            defaults["custom"] = {"stacking": {"mode": "normal"}, "fillOpacity": 40}
        if self.unit == "bool":
            defaults["decimals"] = 0
        if self.colours:
            below, value, above = self.colours
            steps = [{"color": below, "value": None}, {"color": above, "value": value}]
            defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "targets": [
                {
                    "refId": chr(ord("A") + position),
                    "datasource": DATASOURCE,
                    "expr": expression,
                    "legendFormat": legend,
                    **({"format": "heatmap"} if self.kind == "heatmap" else {}),
                }
                for position, (expression, legend) in enumerate(self.queries)
            ],
        }


@dataclass(frozen=True, slots=True)
class Dashboard:
    """`variables` are chosen on top of the page: name and the query that lists their values."""

    name: str
    panels: list[Panel]
    variables: list[tuple[str, str]] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        datasource = {"name": "datasource", "type": "datasource", "query": "prometheus"}
        return {
            "uid": f"fanpulse-{self.name}",
            "title": f"fanpulse: {self.name}",
            "tags": ["fanpulse"],
            "schemaVersion": 39,
            "editable": False,
            "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"},
            "templating": {"list": [datasource, *(_variable(*variable) for variable in self.variables)]},
            "panels": _laid_out(self.panels),
        }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
    }


def _laid_out(panels: list[Panel]) -> list[dict[str, Any]]:
    """Left to right, then down; the panels of a row are of one height."""
    x = y = height = 0
    placed = []
    for number, panel in enumerate(panels, 1):
        if x + panel.width > WIDE:
            x, y = 0, y + height
        placed.append(panel.json(number, x, y))
        x, height = x + panel.width, panel.height
    return placed


def _rate(metric: str, by: str = "", where: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


def _ratio(part: str, whole: str, by: str, where: str = "") -> str:
    return f"{_rate(part, by, where)} / {_rate(whole, by, where)}"


def _quantile(quantile: float, histogram: str, by: str = "le") -> str:
    return f"histogram_quantile({quantile}, {_rate(f'{histogram}_bucket', by)})"


def _quantiles(histogram: str, *quantiles: float) -> list[Query]:
    return [(_quantile(quantile, histogram), f"p{quantile * 100:g}") for quantile in quantiles]


_CACHED = _rate("fanpulse_texts_cached_total", "model")
_SCORED = _rate("fanpulse_texts_scored_total", "model")

PIPELINE = Dashboard(
    "pipeline",
    [
        Panel(
            "Readable within 5 s, last hour",
            "percentunit",
            [("1 - fanpulse:freshness_errors:ratio_rate1h", "")],
            kind="stat",
            width=6,
            colours=("red", 0.99, "green"),
            description="Service level: 99 %.",
        ),
        Panel(
            "Became events, last hour",
            "percentunit",
            [("1 - fanpulse:completeness_errors:ratio_rate1h", "")],
            kind="stat",
            width=6,
            colours=("red", 0.999, "green"),
            description="Service level: 99.9 %; the rest are dead letters.",
        ),
        Panel(
            "Records waiting",
            "short",
            [("fanpulse:lag_records:sum", "")],
            kind="stat",
            width=6,
            colours=("green", 10_000, "red"),
        ),
        Panel(
            "Windows published ago",
            "s",
            [("time() - max(fanpulse_windows_published_timestamp_seconds)", "")],
            kind="stat",
            width=6,
            colours=("green", 60, "red"),
        ),
        Panel(
            "Throughput",
            "cps",
            [
                (_rate("fanpulse_comments_consumed_total"), "taken from Kafka"),
                (_rate("fanpulse_comments_settled_total"), "settled"),
                (_rate("fanpulse_comments_replayed_total"), "replayed"),
            ],
        ),
        Panel(
            "Lag by partition",
            "short",
            [("max by (partition) (fanpulse_lag_records)", "{{partition}}")],
            stacked=True,
        ),
        Panel("Kafka to readable", "s", _quantiles("fanpulse_freshness_seconds", 0.5, 0.95, 0.99)),
        Panel(
            "95 % of batches pass a stage within",
            "s",
            [(_quantile(0.95, "fanpulse_stage_seconds", "le, stage"), "{{stage}}")],
        ),
        Panel("Records in a batch", "short", _quantiles("fanpulse_batch_records", 0.5, 0.95)),
        Panel(
            "Dead letters by reason",
            "cps",
            [(_rate("fanpulse_comments_rejected_total", "reason"), "{{reason}}")],
            stacked=True,
        ),
        Panel(
            "Calls held back",
            "bool",
            [("max by (service) (fanpulse_breaker_open)", "{{service}}")],
            description="The circuit breaker is open.",
        ),
        Panel("Calls tried again", "cps", [(_rate("fanpulse_retries_total", "service"), "{{service}}")]),
        Panel(
            "Texts answered from the cache",
            "percentunit",
            [(f"{_CACHED} / ({_CACHED} + {_SCORED})", "{{model}}")],
        ),
        Panel("Windows published", "cps", [(_rate("fanpulse_windows_published_total"), "windows")]),
        Panel(
            "Partitions by worker", "short", [("fanpulse_assigned_partitions", "{{instance}}")], stacked=True
        ),
        Panel(
            "Seeks back to the fence",
            "cps",
            [(_rate("fanpulse_fence_moved_total", "partition"), "{{partition}}")],
        ),
        Panel(
            "Wait in Triton's queue, mean",
            "µs",
            [
                (
                    _ratio("nv_inference_queue_duration_us", "nv_inference_request_success", "model"),
                    "{{model}}",
                )
            ],
            width=12,
        ),
        Panel(
            "Texts in one run of Triton, mean",
            "short",
            [(_ratio("nv_inference_count", "nv_inference_exec_count", "model"), "{{model}}")],
            width=12,
        ),
    ],
)

_MODEL = 'model="$model"'
_TASK = f'{_MODEL},task="$task"'
_BELOW_70 = _rate("fanpulse_score_bucket", "label", f'{_TASK},le="0.7"')
_BELOW_30 = _rate("fanpulse_score_bucket", "label", f'{_TASK},le="0.3"')
_LABELLED = _rate("fanpulse_comments_labelled_total", "label", _MODEL)
_LABELLED_AT_ALL = _rate("fanpulse_comments_labelled_total", "", _MODEL)
_SHADOW = "version, shadow"
_COMPARED = _rate("fanpulse_shadow_texts_total", _SHADOW, f'{_MODEL},outcome="compared"')
_IN_SHADOW = _rate("fanpulse_shadow_labelled_total", "label, shadow", f'{_MODEL},by="shadow"')
_IN_SERVED = _rate("fanpulse_shadow_labelled_total", "label, shadow", f'{_MODEL},by="served"')
_COMPARED_WITH = _rate("fanpulse_shadow_texts_total", "shadow", f'{_MODEL},outcome="compared"')
_SHARE = f"sum by (version, label) (fanpulse:label_share:rate1h{{{_MODEL}}})"
_SHARE_YESTERDAY = f"sum by (version, label) (fanpulse:label_share:rate1h{{{_MODEL}}} offset 1d)"

MODELS = Dashboard(
    "models",
    [
        Panel(
            "Texts scored by version",
            "cps",
            [(_rate("fanpulse_texts_scored_total", "model, version"), "{{model}}/{{version}}")],
        ),
        Panel(
            "Workers that score with it",
            "short",
            [
                (
                    "count by (model, version) (rate(fanpulse_texts_scored_total[$__rate_interval]) > 0)",
                    "{{model}}/{{version}}",
                )
            ],
        ),
        Panel(
            "Partitions by version",
            "percentunit",
            [
                (
                    f"avg by (version, role) (fanpulse_model_in_service{{{_MODEL}}})",
                    "{{version}} {{role}}",
                )
            ],
            description="Canary share. A shadow scores all partitions and settles none.",
        ),
        Panel(
            "Share of each label",
            "percentunit",
            [(f"{_LABELLED} / ignoring (label) group_left {_LABELLED_AT_ALL}", "{{label}}")],
            width=12,
            stacked=True,
        ),
        Panel(
            "Mean probability of each label",
            "percentunit",
            [(_ratio("fanpulse_score_sum", "fanpulse_score_count", "label", _TASK), "{{label}}")],
            width=12,
        ),
        Panel(
            "Probabilities of $label",
            "cps",
            [(_rate("fanpulse_score_bucket", "le", f'{_TASK},label="$label"'), "{{le}}")],
            kind="heatmap",
            width=12,
        ),
        Panel(
            "Undecided probabilities",
            "percentunit",
            [
                (
                    f"({_BELOW_70} - {_BELOW_30}) / {_rate('fanpulse_score_count', 'label', _TASK)}",
                    "{{label}}",
                )
            ],
            width=12,
            description="Share between 0.3 and 0.7: the higher it stands, the less confident the model.",
        ),
        Panel(
            "Shift of the labels since yesterday",
            "short",
            [("fanpulse:label_shift:psi1d", "{{model}}/{{version}}")],
            description="Population stability index; above 0.25 is a large shift.",
        ),
        Panel(
            "Drift of the scores from the reference",
            "short",
            [
                (
                    f"max by (version, label) (fanpulse_drift_scores{{{_TASK}}})",
                    "{{version}} {{label}}",
                )
            ],
            description="Population stability index in deciles; above 0.25 is a large shift.",
        ),
        Panel(
            "Drift of the labels from the reference",
            "short",
            [
                (
                    f"max by (version, task) (fanpulse_drift_labels{{{_MODEL}}})",
                    "{{version}} {{task}}",
                )
            ],
            description="Population stability index; above 0.25 is a large shift.",
        ),
        Panel(
            "Unknown tokens",
            "percentunit",
            [
                (
                    f"avg by (version, of) (fanpulse_unknown_tokens_ratio{{{_MODEL}}})",
                    "{{version}} {{of}}",
                )
            ],
            description="Mean share of a text's tokens that the tokenizer does not know.",
        ),
        Panel(
            "Texts in the reference",
            "short",
            [
                (
                    f"max by (version) (fanpulse_drift_reference_texts{{{_MODEL}}})",
                    "{{version}}",
                )
            ],
            description="0: this version has none, so its drift is not known.",
        ),
        Panel("Requests refused", "cps", [(_rate("fanpulse_requests_refused_total", "model"), "{{model}}")]),
        Panel(
            "Agreement with the shadow",
            "percentunit",
            [
                (
                    _rate("fanpulse_shadow_agreed_total", _SHADOW, _MODEL) + f" / {_COMPARED}",
                    "{{version}} and {{shadow}}",
                )
            ],
            description="Texts to which both gave exactly the same labels.",
        ),
        Panel(
            "Difference of the scores from the shadow's, mean",
            "percentunit",
            [
                (
                    _ratio(
                        "fanpulse_shadow_score_difference_sum",
                        "fanpulse_shadow_score_difference_count",
                        _SHADOW,
                        _MODEL,
                    ),
                    "{{version}} and {{shadow}}",
                )
            ],
        ),
        Panel(
            "Texts offered to the shadow",
            "cps",
            [(_rate("fanpulse_shadow_texts_total", "outcome", _MODEL), "{{outcome}}")],
            stacked=True,
            description="Dropped: others were waiting. Failed: the shadow gave no scores. Neither delays what is served.",
        ),
        Panel(
            "Shift of each label in the shadow",
            "percentunit",
            [
                (
                    f"({_IN_SHADOW} - {_IN_SERVED}) / on (shadow) group_left {_COMPARED_WITH}",
                    "{{label}} in {{shadow}}",
                )
            ],
            description="Share of the texts that carry the label by the shadow, less the share by what is served.",
        ),
        Panel(
            "Share of each label by version, last hour",
            "percentunit",
            [(_SHARE, "{{version}} {{label}}")],
        ),
        Panel(
            "Share of each label, last hour less a day ago",
            "percentunit",
            [(f"{_SHARE} - {_SHARE_YESTERDAY}", "{{version}} {{label}}")],
        ),
    ],
    [
        ("model", "label_values(fanpulse_score_count, model)"),
        ("task", f"label_values(fanpulse_score_count{{{_MODEL}}}, task)"),
        ("label", f"label_values(fanpulse_score_count{{{_TASK}}}, label)"),
    ],
)


def rendered() -> dict[Path, str]:
    """File and content of every dashboard."""
    return {
        FOLDER / f"{dashboard.name}.json": json.dumps(dashboard.json(), indent=1, ensure_ascii=False) + "\n"
        for dashboard in (PIPELINE, MODELS)
    }


if __name__ == "__main__":
    for path, content in rendered().items():
        path.write_text(content)
