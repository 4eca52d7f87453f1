"""Kafka's jars against their lock."""

import re
from pathlib import Path

import pytest

from deploy.local import ServiceError, jars
from deploy.local.ports import free_port


def test_every_locked_jar_is_on_the_class_path() -> None:
    names = {Path(path).name for path in jars.classpath().split(":")}
    assert {"kafka_2.13-4.1.0.jar", "kafka-clients-4.1.0.jar"} <= names
    assert len(names) == jars.LOCK.read_text().count("[[dependencies]]")


def test_a_jar_that_differs_from_the_lock_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "jgo.lock.toml"
    lock.write_text(re.sub(r'sha256 = "\w{4}', 'sha256 = "beef', jars.LOCK.read_text(), count=1))
    monkeypatch.setattr(jars, "LOCK", lock)
    with pytest.raises(ServiceError, match=r"kafka_2\.13-4\.1\.0\.jar has SHA-256 .*, locked is beef"):
        jars.classpath()


def test_a_jar_that_cannot_be_downloaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M2_REPO", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ServiceError, match=r"Kafka's kafka_2\.13-4\.1\.0\.jar could not be downloaded"):
        jars.classpath()


def test_the_lock_file_names_no_host() -> None:
    assert "://" not in jars.LOCK.read_text()
