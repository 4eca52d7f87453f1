"""Kafka's jars, exactly those of jgo.lock.toml, each checked against its SHA-256 sum.

They stay in the local Maven repository; `jgo lock` in this folder makes the lock file from jgo.toml.
"""

import hashlib
from pathlib import Path

from deploy.local.service import ServiceError

LOCK = Path(__file__).with_name("jgo.lock.toml")
DOWNLOAD_TIMEOUT_S = 60


def classpath() -> str:
    """Java class path of the broker; downloads what is missing. Raises ServiceError if that fails."""
    from jgo.env import LockFile  # slow to import, and every `fanpulse` command would
    from jgo.maven import MavenContext

    maven = MavenContext(timeout=DOWNLOAD_TIMEOUT_S)
    paths: list[str] = []
    for jar in LockFile.load(LOCK).dependencies:
        artifact = maven.project(jar.groupId, jar.artifactId).at_version(jar.version).artifact()
        try:
            path = artifact.resolve()
        except (RuntimeError, OSError) as error:  # not there, no network
            raise ServiceError(f"Kafka's {artifact.filename} could not be downloaded: {error}") from error
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != jar.sha256:
            raise ServiceError(
                f"{path} has SHA-256 {found}, locked is {jar.sha256}: delete the file and try again"
            )
        paths.append(str(path))
    return ":".join(paths)
