"""A plan is a function of its seed and survives being written down."""

from tests.faults.plan import KINDS, draw, dumps, loads


def test_the_same_seed_draws_the_same_plan_and_it_can_be_read_back() -> None:
    plan = draw(7, minutes=5)
    assert draw(7, minutes=5) == plan != draw(8, minutes=5)
    assert loads(dumps(plan)) == plan


def test_a_long_plan_holds_every_kind_of_fault_before_one_comes_again() -> None:
    kinds = [fault.kind for fault in draw(1, minutes=60)]
    assert set(kinds[: len(KINDS)]) == set(KINDS)
