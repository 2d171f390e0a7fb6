"""Models of other programs, used where they lie by a real daemon."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.ggufs import snapshot

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo" / "demo-a.gguf"
_TYPE = "application/vnd.ollama.image."


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with an empty store."""
    with running(tmp_path_factory.mktemp("adoption")) as daemon:
        yield daemon


def runnerd(daemon: DaemonProcess, *arguments: str) -> tuple[int, str, str]:
    """Run one command; return its exit status and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "runnerd", "--host", f"unix://{daemon.socket}", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout, done.stderr


def ollama_folder(root: Path) -> Path:
    """Ollama's models: demo-a, with a system text and parameters, and one that has no blob."""
    blobs = root / "blobs"
    blobs.mkdir(parents=True)

    def blob(content: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / f"sha256-{digest}").write_bytes(content)
        return {"mediaType": _TYPE + kind, "size": len(content), "digest": f"sha256:{digest}"}

    layers = [
        blob(_DEMO.read_bytes(), "model"),
        blob(b"You are Ada.", "system"),
        blob(b'{"temperature": 0}', "params"),
        blob(b"{{ weird .Thing }}", "template"),
    ]
    manifest = root / "manifests" / "registry.ollama.ai" / "library" / "demo" / "small"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    manifest.with_name("broken").write_text("{")
    return root


def test_ollamas_models_are_borrowed(daemon: DaemonProcess, tmp_path: Path) -> None:
    """With what was set for them; the model is served, forgotten, and never touched."""
    folder = ollama_folder(tmp_path / "ollama")
    before = snapshot(folder)
    take = ("import", "--from", "ollama", "--folder", str(folder))
    listed = runnerd(daemon, *take, "--list")
    assert listed[0] == 0
    assert "demo:small" in listed[1]
    status, out, err = runnerd(daemon, *take)
    assert status == 0, err
    assert "broken is no manifest" in err
    assert "without Ollama's template" in err
    assert "demo:small is here already" in runnerd(daemon, *take)[2]
    status, out, _ = runnerd(daemon, "run", "demo:small", "What is your name?")
    assert (status, out) == (0, "My name is Ada.\n")
    [model] = json.loads(runnerd(daemon, "ls", "--json")[1])
    assert model["runnerd"]["borrowed_bytes"] == _DEMO.stat().st_size
    assert "sha256-" in runnerd(daemon, "show", "demo:small")[1]
    assert "borrowed 746.41 KiB" in runnerd(daemon, "df")[1]
    usage = daemon.http.get("/engines/df").json()
    assert usage["borrowed_disk_usage"] == _DEMO.stat().st_size
    assert usage["models_disk_usage"] < _DEMO.stat().st_size
    assert runnerd(daemon, "rm", "demo:small", "--force")[0] == 0
    assert daemon.http.get("/engines/df").json()["borrowed_disk_usage"] == 0
    assert snapshot(folder) == before


def test_names_choose(daemon: DaemonProcess, tmp_path: Path) -> None:
    """A name that nobody has is told with those that there are; so is a folder without models."""
    folder = ollama_folder(tmp_path / "ollama")
    take = ("import", "--from", "ollama", "--folder", str(folder))
    assert "there are demo:small" in runnerd(daemon, *take, "nothing")[2]
    assert runnerd(daemon, *take, "demo:*", "--list", "--json")[0] == 0
    code, _, errors = runnerd(daemon, "import", "--from", "lmstudio", "--folder", "/nowhere")
    assert (code, "--folder names another place" in errors) == (1, True)


def test_caches_of_hugging_face_and_lm_studio(daemon: DaemonProcess, tmp_path: Path) -> None:
    """Links of the cache are followed once; what is borrowed is the file behind them."""
    cache = tmp_path / "hub" / "models--org--Some-GGUF"
    (cache / "blobs").mkdir(parents=True)
    (cache / "blobs" / "abc").write_bytes(_DEMO.read_bytes())
    snapshots = cache / "snapshots" / "1234"
    snapshots.mkdir(parents=True)
    (snapshots / "some-Q4_K_M.gguf").symlink_to("../../blobs/abc")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("1234")
    take = ("import", "--from", "huggingface", "--folder", str(tmp_path / "hub"))
    spelled = "huggingface.co/org/some-gguf:Q4_K_M"  # as it will be called here
    for named in ([], ["hf.co/org/Some-GGUF:*"], ["huggingface.co/org/some-gguf:q4_k_m"]):
        status, offered, said = runnerd(daemon, *take, *named, "--list")
        assert (status, offered.splitlines()[1].split()[0]) == (0, spelled), said
    assert runnerd(daemon, *take)[0] == 0
    shown = runnerd(daemon, "show", "hf.co/org/Some-GGUF:Q4_K_M")
    assert f"{cache}/blobs/abc" in shown[1], shown
    studio = tmp_path / "studio" / "publisher" / "repository"
    studio.mkdir(parents=True)
    (studio / "other.gguf").write_bytes(_DEMO.read_bytes())
    take = ("import", "--from", "lmstudio", "--folder", str(tmp_path / "studio"))
    listed = runnerd(daemon, *take, "--list")[1]
    assert runnerd(daemon, *take)[0] == 0
    assert listed.splitlines()[1].split()[:3] == ["other", "746", "KiB"]
    for name in ("hf.co/org/Some-GGUF:Q4_K_M", "other"):
        assert runnerd(daemon, "run", name, "Hi", "--max-tokens", "1")[0] == 0
        assert runnerd(daemon, "rm", name, "--force")[0] == 0


def test_a_file_that_moved_is_told_before_a_load(daemon: DaemonProcess, tmp_path: Path) -> None:
    """By its path, and nothing is started."""
    file = tmp_path / "mine.gguf"
    file.write_bytes(_DEMO.read_bytes())
    assert runnerd(daemon, "import", "--in-place", str(file), "--tag", "mine")[0] == 0
    file.rename(tmp_path / "moved.gguf")
    code, _, errors = runnerd(daemon, "load", "mine")
    assert (code, str(file) in errors) == (1, True), errors  # whoever notices first
    assert runnerd(daemon, "rm", "mine")[0] == 0
    assert (tmp_path / "moved.gguf").is_file()


def test_folders_are_imported_whole(daemon: DaemonProcess, tmp_path: Path, gguf: Path) -> None:
    """`-r` finds every model below; a folder without one is told."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one.gguf").write_bytes((gguf / "tiny.gguf").read_bytes())
    (tmp_path / "a" / "b" / "two.gguf").write_bytes((gguf / "other.gguf").read_bytes())
    status, out, err = runnerd(daemon, "import", "-r", str(tmp_path))
    assert status == 0, err
    assert "imported one" in out
    assert "imported two" in out
    assert runnerd(daemon, "import", "-r", str(tmp_path))[0] == 0  # again: they are the same
    (tmp_path / "a" / "one.gguf").write_bytes(_DEMO.read_bytes())
    code, _, errors = runnerd(daemon, "import", str(tmp_path / "a" / "one.gguf"))
    assert (code, "is a name of" in errors, "--force" in errors) == (1, True, True)
    assert runnerd(daemon, "import", str(tmp_path / "a" / "one.gguf"), "--force")[0] == 0
    assert runnerd(daemon, "rm", "one", "two")[0] == 0
    (tmp_path / "empty").mkdir()
    assert "no GGUF file" in runnerd(daemon, "import", "-r", str(tmp_path / "empty"))[2]
