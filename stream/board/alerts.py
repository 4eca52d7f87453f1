"""An alert as the page shows it: its changes, which come one by one, put together."""

from typing import Any

from stream.alerts.alert import Alert

ShownAlert = dict[str, Any]


def shown(change: Alert, known: ShownAlert | None) -> ShownAlert:
    """What is known of an alert after one more change; times in epoch s. A resolution keeps the reasons."""
    at = change.at.timestamp()
    if change.state == "resolved" and known is not None:
        return known | {"state": "resolved", "until": at}
    return {
        "id": change.id,
        "rule": change.rule,
        "community": change.community,
        "severity": change.severity,
        "state": change.state,
        "at": at,
        "until": at if change.state == "resolved" else None,
        "summary": change.summary,
        "explanation": change.explanation.model_dump(mode="json") if change.explanation else None,
    }
