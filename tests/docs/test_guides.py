import inspect
from pathlib import Path
from typing import get_args

import pytest

from stream.alerts.cli import app
from stream.alerts.rules import Channel, Rule
from stream.client import Fanpulse

DOCS = Path(__file__).parents[2] / "docs"
ALERTS = (DOCS / "alerts.md").read_text(encoding="utf-8")
CLIENT = (DOCS / "client.md").read_text(encoding="utf-8")


def _fields(union: object) -> set[tuple[str, str]]:
    models = get_args(get_args(union)[0])
    return {
        (model.__name__, field.alias or name)
        for model in models
        for name, field in model.model_fields.items()
    }


@pytest.mark.parametrize(("model", "field"), sorted(_fields(Rule) | _fields(Channel)))
def test_the_guide_names_every_field_of_rules_and_channels(model: str, field: str):
    assert f"`{field}`" in ALERTS or f"\n{field} = " in ALERTS, f"{model}.{field}"


def test_the_guide_names_every_command():
    for command in app.registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        assert f"`fanpulse alerts {name}" in ALERTS


def test_the_guide_names_every_question_and_subscription_of_the_client():
    for name, _ in inspect.getmembers(Fanpulse, inspect.isfunction):
        assert name.startswith("_") or f"`fp.{name}(" in CLIENT, name
