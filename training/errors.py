"""What can go wrong between rows and a model folder, one leaf per reaction of the person at the terminal.

TrainingError
├── RecipeError      correct the recipe or the override it names
├── DataError        correct the file (and line) it names
├── LeakError        drop or allow, by name, the sources it names
├── CheckpointError  start a fresh run folder, or take the recipe the checkpoint came from
├── ParityError      the exported graph disagrees with the trained model: do not ship it
└── GateError        the export is worse than what it would replace, or than the recipe's floor
"""

from pathlib import Path


class TrainingError(Exception):
    """Printed without a traceback by the command line."""


class RecipeError(TrainingError):
    pass


class DataError(TrainingError):
    def __init__(self, path: Path, problem: str, *, line: int | None = None) -> None:
        self.path, self.line = path, line
        where = f"{path}, line {line}" if line is not None else str(path)
        super().__init__(f"{where}: {problem}")


class LeakError(TrainingError):
    pass


class CheckpointError(TrainingError):
    pass


class ParityError(TrainingError):
    pass


class GateError(TrainingError):
    pass
