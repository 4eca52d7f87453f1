from datetime import UTC, datetime
from pathlib import Path

import pytest

from stream.alerts.rules_file import DEFAULT_RULES, load
from stream.errors import ConfigurationError
from tests.stream.alerts.examples import rule, rules_file

GOOD = """
[[rule]]
name = "sour"
kind = "threshold"
at_least = 0.5
"""


def test_the_default_rules_are_valid():
    assert load(DEFAULT_RULES).rule[0].name == "turning-sour"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (GOOD + "at_lest = 1", ["rule 'sour'", "at_lest"]),
        (GOOD.replace("0.5", "1.5"), ["rule 'sour'", "at_least"]),
        (GOOD + 'for = "five minutes"', ["rule 'sour'", "for", '"5m"']),
        (GOOD + 'window = "3h"', ["rule 'sour'", "window"]),
        (GOOD + 'of = "rage"', ["rule 'sour'", "of"]),
        (
            GOOD + 'quiet = [{from = "23:00", until = "07:00", zone = "Mars/Base"}]',
            ["rule 'sour'", "quiet.0.zone"],
        ),
        (GOOD.replace("threshold", "treshold"), ["rule 'sour'", "treshold"]),
        ('[[rule]]\nkind = "week"', ["rule 'number 1'", "name"]),
        (GOOD + GOOD, ["names repeat", "sour"]),
        (GOOD + 'channels = ["ops"]', ["rule 'sour'", "channels", "ops"]),
        (GOOD + '[[channel]]\nname = "ops"\nkind = "webhook"\nurl = "nowhere"', ["channel 'ops'", "url"]),
        (
            GOOD
            + '[[channel]]\nname = "ops"\nkind = "webhook"\nurl = "https://e.org"\nsecret_env = "MISSING"',
            ["channel 'ops'", "secret_env", "MISSING"],
        ),
        ("rule = 3", ["rule"]),
        ("[[rule", ["rules.toml"]),
    ],
)
def test_what_is_wrong_is_named_by_rule_and_field(tmp_path: Path, text: str, named: list[str]):
    with pytest.raises(ConfigurationError) as error:
        load(rules_file(tmp_path, text), {})
    assert all(part in str(error.value) for part in named), str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"gone\.toml"):
        load(tmp_path / "gone.toml")


def test_rules_watch_communities_by_name_and_pattern():
    some = rule(kind="week", communities=["star*", "lighthouse"])
    assert some.watches("starlight")
    assert some.watches("lighthouse")
    assert not some.watches("lighthouses")


def test_quiet_hours_run_over_midnight_in_their_own_time_zone():
    quiet = rule(kind="week", quiet=[{"from": "23:00", "until": "07:00", "zone": "Asia/Shanghai"}])
    assert quiet.is_muted(datetime(2026, 1, 1, 15, 0, tzinfo=UTC))  # 23:00 in Shanghai
    assert quiet.is_muted(datetime(2026, 1, 1, 22, 59, tzinfo=UTC))
    assert not quiet.is_muted(datetime(2026, 1, 1, 23, 0, tzinfo=UTC))
    assert not quiet.is_muted(datetime(2026, 1, 1, 14, 59, tzinfo=UTC))


def test_a_mute_ends_at_its_moment():
    muted = rule(kind="week", mute_until="2026-01-02T00:00:00Z")
    assert muted.is_muted(datetime(2026, 1, 1, 23, 59, tzinfo=UTC))
    assert not muted.is_muted(datetime(2026, 1, 2, tzinfo=UTC))
