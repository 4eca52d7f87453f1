"""The chart renders what Kubernetes accepts, what it promises, and nothing from values that cannot work."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from stream.settings import Settings
from tests.deploy.conftest import CHART, EXAMPLES, KUBERNETES, ROOT, Manifest, Render, RenderingError

# Custom resources; Kubernetes' own schemas do not know them.
CUSTOM = {
    "KafkaTopic",
    "KafkaUser",
    "PrometheusRule",
    "ScaledObject",
    "ServiceMonitor",
    "TriggerAuthentication",
}
ALL = sorted(path.stem for path in EXAMPLES.glob("*.yaml"))
OURS = {"worker", "alerts", "board", "topics"}  # pods of our own image
CHECKOV = "checkov==3.3.30"

examples = pytest.mark.parametrize("example", ALL)


def one(manifests: list[Manifest], kind: str, part: str) -> Any:
    found = [m for m in manifests if m["kind"] == kind and m["metadata"]["name"] == f"demo-fanpulse-{part}"]
    assert len(found) == 1, f"{len(found)} {kind} {part}"
    return found[0]


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Any]]:
    """Part and pod spec of everything that runs."""
    for manifest in manifests:
        if manifest["kind"] in {"Deployment", "Job"}:
            template = manifest["spec"]["template"]
            yield template["metadata"]["labels"]["app.kubernetes.io/component"], template["spec"]


def environment(pod: Any) -> dict[str, Any]:
    return {entry["name"]: entry for entry in pod["containers"][0].get("env", [])}


@examples
def test_every_manifest_is_valid_by_kubernetes_strict_schemas(render: Render, example: str) -> None:
    manifests = render(example)
    validated = 0
    for manifest in manifests:
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
            validated += 1
    assert validated > 8


@examples
def test_helm_lint_finds_nothing(helm: Path, example: str) -> None:
    values = EXAMPLES / f"{example}.yaml"
    command = [helm, "lint", "--strict", CHART, "--values", values, "--kube-version", KUBERNETES]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "[ERROR]" not in done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout + done.stderr


@pytest.mark.timeout(600)
@pytest.mark.parametrize("framework", ["kubernetes", "dockerfile"])
def test_the_policy_scanner_finds_nothing_unexplained(render: Render, tmp_path: Path, framework: str) -> None:
    target = ROOT / "deploy" / "images"
    if framework == "kubernetes":
        target = tmp_path
        for example in ALL:
            for number, manifest in enumerate(render(example, **_pinned())):
                (tmp_path / f"{example}-{number}.json").write_text(json.dumps(manifest))
    uv = Path(sys.executable).parent / "uv"
    scan = [
        "--framework",
        framework,
        "--directory",
        target,
        "--config-file",
        ROOT / "deploy" / "checkov.yaml",
    ]
    command = [uv, "tool", "run", "--python", "3.11", CHECKOV, *scan, "--skip-download", "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert report["summary"]["passed"] > 100
    failures = report["results"]["failed_checks"]
    assert not failures, [(failure["check_id"], failure["resource"]) for failure in failures]


def _pinned() -> dict[str, object]:
    digest = "sha256:" + "0" * 64
    return {"image.digest": digest, "triton.image.digest": digest}


def test_the_schema_knows_every_setting_of_the_program() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(schema["properties"]["settings"]["properties"]) == set(Settings.model_fields)


@examples
def test_every_variable_is_a_setting_of_the_program(render: Render, example: str) -> None:
    known = {f"FANPULSE_{name.upper()}" for name in Settings.model_fields}
    for part, pod in pods(render(example)):
        if part in OURS:
            assert set(environment(pod)) <= known


def test_the_worker_accepts_the_settings_that_the_chart_gives_it(
    render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    secret = {"FANPULSE_REDIS_URL": "rediss://fanpulse:secret@redis.example.com:6379/0"}
    for name, entry in environment(dict(pods(render("production")))["worker"]).items():
        value = entry.get("value") or secret.get(name, "a-secret-of-sixteen-or-more")
        if name.endswith("_FILE"):
            Path("ca.crt").touch()
            value = "ca.crt"
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.profile == "production"
    assert settings.kafka_url.count(":9093") == 3
    assert settings.kafka_sasl_mechanism == "SCRAM-SHA-512"
    assert settings.redis_cluster
    assert settings.models == {"zh": "emotion_zh", "en": "emotion_en"}
    assert settings.batch_records == 2048
    assert not settings.include_text


@examples
def test_every_pod_meets_the_restricted_standard(render: Render, example: str) -> None:
    for _, pod in pods(render(example)):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {"requests", "limits"} <= set(container["resources"])


@examples
def test_service_names_do_not_become_settings(render: Render, example: str) -> None:
    for _, pod in pods(render(example)):
        assert pod["enableServiceLinks"] is False


@examples
def test_secrets_are_only_referred_to(render: Render, example: str) -> None:
    manifests = render(example)
    assert "Secret" not in {manifest["kind"] for manifest in manifests}
    for _, pod in pods(manifests):
        for name, entry in environment(pod).items():
            if name.endswith(("_PASSWORD", "_USERNAME", "_TOKEN", "_KEY", "REDIS_URL")):
                assert "secretKeyRef" in entry["valueFrom"], name


def test_only_those_who_talk_to_kafka_hold_its_credentials(render: Render) -> None:
    holders = {
        part for part, pod in pods(render("production")) if "FANPULSE_KAFKA_PASSWORD" in environment(pod)
    }
    assert holders == {"worker", "topics"}


@pytest.mark.parametrize(("drain", "slowest"), [(20, 30), (120, 300)])
def test_a_worker_is_given_longer_to_stop_than_drain_and_slowest_batch(
    render: Render, drain: int, slowest: int
) -> None:
    values = {"worker.drainSeconds": drain, "worker.slowestBatchSeconds": slowest}
    pod = dict(pods(render("minimal", **values)))["worker"]
    assert pod["terminationGracePeriodSeconds"] > drain + slowest
    assert environment(pod)["FANPULSE_DRAIN_S"]["value"] == str(drain)


def test_a_worker_is_started_and_found_alive_and_ready_by_its_own_endpoints(render: Render) -> None:
    container = dict(pods(render("minimal")))["worker"]["containers"][0]
    assert container["livenessProbe"]["httpGet"] == {"path": "/live", "port": "web"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "web"}
    assert container["startupProbe"]["httpGet"] == {"path": "/live", "port": "web"}
    assert container["ports"] == [{"name": "web", "containerPort": 6066}]


def test_each_part_has_the_redis_user_of_its_own_where_the_secret_has_one(render: Render) -> None:
    for example, keys in (("minimal", {"url"}), ("production", {"url", "alerts-url", "board-url"})):
        references = [
            environment(pod)["FANPULSE_REDIS_URL"]["valueFrom"]["secretKeyRef"]["key"]
            for part, pod in pods(render(example))
            if part in OURS
        ]
        assert set(references) == keys


def test_workers_speak_tls_to_triton_where_it_has_a_certificate(render: Render) -> None:
    specs = dict(pods(render("production")))
    url = environment(specs["worker"])["FANPULSE_TRITON_URL"]["value"]
    assert url == "grpcs://demo-fanpulse-triton.fanpulse.svc:8001"
    assert "--grpc-use-ssl=true" in specs["triton"]["containers"][0]["args"]
    for part, keys in (("worker", {"ca.crt"}), ("triton", {"tls.crt", "tls.key"})):
        held = [
            v["secret"]
            for v in specs[part]["volumes"]
            if "triton" in v.get("secret", {}).get("secretName", "")
        ]
        assert {item["key"] for secret in held for item in secret["items"]} == keys


def test_workers_see_every_triton_pod_and_look_them_up_anew(render: Render) -> None:
    manifests = render("minimal")
    service = one(manifests, "Service", "triton")
    assert service["spec"]["clusterIP"] == "None"
    url = environment(dict(pods(manifests))["worker"])["FANPULSE_TRITON_URL"]["value"]
    assert url == "grpc://demo-fanpulse-triton.fanpulse.svc:8001"
    arguments = dict(pods(manifests))["triton"]["containers"][0]["args"]
    assert "--grpc-max-connection-age=60000" in arguments
    assert "--load-model=emotion_zh" in arguments


def test_triton_runs_as_many_threads_as_it_has_cores(render: Render) -> None:
    variable = environment(dict(pods(render("minimal")))["triton"])["ENCODER_THREADS"]
    assert variable["valueFrom"] == {"resourceFieldRef": {"resource": "limits.cpu"}}
    assert "ENCODER_THREADS" in (ROOT / "deploy" / "triton" / "encoder" / "model.py").read_text()


def test_a_triton_pod_gets_its_gpu_or_none(render: Render) -> None:
    for example, gpus in (("production", 1), ("minimal", None)):
        limits = dict(pods(render(example)))["triton"]["containers"][0]["resources"]["limits"]
        assert limits.get("nvidia.com/gpu") == gpus


def test_alerts_run_by_given_rules_or_by_their_own(render: Render) -> None:
    assert dict(pods(render("minimal")))["alerts"]["containers"][0]["args"] == ["alerts", "run"]
    manifests = render("minimal", **{"alerts.rules": "# quiet\n"})
    container = dict(pods(manifests))["alerts"]["containers"][0]
    assert container["args"][2:] == ["--rules", "/etc/fanpulse/alerts/rules.toml"]
    assert {"name": "rules", "mountPath": "/etc/fanpulse/alerts", "readOnly": True} in container[
        "volumeMounts"
    ]
    assert one(manifests, "ConfigMap", "alerts")["data"] == {"rules.toml": "# quiet\n"}


def test_workers_scale_on_lag_up_to_the_partitions(render: Render) -> None:
    manifests = render("production")
    scaled = one(manifests, "ScaledObject", "worker")["spec"]
    assert scaled["maxReplicaCount"] == 64
    trigger = scaled["triggers"][0]
    assert trigger["type"] == "kafka"
    assert trigger["metadata"]["consumerGroup"] == "fanpulse"
    assert trigger["metadata"]["sasl"] == "scram_sha512"
    assert trigger["metadata"]["tls"] == "enable"
    authentication = one(manifests, "TriggerAuthentication", trigger["authenticationRef"]["name"][14:])
    assert {reference["parameter"] for reference in authentication["spec"]["secretTargetRef"]} == {
        "username",
        "password",
        "ca",
    }
    assert "replicas" not in one(manifests, "Deployment", "worker")["spec"]


def test_triton_scales_on_its_queue(render: Render) -> None:
    manifests = render("production")
    trigger = one(manifests, "ScaledObject", "triton")["spec"]["triggers"][0]
    assert trigger["metricType"] == "Value"
    assert "nv_inference_queue_duration_us" in trigger["metadata"]["query"]
    assert "replicas" not in one(manifests, "Deployment", "triton")["spec"]


def test_what_is_there_more_than_once_is_disrupted_one_at_a_time(render: Render) -> None:
    manifests = render("production")
    for part in ("worker", "triton", "alerts"):
        assert one(manifests, "PodDisruptionBudget", part)["spec"]["maxUnavailable"] == 1
        topologies = {
            spread["topologyKey"] for spread in dict(pods(manifests))[part]["topologySpreadConstraints"]
        }
        assert topologies == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}


def test_all_traffic_is_denied_but_the_flows_that_exist(render: Render) -> None:
    policies = {
        m["metadata"]["name"][14:]: m["spec"] for m in render("production") if m["kind"] == "NetworkPolicy"
    }
    assert "ingress" not in policies["deny"]
    assert "egress" not in policies["deny"]
    assert policies["deny"]["policyTypes"] == ["Ingress", "Egress"]
    assert {part: _ports(policy) for part, policy in policies.items()} == {
        "deny": (set(), set()),
        "worker": ({6066}, {53, 9093, 6379, 8001}),
        "triton": ({8001, 8002}, set()),
        "topics": (set(), {53, 9093}),
        "alerts": (set(), {53, 6379, 443}),
        "board": ({8080}, {53, 6379}),
    }
    for part, policy in policies.items():
        for flow in (*policy.get("ingress", []), *policy.get("egress", [])):
            assert flow.get("from") or flow.get("to"), f"{part} may talk to anyone"


@pytest.mark.parametrize(
    ("url", "port"),
    [("http://collector.tracing:4318/v1/traces", 4318), ("https://collector.example.com/v1/traces", 443)],
)
def test_a_worker_that_is_traced_may_talk_to_the_collector(render: Render, url: str, port: int) -> None:
    manifests = render("production", **{"settings.traces_url": url})
    assert port in _ports(one(manifests, "NetworkPolicy", "worker")["spec"])[1]


def _ports(policy: Any) -> tuple[set[int], set[int]]:
    ways = (policy.get("ingress", []), policy.get("egress", []))
    into, out = ({port["port"] for flow in flows for port in flow["ports"]} for flows in ways)
    return into, out


@examples
def test_every_pod_has_a_policy_of_its_own(render: Render, example: str) -> None:
    manifests = render(example)
    for part, _ in pods(manifests):
        selector = one(manifests, "NetworkPolicy", part)["spec"]["podSelector"]["matchLabels"]
        assert selector["app.kubernetes.io/component"] == part


def test_monitoring_brings_the_rules_and_dashboards_of_this_repository(render: Render) -> None:
    manifests = render("production")
    assert one(manifests, "PrometheusRule", "rules")["spec"]["groups"]
    assert one(manifests, "ServiceMonitor", "worker")["metadata"]["labels"]["release"] == "prometheus"
    for path in (ROOT / "deploy" / "dashboards").glob("*.json"):
        held = one(manifests, "ConfigMap", f"dashboard-{path.stem}")
        assert json.loads(held["data"][path.name]) == json.loads(path.read_text())
        assert held["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_a_client_certificate_is_read_from_the_keys_that_its_secret_has(render: Render) -> None:
    pod = dict(pods(render("strimzi")))["worker"]
    volume = next(volume["secret"] for volume in pod["volumes"] if volume["name"] == "kafka-client")
    assert volume["secretName"] == "fanpulse"
    assert [(item["key"], item["path"]) for item in volume["items"]] == [
        ("user.crt", "tls.crt"),
        ("user.key", "tls.key"),
    ]
    assert environment(pod)["FANPULSE_KAFKA_CERT_FILE"]["value"] == "/etc/fanpulse/kafka-client/tls.crt"


def test_strimzi_makes_topics_and_a_user_who_may_do_no_more_than_needed(render: Render) -> None:
    manifests = render("strimzi")
    assert "Job" not in {manifest["kind"] for manifest in manifests}
    topics = {m["metadata"]["name"]: m["spec"] for m in manifests if m["kind"] == "KafkaTopic"}
    assert topics["comments"]["partitions"] == 8
    assert topics["comments.rejected"]["config"]["cleanup.policy"] == "compact"
    acls = next(m for m in manifests if m["kind"] == "KafkaUser")["spec"]["authorization"]["acls"]
    assert {(acl["resource"]["name"], *acl["operations"]) for acl in acls} == {
        ("comments", "Read", "Describe"),
        ("comments.rejected", "Write", "Describe"),
        ("fanpulse", "Read", "Describe"),
    }


@pytest.mark.parametrize(
    ("example", "values", "names"),
    [
        ("minimal", {"worker.replicas": 5}, ["worker.replicas is 5", "kafka.partitions is 4"]),
        ("production", {"worker.autoscaling.maxReplicas": 65}, ["worker.autoscaling.maxReplicas is 65"]),
        ("production", {"worker.autoscaling.minReplicas": 65}, ["worker.autoscaling.minReplicas"]),
        ("minimal", {"kafka.brokers": []}, ["kafka.brokers is empty"]),
        ("minimal", {"kafka.brokers": ["kafka"]}, ["kafka.brokers.0"]),
        ("production", {"kafka.existingSecret": ""}, ["kafka.existingSecret is missing"]),
        ("minimal", {"redis.existingSecret": ""}, ["redis.existingSecret is missing"]),
        ("minimal", {"pseudonyms.existingSecret": ""}, ["pseudonyms.existingSecret is missing"]),
        ("minimal", {"board.existingSecret": ""}, ["board.existingSecret is missing"]),
        ("production", {"board.proxies": []}, ["board.proxies is empty"]),
        ("production", {"board.ingress.tlsSecret": ""}, ["board.ingress.tlsSecret is missing"]),
        ("production", {"triton.autoscaling.prometheusUrl": ""}, ["triton.autoscaling.prometheusUrl"]),
        ("strimzi", {"kafka.strimzi.cluster": ""}, ["kafka.strimzi.cluster is missing"]),
        ("minimal", {"models.zh": "emotion_xx"}, ["models.zh is emotion_xx"]),
        ("minimal", {"models.fr": "emotion_zh"}, ["models", "fr"]),
        ("minimal", {"settings.redis_url": "redis://elsewhere:6379"}, ["settings.redis_url"]),
        ("minimal", {"settings.batch_recrods": 512}, ["settings", "batch_recrods"]),
        ("production", {"redis.urlKeys.worker": ""}, ["redis.urlKeys.worker"]),
        ("production", {"kafka.security": "SASL_PLAINTEXT"}, ["kafka.caKey", "kafka.security SASL_PLAINTEXT"]),
        ("minimal", {"worker.replica": 2}, ["worker", "replica"]),
        ("minimal", {"image.tag": "latest"}, ["image.tag"]),
        ("minimal", {"kafka.security": "TLS"}, ["kafka.security"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else str(value),
)  # fmt: skip
def test_values_that_cannot_work_are_refused_by_name(
    render: Render, example: str, values: dict[str, object], names: list[str]
) -> None:
    with pytest.raises(RenderingError) as refused:
        render(example, **values)
    for name in names:
        assert name in str(refused.value).replace("/", ".")
