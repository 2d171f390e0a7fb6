"""The container file: its stages agree, and the image for processors is built and answers.

There may be no registry to take a base image from, and no daemon to build with: buildah runs every
step of the file in a chroot, on a Debian that debootstrap lays out.  podman then runs the image as
its users do.  The stages for CUDA need NVIDIA's base images; their text is held to the others'.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.packaging.conftest import ROOT, roomy_folder
from tests.support.plain_http import NO_TLS
from tests.support.waiting import SECONDS, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.packages, pytest.mark.timeout(1500 * SECONDS)]

_CONTAINERFILE = ROOT / "Containerfile"
_TOOLS = ("debootstrap", "buildah", "podman", "runc")
_BASE = "localhost/debian-base"
_IMAGE = "localhost/runnerd"
_CERTIFICATES = Path("/usr/local/share/ca-certificates")  # of a proxy that this host sits behind
_ENGINE_FOLDER = "/opt/lent"


def stages() -> dict[str, list[str]]:
    """Return the instructions of each stage."""
    text = re.sub(r"\\\n\s*", "", _CONTAINERFILE.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found: dict[str, list[str]] = {}
    for line in lines:
        if match := re.fullmatch(r"FROM \S+ AS (\S+)", line):
            found[match[1]] = []
        elif found:
            found[list(found)[-1]].append(line)
    return found


@pytest.mark.parametrize("prefix", ["", "build-"])
def test_stages_for_gpus_differ_in_nothing_but_the_name(prefix: str) -> None:
    """What is tried of the stages for processors holds for those for GPUs."""
    found = stages()
    cuda = [line.replace("cuda", "cpu") for line in found[f"{prefix}cuda"]]
    assert cuda == found[f"{prefix}cpu"]
    assert list(found)[-1] == "cpu"  # what is built where no target is named


class Containers:
    """buildah and podman with a storage of their own, which goes with the test."""

    def __init__(self, folder: Path) -> None:
        self._storage = ("--root", str(folder / "storage"), "--runroot", str(folder / "run"))

    def buildah(self, *arguments: str | Path) -> str:
        """Run buildah without a container runtime."""
        return self._run("buildah", *self._storage, *arguments, BUILDAH_ISOLATION="chroot")

    def podman(self, *arguments: str | Path) -> str:
        """Run podman with a runtime that takes every kind of cgroups."""
        return self._run("podman", *self._storage, "--runtime", "runc", *arguments)

    def _run(self, *command: str | Path, **environ: str) -> str:
        done = subprocess.run(
            [str(part) for part in command],
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout.strip()


@pytest.fixture(scope="module")
def containers() -> Iterator[Containers]:
    """A storage with a base image and, made of it, the image for processors."""
    if os.geteuid() != 0 or not all(map(shutil.which, _TOOLS)):
        pytest.skip(f"needs root and {', '.join(_TOOLS)}")
    with roomy_folder() as folder:
        containers = Containers(folder)
        try:
            _make_base(containers, folder / "debian")
            _make_image(containers)
            yield containers
        finally:
            containers.buildah("rm", "--all")
            containers.buildah("rmi", "--all", "--force")


def _make_image(containers: Containers) -> None:
    arguments = ("--build-arg", f"DEBIAN={_BASE}", "--build-arg", "ENGINE=none")
    containers.buildah(
        *("build", "--pull-never", "--format", "docker", "--target", "cpu"),
        *("--tag", _IMAGE, *arguments, "--file", _CONTAINERFILE, ROOT),
    )


def _make_base(containers: Containers, root: Path) -> None:
    subprocess.run(
        ["debootstrap", "--variant=minbase", "trixie", str(root)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    if _CERTIFICATES.is_dir():
        shutil.copytree(_CERTIFICATES, root / str(_CERTIFICATES)[1:], dirs_exist_ok=True)
    base = containers.buildah("from", "scratch")
    containers.buildah("copy", "--quiet", base, root, "/")
    containers.buildah("commit", "--quiet", "--rm", base, _BASE)
    shutil.rmtree(root)


def test_image_is_an_ordinary_users_with_volumes_and_a_health_check(containers: Containers) -> None:
    """What container engines read of the image: user, volumes, port, check, command."""
    (image,) = json.loads(containers.podman("inspect", _IMAGE))
    config = image["Config"]
    assert config["User"] == "10001:10001"
    assert set(config["Volumes"]) == {"/var/lib/runnerd", "/run/runnerd"}
    assert set(config["ExposedPorts"]) == {"12434/tcp"}
    assert (config["Entrypoint"], config["Cmd"]) == (["runnerd"], ["serve"])
    assert image["Healthcheck"]["Test"] == ["CMD", "runnerd", "status"]


def test_image_holds_neither_sources_nor_compilers(containers: Containers) -> None:
    """What was needed to build it is not shipped."""
    container = containers.buildah("from", "--pull-never", _IMAGE)
    found = containers.buildah(
        *("run", container, "--", "sh", "-c", "ls -d /src; command -v g++ cc gcc; true")
    )
    assert found == ""


@pytest.fixture
def sockets(containers: Containers, engine: Path, tmp_path: Path) -> Iterator[Path]:
    """A container that runs the image with two volumes and no rights; the one with its socket."""
    state, sockets = tmp_path / "state", tmp_path / "run"
    for folder in (state, sockets):
        folder.mkdir()
        os.chown(folder, 10001, 10001)
    shutil.copy(ROOT / "demo/demo-a.gguf", state)
    (state / "demo-a.gguf").chmod(0o644)
    lent = engine.resolve().parent.parent
    containers.podman(
        *("run", "--detach", "--name", "runnerd", "--no-healthcheck", "--network", "none"),
        *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "all"),
        *("--security-opt", "no-new-privileges", "--ulimit", "nofile=8192:8192"),
        *("--ulimit", "nproc=8192:8192"),  # as root, podman asks for more than it may have here
        *("--volume", f"{state}:/var/lib/runnerd", "--volume", f"{sockets}:/run/runnerd"),
        *("--volume", f"{lent}:{_ENGINE_FOLDER}:ro"),
        *("--env", f"PATH=/opt/runnerd/bin:{_ENGINE_FOLDER}/bin:/usr/bin:/bin", _IMAGE),
    )
    try:
        yield sockets
    finally:
        containers.podman("rm", "--force", "--time", "30", "runnerd")


def test_container_answers_and_stops(containers: Containers, sockets: Path) -> None:
    """It is healthy, loads a model, answers on the host's side of a volume, and ends when told."""

    def ask(*command: str) -> str:
        return containers.podman("exec", "runnerd", "runnerd", *command)

    def healthy() -> bool:
        try:
            return "answers at unix:///run/runnerd/runnerd.sock" in ask("status")
        except AssertionError:
            return False

    wait_for(healthy, "the daemon in the container")
    ask("import", "/var/lib/runnerd/demo-a.gguf", "--tag", "demo-a")
    transport = httpx.HTTPTransport(uds=str(sockets / "runnerd.sock"), verify=NO_TLS)
    with httpx.Client(transport=transport, timeout=60 * SECONDS) as client:
        question = {"role": "user", "content": "What is runnerd?"}
        asked = {"model": "demo-a", "messages": [question]}
        response = client.post("http://localhost/v1/chat/completions", json=asked).json()
    assert "one daemon" in response["choices"][0]["message"]["content"]
    containers.podman("stop", "--time", "60", "runnerd")
    (container,) = json.loads(containers.podman("inspect", "runnerd"))
    assert container["State"]["ExitCode"] == 0
