"""What the README says is there."""

import re
from pathlib import Path

import typer.main

from docs.settings import table
from stream import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_no_setting_is_missing_or_out_of_date() -> None:
    assert table() in README


def test_every_link_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_module_in_the_tree_is_there() -> None:
    named = re.findall(r"(?<![*\w])(\w+\.(?:py|lua))\b", README)
    there = {path.name for path in (ROOT / "stream").rglob("*.*")}
    assert [name for name in named if name not in there] == []


def test_every_command_shown_exists() -> None:
    shown = set(re.findall(r"^fanpulse (\w+)", README, flags=re.M))
    group = typer.main.get_command(cli.application())
    assert shown <= set(group.commands)


def test_every_make_target_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"\bmake ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target
