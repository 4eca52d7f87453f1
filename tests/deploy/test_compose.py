"""The compose files are what `docker compose` reads, and say what they promise."""

import json
import re
import subprocess
from typing import Any

import pytest
import yaml

from stream.settings import Settings
from tests.deploy.conftest import COMPOSE_LOADER, ROOT, built

COMPOSE = ROOT / "deploy" / "compose.yaml"
GPU = ROOT / "deploy" / "compose.gpu.yaml"
OURS = {"topics", "worker", "alerts", "board"}

Services = dict[str, Any]


@pytest.fixture(scope="session")
def services() -> Services:
    return _loaded(COMPOSE)["services"]


def _loaded(*files: Any) -> dict[str, Any]:
    loader = built("compose-loader", COMPOSE_LOADER)
    command = [loader, "-no-interpolation", "-format", "json", *files]
    done = subprocess.run(command, cwd=COMPOSE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_gpu_file_changes_triton_alone(services: Services) -> None:
    both = _loaded(COMPOSE, GPU)["services"]
    assert {name for name in both if both[name] != services[name]} == {"triton"}
    assert both["triton"]["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert both["triton"]["build"]["dockerfile"].endswith("triton.Dockerfile")


def test_every_image_built_has_its_dockerfile(services: Services) -> None:
    builds = [service["build"] for service in services.values() if "build" in service]
    assert {build["context"] for build in builds} == {str(ROOT)}
    built_here = {build["dockerfile"] for build in builds}
    assert built_here == {"deploy/images/worker.Dockerfile", "deploy/images/triton-cpu.Dockerfile"}
    for path in built_here:
        assert (ROOT / path).is_file()


def test_everyone_waits_until_what_he_needs_is_healthy(services: Services) -> None:
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            finished = how["condition"] == "service_completed_successfully"
            assert finished or "healthcheck" in services[needed], (
                f"{name} waits for {needed}, which has no check"
            )
    assert services["worker"]["depends_on"].keys() == {"topics", "redis", "triton"}
    assert services["topics"]["depends_on"].keys() == {"kafka"}


def test_our_containers_have_no_rights_they_do_not_need(services: Services) -> None:
    for name in (*OURS, "triton"):
        service = services[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_every_variable_is_a_setting_of_the_program(services: Services) -> None:
    known = {f"FANPULSE_{name.upper()}" for name in Settings.model_fields}
    for name in OURS:
        assert set(services[name]["environment"]) <= known


def test_the_worker_is_given_longer_to_stop_than_it_drains(services: Services) -> None:
    grace_s = int(services["worker"]["stop_grace_period"].removesuffix("s").replace("1m0", "60"))
    assert grace_s > Settings.model_fields["drain_s"].default


def test_no_secret_has_a_default_and_only_loopback_is_published(services: Services) -> None:
    text = COMPOSE.read_text()
    assert set(re.findall(r"\$\{(\w+):\?", text)) == {"FANPULSE_PSEUDONYM_KEY", "FANPULSE_BOARD_TOKEN"}
    assert not re.search(r"\$\{\w+:?-", text)
    for service in services.values():
        for port in service.get("ports", []):
            assert str(port).startswith("127.0.0.1:") or port["host_ip"] == "127.0.0.1"


def test_prometheus_and_grafana_read_the_files_of_this_repository() -> None:
    configs = yaml.safe_load(COMPOSE.read_text())["configs"]
    files = {config["file"] for config in configs.values() if "file" in config}
    assert files == {"prometheus/fanpulse.rules.yaml", "dashboards/pipeline.json", "dashboards/models.json"}
    for path in files:
        assert (COMPOSE.parent / path).is_file()
    jobs = yaml.safe_load(configs["prometheus"]["content"])["scrape_configs"]
    assert {job["dns_sd_configs"][0]["port"] for job in jobs} == {6066, 8002}
