"""Programs that the tests need and the project does not install."""

import os
import shutil

import pytest


def require(*programs: str) -> None:
    """Skip the test, or fail it in CI, where one of `programs` is not on PATH."""
    if missing := [program for program in programs if shutil.which(program) is None]:
        reason = f"not on PATH: {', '.join(missing)}: install Debian's packages of that name"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
