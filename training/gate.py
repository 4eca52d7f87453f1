"""The quality gate between a checkpoint and triton_models: floors of the recipe, and the version it would
replace.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from training.errors import GateError

SLACK = 0.002  # macro-F1; two seeds of one recipe differ by more


def above_floors(dev: Mapping[str, float], floors: Mapping[str, float]) -> None:
    for name, floor in floors.items():
        if name not in dev:
            raise GateError(f"the recipe's floor names {name}, dev has {', '.join(dev)}")
        if dev[name] < floor:
            raise GateError(f"{name} on dev is {dev[name]:.4f}, below the recipe's floor {floor}")


def not_worse(
    new: Mapping[str, Mapping[str, Any]], old: Mapping[str, Mapping[str, Any]], version: int
) -> None:
    """Both tables measured on the same rows; compares the mean macro-F1 over the sets both can be scored
    on.
    """
    shared = [key for key in new if key in old]
    if not shared:
        return
    before, after = (float(np.mean([table[key]["macro_f1"] for key in shared])) for table in (old, new))
    if after < before - SLACK:
        worst = min(shared, key=lambda key: new[key]["macro_f1"] - old[key]["macro_f1"])
        raise GateError(
            f"mean macro-F1 {after:.4f} is below version {version}'s {before:.4f} on the same rows; "
            f"most is lost on {worst}: {old[worst]['macro_f1']:.4f} -> {new[worst]['macro_f1']:.4f}"
        )
