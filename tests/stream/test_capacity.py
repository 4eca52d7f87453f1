"""Sizing follows from the measured costs alone, and grows with what it is asked for."""

from dataclasses import asdict, replace
from math import isclose

import orjson
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from stream.capacity import CORE_USED, DISK_USED, REDIS_USED, Cost, Load, Measured, Sketch, needs
from stream.cli import application

ONE_MS = Cost(fixed=0.0, per_character=0.00001)  # a millisecond at 100 characters
MEASURED = Measured(
    worker_s=ONE_MS,
    redis_s=Cost(fixed=0.00002, per_character=0),
    triton_cpu_s=Cost(fixed=0.001, per_character=0),
    event_bytes=Cost(fixed=400, per_character=3),
    record_bytes=Cost(fixed=100, per_character=3),
    bucket_bytes=1000,
    sketch_bytes=Sketch(empty=100, per_author=2, full=12_000),
)
LOAD = Load(
    rate=6000,
    length=100,
    communities=100,
    repeats=0.0,
    homes=1,
    events_kept=100_000,
    minutes_kept=180,
    hours_kept=360,
    retention_h=24,
    copies=3,
)


def amounts(load: Load, measured: Measured = MEASURED) -> dict[str, float]:
    return {need.name: need.amount for need in needs(load, measured)}


def test_each_figure_is_what_its_formula_says() -> None:
    found = amounts(LOAD)
    assert found["workers"] == 6000 * 0.001 / CORE_USED == 10
    assert found["partitions"] == 32
    assert found["Triton CPU cores"] == 10
    assert found["Redis masters"] == 1
    assert isclose(found["Redis events"], 32 * 100_000 * 700 / 1e9)
    # 3,600 authors a minute and community fill a sketch to 7,300 bytes, an hour's to its full size
    assert isclose(found["Redis buckets"], 100 * (180 * (1000 + 7300) + 360 * (1000 + 12_000)) / 1e9)
    assert isclose(found["Redis memory"], (found["Redis events"] + found["Redis buckets"]) / REDIS_USED)
    assert isclose(found["Kafka disk"], 6000 * 400 * 86_400 * 3 / DISK_USED / 1e9)


def test_gpus_take_the_place_of_cores_where_their_rate_is_known() -> None:
    found = amounts(replace(LOAD, gpu_rate=2500, repeats=0.5))
    assert found["GPUs"] == 3000 / 2500 / CORE_USED == 2
    assert "Triton CPU cores" not in found


@given(
    rate=st.floats(1, 1e6),
    length=st.floats(1, 10_000),
    more=st.floats(1, 10),
    grown=st.sampled_from(["rate", "length", "communities", "retention_h", "copies", "events_kept"]),
)
def test_more_of_anything_never_needs_less(rate: float, length: float, more: float, grown: str) -> None:
    load = replace(LOAD, rate=rate, length=length)
    larger = replace(load, **{grown: asdict(load)[grown] * more})
    before, after = amounts(load), amounts(larger)
    assert all(after[name] >= before[name] * (1 - 1e-9) for name in before)


def test_a_line_goes_through_both_points_measured() -> None:
    line = Cost.through((20, 5.0), (100, 9.0))
    assert isclose(line.at(20), 5.0)
    assert isclose(line.at(100), 9.0)


def test_the_command_reads_the_costs_that_were_measured() -> None:
    arguments = ["capacity", "--rate", "10000", "--length", "60"]
    said = CliRunner().invoke(application(), [*arguments, "--json"])
    assert said.exit_code == 0, said.output
    found = {need["name"]: need for need in orjson.loads(said.output)}
    assert found["workers"]["amount"] >= 1
    assert found["partitions"]["amount"] >= found["workers"]["amount"]
    assert CliRunner().invoke(application(), arguments).output.count("workers") >= 2
