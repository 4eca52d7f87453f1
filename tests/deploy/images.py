"""Builds images with buildah in a chroot: a Dockerfile's own instructions, no container daemon."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILES = ROOT / "deploy" / "images"
BASE = "docker.io/library/debian:bookworm-slim"
# What Debian's slim image leaves out.
UNWANTED = ("doc", "man", "info", "locale")
HOST_CERTIFICATES = Path("/usr/local/share/ca-certificates")


class Buildah:
    """An image store of its own under `folder`, with Debian's slim base made from Debian's packages."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._command = ["buildah", "--root", str(folder / "store"), "--runroot", str(folder / "run")]
        self._environment = {**os.environ, "TMPDIR": str(folder), "BUILDAH_ISOLATION": "chroot"}

    def __call__(self, *arguments: str) -> str:
        command = [*self._command, *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout.strip()

    def make_base(self) -> None:
        tree = self._folder / "base.tar"
        excluded = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in UNWANTED]
        quick = "--dpkgopt=force-unsafe-io"
        merged = "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr"
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=apt", merged, quick, *excluded, "bookworm", str(tree)],
            check=True,
        )
        container = self("from", "scratch")
        self("add", "--quiet", container, str(tree), "/")
        self("commit", "--quiet", "--rm", container, BASE)

    def remove(self) -> None:
        """Delete everything, with the mount that buildah sometimes leaves of its own folder."""
        self("rm", "--all")
        self("rmi", "--all", "--force")
        if (layers := self._folder / "store" / "overlay").is_mount():
            subprocess.run(["umount", layers], check=True)
        shutil.rmtree(self._folder)

    def build(self, name: str) -> None:
        """Build `deploy/images/<name>.Dockerfile` as image `name`."""
        certificates = f"{HOST_CERTIFICATES}:{HOST_CERTIFICATES}:ro"
        self(
            *("build", "--pull=never", "--layers", "--network=host", "--volume", certificates),
            *("--tag", name, "--file", str(DOCKERFILES / f"{name}.Dockerfile"), str(ROOT)),
        )

    @contextmanager
    def container(self, image: str) -> Iterator[tuple[str, Path]]:
        """A container of `image` and where its root file system is mounted."""
        container = self("from", "--pull=never", f"localhost/{image}")
        try:
            yield container, Path(self("mount", container))
        finally:
            self("rm", container)

    def run(self, container: str, *command: str) -> str:
        """Run `command` as the image's user, in its environment."""
        return self("run", "--network=host", container, "--", *command)

    @contextmanager
    def running(self, container: str, *command: str, options: Sequence[str] = ()) -> Iterator[None]:
        """While it lasts, `command` runs in the container on the host's network."""
        started = [*self._command, "run", "--network=host", *options, container, "--", *command]
        with subprocess.Popen(started, env=self._environment, start_new_session=True) as process:
            try:
                yield
            finally:
                os.killpg(process.pid, signal.SIGTERM)


def installed_bytes(root: Path) -> int:
    """Sizes of all files under `root`, each inode once."""
    sizes = {
        (stat.st_dev, stat.st_ino): stat.st_size
        for folder, _, names in os.walk(root)
        for stat in (os.lstat(os.path.join(folder, name)) for name in names)
    }
    return sum(sizes.values())
