"""Prints the README's settings table, made from `stream.settings.Settings`: `python -m docs.settings`."""

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from stream.settings import Settings


def table() -> str:
    """Markdown: one row a setting."""
    rows = [
        f"| `FANPULSE_{name.upper()}` | {_default(field)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | what it sets |", "| --- | --- | --- |", *rows])


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value == ():
        return ""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return f"`{value}`"


if __name__ == "__main__":
    print(table())
