"""Tools that Go builds where they are not installed, and what helm renders."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.required import require

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "fanpulse"
EXAMPLES = ROOT / "deploy" / "helm" / "examples"
TOOLS = ROOT / ".fanpulse" / "tools"
HELM = "helm.sh/helm/v3/cmd/helm@v3.19.2"
COMPOSE_LOADER = "github.com/compose-spec/compose-go/v2/cmd@v2.16.2"  # what `docker compose` reads files with
KUBERNETES = "1.34"

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]


class RenderingError(Exception):
    """What helm says of values that cannot work."""


def built(program: str, module: str) -> Path:
    """`program` from PATH, or built with Go into .fanpulse/tools; skips, or in CI fails, where Go is missing."""
    found = shutil.which(program, path=f"{os.environ['PATH']}:{TOOLS}")
    if found:
        return Path(found)
    require("go")
    subprocess.run(["go", "install", module], env={**os.environ, "GOBIN": str(TOOLS)}, check=True)
    (TOOLS / module.partition("@")[0].rpartition("/")[2]).rename(TOOLS / program)
    return TOOLS / program


@pytest.fixture(scope="session")
def helm() -> Path:
    return built("helm", HELM)


@pytest.fixture(scope="session")
def render(helm: Path) -> Render:
    """`render("minimal", **{"worker.replicas": 3})`: the manifests of an example with values set."""

    def template(example: str, **values: object) -> list[Manifest]:
        settings = [f"--set-json={name}={json.dumps(value)}" for name, value in values.items()]
        chosen = [
            "--namespace=fanpulse",
            f"--kube-version={KUBERNETES}",
            f"--values={EXAMPLES / example}.yaml",
        ]
        command = [helm, "template", "demo", CHART, *chosen, *settings]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RenderingError(done.stderr)
        return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]

    return template
