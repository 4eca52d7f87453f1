"""A real Kubernetes API server takes what the chart renders, into a namespace of the restricted standard."""

import copy
import json
import warnings
from collections.abc import AsyncIterator

import pytest

from tests.deploy.apiserver import Answer, ApiServer, Etcd, build, module_folder
from tests.deploy.conftest import Manifest, Render
from tests.deploy.test_chart import ALL
from tests.stream.deployment import until

pytestmark = pytest.mark.timeout(3600)  # the first test waits for Go
NAMESPACE = "fanpulse"
DEFINITIONS = {
    "github.com/kedacore/keda/v2@v2.18.1": "config/crd/bases/keda.sh_*.yaml",
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "example/prometheus-operator-crd/monitoring.coreos.com_*.yaml"
    ),
}
UNDEFINED = {"KafkaTopic", "KafkaUser"}  # Strimzi publishes its definitions in no module or jar


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiServer]:
    """Knows KEDA's and Prometheus' kinds; its one namespace is restricted."""
    build()
    folder = tmp_path_factory.mktemp("kubernetes")
    async with Etcd(folder / "etcd") as etcd, ApiServer(folder / "apiserver", etcd) as server:
        level = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": level},
        }
        await _created(server, "/api/v1/namespaces", json.dumps(namespace))
        definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for module, pattern in DEFINITIONS.items():
            for path in module_folder(module).glob(pattern):
                await _created(server, definitions, path.read_text())
        yield server


async def _created(server: ApiServer, path: str, body: str) -> None:
    status, said, _ = await server.ask("POST", path, body)
    assert status == 201, said


async def apply(server: ApiServer, manifest: Manifest) -> Answer:
    """A server-side apply that changes nothing; unknown and repeated fields are errors."""
    group, kind = manifest["apiVersion"], manifest["kind"]
    root = f"/apis/{group}" if "/" in group else f"/api/{group}"

    async def plural() -> str | None:  # a definition is served a moment after it is made
        _, found, _ = await server.ask("GET", root)
        return next((r["name"] for r in found.get("resources", []) if r["kind"] == kind), None)

    path = f"{root}/namespaces/{NAMESPACE}/{await until(plural)}/{manifest['metadata']['name']}"
    return await server.ask(
        "PATCH", path, json.dumps(manifest), dryRun="All", fieldManager="helm", fieldValidation="Strict"
    )


def with_pods(manifests: list[Manifest]) -> list[Manifest]:
    """And a pod of each template: only pods are refused for what they may do, their owners are warned of."""
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": manifest["metadata"]["name"], **manifest["spec"]["template"]["metadata"]},
            "spec": manifest["spec"]["template"]["spec"],
        }
        for manifest in manifests
        if manifest["kind"] in {"Deployment", "Job"}
    ]
    return [*manifests, *pods]


@pytest.mark.parametrize("example", ALL)
async def test_every_manifest_is_taken_without_a_warning(
    render: Render, server: ApiServer, example: str
) -> None:
    refused = {}
    taken = 0
    for manifest in with_pods(render(example)):
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        if kind in UNDEFINED:
            warnings.warn(f"not checked, for want of a definition: {kind} {name}", stacklevel=1)
            continue
        status, said, warned = await apply(server, manifest)
        if status in (200, 201) and not warned:
            taken += 1
        else:
            refused[f"{kind} {name}"] = (said["message"] if status >= 400 else status, *warned)
    assert not refused
    assert taken > 10


async def test_a_pod_that_may_do_more_than_the_standard_allows_is_refused(
    render: Render, server: ApiServer
) -> None:
    pod = next(m for m in with_pods(render("minimal")) if m["kind"] == "Pod")
    curious = copy.deepcopy(pod)
    curious["spec"]["hostPID"] = True
    assert (await apply(server, pod))[0] == 201
    status, said, _ = await apply(server, curious)
    assert status == 403
    assert "restricted" in said["message"]


async def test_a_field_that_a_custom_resource_does_not_have_is_refused(
    render: Render, server: ApiServer
) -> None:
    scaled = next(m for m in render("production") if m["kind"] == "ScaledObject")
    scaled["spec"]["maxReplicas"] = 64
    status, said, _ = await apply(server, scaled)
    assert status >= 400
    assert "maxReplicas: field not declared in schema" in said["message"]
