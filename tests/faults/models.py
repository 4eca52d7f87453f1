"""The tiny model in versions whose scores differ, so that a mixture of two would be seen."""

from pathlib import Path

import onnx
from onnx import numpy_helper

from tests import tiny_model

_MOST_VERSIONS = 5  # each has a process of its own in Triton


class Models:
    """The model folder in `repository`, with two versions at first."""

    def __init__(self, repository: Path) -> None:
        self.name = tiny_model.NAME
        self.repository = repository
        self._newest = 2
        self._write()

    @property
    def versions(self) -> list[str]:
        return [str(number) for number in range(1, self._newest + 1)]

    def add(self) -> None:
        """Write one more version, up to a bound, and the config that names it."""
        self._newest = min(self._newest + 1, _MOST_VERSIONS)
        self._write()

    def _write(self) -> None:
        folder = tiny_model.write(self.repository, versions=tuple(map(int, self.versions)))
        for version in self.versions:
            file = folder / version / "model.onnx"
            model = onnx.load(str(file))
            for constant in model.graph.initializer:
                if constant.name == "four":
                    moved = numpy_helper.to_array(constant) + (int(version) - 1) / 4
                    constant.CopyFrom(numpy_helper.from_array(moved.astype("float32"), "four"))
            onnx.save(model, str(file))
