"""systemd's own tools on what systemd is given, and the installer into a staging directory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import runnerd
from runnerd.backends.llamacpp.settings import parse_settings
from runnerd.config import Settings

FOLDER = Path(runnerd.__file__).parent.parent / "systemd"
LARGEST_EXPOSURE = 2.0


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"needs {tool}")


def run(*command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(command),
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def script(name: str, destination: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {"PREFIX": "", "SYSTEMD_LIB": "", "SYSCONFDIR": "", "PYTHON": "", "PURGE": ""}
    environ = {"DESTDIR": str(destination)} | environ
    return run("sh", FOLDER / name, **(clean | environ))


def install(destination: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return script("install.sh", destination, **environ)


def uninstall(destination: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return script("uninstall.sh", destination, **environ)


def contents(directory: Path) -> dict[str, tuple[int, str]]:
    """Return mode and text of every file below `directory`."""
    return {
        str(path.relative_to(directory)): (path.stat().st_mode & 0o777, path.read_text())
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def units(tmp_path: Path) -> tuple[Path, Path]:
    """The units as installed, with an ExecStart= that exists on this host."""
    assert install(tmp_path / "root").returncode == 0
    folder = tmp_path / "root/usr/local/lib/systemd/system"
    service = folder / "runnerd.service"
    text = service.read_text()
    assert "\nExecStart=/opt/runnerd/bin/runnerd serve\n" in text
    service.write_text(text.replace("/opt/runnerd/bin/runnerd", sys.executable))
    return service, folder / "runnerd.socket"


@needs("systemd-analyze")
def test_the_workers_unit_verifies_clean(tmp_path: Path) -> None:
    """The unit that is not installed by itself, since it takes a broker."""
    unit = tmp_path / "runnerd-worker.service"
    text = (Path(__file__).parents[2] / "systemd" / unit.name).read_text()
    unit.write_text(text.replace("/opt/runnerd/bin/runnerd", sys.executable))
    done = run("systemd-analyze", "verify", unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs("systemd-analyze")
def test_units_verify_clean(units: tuple[Path, Path]) -> None:
    """systemd knows every line of the units and has nothing to say about them."""
    done = run("systemd-analyze", "verify", *units)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs("systemd-analyze")
def test_verify_sees_a_misspelt_line(units: tuple[Path, Path]) -> None:
    """The test above can fail: an unknown setting is reported."""
    units[0].write_text(units[0].read_text().replace("RestartSec=", "RestartSecond="))
    assert "RestartSecond" in run("systemd-analyze", "verify", *units).stderr


@needs("systemd-analyze")
def test_service_is_hardened(units: tuple[Path, Path]) -> None:
    """systemd's own measure of what a compromised daemon could do stays low."""
    threshold = f"--threshold={LARGEST_EXPOSURE * 10:.0f}"
    command = ("systemd-analyze", "security", "--offline=true", "--no-pager", threshold)
    done = run(*command, units[0])
    assert done.returncode == 0, done.stdout[-400:] + done.stderr


def test_service_keeps_what_cuda_and_peers_need(units: tuple[Path, Path]) -> None:
    """Lines that would raise the score and break CUDA or SO_PEERCRED are not slipped in."""
    lines = units[0].read_text().splitlines()
    for setting in ("PrivateDevices=yes", "PrivateUsers=yes", "ProcSubset=pid"):
        assert setting not in lines
    assert "SystemCallFilter=~@resources" not in lines


def test_service_and_socket_agree_on_the_directory(units: tuple[Path, Path]) -> None:
    """The socket is in the service's runtime directory, which outlives a stop of the service."""
    service, listeners = (unit.read_text().splitlines() for unit in units)
    assert "ListenStream=/run/runnerd/runnerd.sock" in listeners
    assert {"RuntimeDirectory=runnerd", "RuntimeDirectoryPreserve=yes"} <= set(service)
    assert f"ListenStream={Settings.model_fields['listen'].default}" in listeners


@needs("systemd-sysusers")
def test_sysusers_makes_user_and_group(tmp_path: Path) -> None:
    """The real tool makes user and group in an empty root."""
    (tmp_path / "etc").mkdir()
    root = f"--root={tmp_path}"
    done = run("systemd-sysusers", root, FOLDER / "runnerd.sysusers.conf")
    assert done.returncode == 0, done.stderr
    assert "runnerd:x:" in (tmp_path / "etc/passwd").read_text()
    assert "runnerd:x:" in (tmp_path / "etc/group").read_text()


@needs("systemd-tmpfiles")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_tmpfiles_makes_the_directories(tmp_path: Path) -> None:
    """The real tool makes the runtime directory and closes the settings to others."""
    assert install(tmp_path).returncode == 0
    run("systemd-sysusers", f"--root={tmp_path}", FOLDER / "runnerd.sysusers.conf")
    config = tmp_path / "usr/local/lib/tmpfiles.d/runnerd.conf"
    done = run("systemd-tmpfiles", f"--root={tmp_path}", "--create", config)
    assert (done.returncode, done.stderr) == (0, "")
    runtime, settings = tmp_path / "run/runnerd", tmp_path / "etc/runnerd"
    assert runtime.stat().st_mode & 0o777 == 0o755
    assert settings.stat().st_mode & 0o777 == 0o750
    assert (settings / "runnerd.toml").stat().st_gid == runtime.stat().st_gid


def test_install_twice_changes_nothing(tmp_path: Path) -> None:
    """A staged installation has every file in its place, and repeating it is harmless."""
    first = install(tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    before = contents(tmp_path)
    generated = {name for name in before if name.startswith("usr/local/share/")}
    assert {before[name][0] for name in generated} == {0o644}
    assert {name: mode for name, (mode, _) in before.items() if name not in generated} == {
        "etc/runnerd/runnerd.env": 0o640,
        "etc/runnerd/runnerd.toml": 0o640,
        "usr/local/lib/systemd/system/runnerd.service": 0o644,
        "usr/local/lib/systemd/system/runnerd.socket": 0o644,
        "usr/local/lib/sysusers.d/runnerd.conf": 0o644,
        "usr/local/lib/tmpfiles.d/runnerd.conf": 0o644,
    }
    assert install(tmp_path).returncode == 0
    assert contents(tmp_path) == before


def test_install_keeps_an_owners_settings(tmp_path: Path) -> None:
    """An update replaces the units, never what the owner wrote."""
    install(tmp_path)
    settings, unit = (
        tmp_path / "etc/runnerd/runnerd.toml",
        tmp_path / "usr/local/lib/systemd/system/runnerd.service",
    )
    settings.write_text("max_runners = 2\n")
    unit.write_text("old")
    assert install(tmp_path).returncode == 0
    assert settings.read_text() == "max_runners = 2\n"
    assert unit.read_text() != "old"


def test_install_fills_its_paths_in(tmp_path: Path) -> None:
    """Units, rights and environment follow PREFIX, SYSTEMD_LIB and SYSCONFDIR."""
    places = {"PREFIX": "/srv/rd", "SYSTEMD_LIB": "/usr/lib", "SYSCONFDIR": "/srv/etc"}
    assert install(tmp_path, **places).returncode == 0
    lib, etc = tmp_path / "usr/lib", tmp_path / "srv/etc/runnerd"
    service = (lib / "systemd/system/runnerd.service").read_text()
    assert "\nExecStart=/srv/rd/bin/runnerd serve\n" in service
    assert "\nEnvironmentFile=-/srv/etc/runnerd/runnerd.env\n" in service
    assert "\nRUNNERD_CONFIG=/srv/etc/runnerd/runnerd.toml\n" in (etc / "runnerd.env").read_text()
    assert "z /srv/etc/runnerd/runnerd.toml" in (lib / "tmpfiles.d/runnerd.conf").read_text()


@pytest.mark.parametrize(
    "places",
    [
        {"PREFIX": "opt/runnerd"},
        {"PREFIX": "/usr"},
        {"PREFIX": "/home/me/runnerd"},
        {"PREFIX": "/opt/a b"},
        {"PREFIX": "/opt/a|b"},
        {"PREFIX": "/opt/../home/me"},
        {"SYSCONFDIR": "/etc/"},
    ],
)
def test_install_refuses_places_that_cannot_work(tmp_path: Path, places: dict[str, str]) -> None:
    """A place that the sandbox hides, or that no unit can name, is refused before any write."""
    done = install(tmp_path, **places)
    assert done.returncode == 1
    assert next(iter(places)) in done.stderr
    assert contents(tmp_path) == {}


def test_install_heeds_no_umask(tmp_path: Path) -> None:
    """A careful administrator's umask does not close the installation to the service's user."""
    done = run("sh", "-c", f"umask 077; DESTDIR={tmp_path} sh {FOLDER}/install.sh")
    assert (done.returncode, done.stderr) == (0, "")
    for folder in ("usr/local/lib/systemd/system", "etc/runnerd"):
        assert (tmp_path / folder).stat().st_mode & 0o777 == 0o755


def test_install_puts_the_command_on_the_path(tmp_path: Path) -> None:
    """With manual pages and completion; what another program has there is left, at removal too."""
    assert install(tmp_path).returncode == 0
    command, share = tmp_path / "usr/local/bin/runnerd", tmp_path / "usr/local/share"
    assert os.readlink(command) == "/opt/runnerd/bin/runnerd"
    assert "RUNNERD_HOST" in (share / "man/man1/runnerd.1").read_text()
    assert (share / "man/man1/runnerd-user-add.1").is_file()
    for file in ("bash-completion/completions/runnerd", "zsh/site-functions/_runnerd",
                 "fish/vendor_completions.d/runnerd.fish"):  # fmt: skip
        assert "runnerd complete --" in (share / file).read_text()
    command.unlink()
    command.write_text("theirs")
    assert "kept: it is no link of ours" in install(tmp_path).stdout
    assert uninstall(tmp_path).returncode == 0
    assert command.read_text() == "theirs"
    assert list(share.rglob("*runnerd*")) == []


def in_use(root: Path) -> None:
    """Make what using an installation makes: an environment, state, a drop-in."""
    for file in (
        "opt/runnerd/pyvenv.cfg",
        "opt/runnerd/bin/runnerd",
        "var/lib/runnerd/models/index.json",
        "etc/systemd/system/runnerd.service.d/override.conf",
        "opt/neighbour/file",
    ):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch(mode=0o755)


def test_uninstall_keeps_what_the_owner_made(tmp_path: Path) -> None:
    """Everything that was installed goes; models, settings and drop-ins stay, and it says so."""
    assert install(tmp_path).returncode == 0
    in_use(tmp_path)
    done = uninstall(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    kept = {
        "etc/runnerd/runnerd.env",
        "etc/runnerd/runnerd.toml",
        "etc/systemd/system/runnerd.service.d/override.conf",
        "opt/neighbour/file",
        "var/lib/runnerd/models/index.json",
    }
    assert set(contents(tmp_path)) == kept
    assert f"kept: {tmp_path}/var/lib/runnerd" in done.stdout
    again = uninstall(tmp_path)
    assert (again.returncode, again.stderr) == (0, "")
    assert set(contents(tmp_path)) == kept


def test_purge_leaves_nothing_of_runnerd(tmp_path: Path) -> None:
    """With PURGE=1 the state and the settings go too; what is a neighbour's stays."""
    assert install(tmp_path).returncode == 0
    in_use(tmp_path)
    done = uninstall(tmp_path, PURGE="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert set(contents(tmp_path)) == {"opt/neighbour/file"}
    assert not list(tmp_path.rglob("*runnerd*"))


def test_uninstall_removes_no_environment_but_runnerds(tmp_path: Path) -> None:
    """A PREFIX that was mistyped costs nothing."""
    in_use(tmp_path)
    done = uninstall(tmp_path, PREFIX="/opt/neighbour")
    assert done.returncode == 0
    assert "no environment with runnerd" in done.stderr
    assert (tmp_path / "opt/neighbour/file").exists()
    assert uninstall(tmp_path, PREFIX="/opt").returncode == 1


def test_uninstall_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    """What is left of an environment that was half removed goes with the next attempt."""
    left = tmp_path / "opt/runnerd.removed/lib"
    left.mkdir(parents=True)
    assert uninstall(tmp_path).returncode == 0
    assert list((tmp_path / "opt").iterdir()) == []


def test_purge_does_not_follow_links(tmp_path: Path) -> None:
    """A state directory that is a link to another disk: the link goes, and it says what is left."""
    models = tmp_path / "disk/models"
    models.mkdir(parents=True)
    (tmp_path / "var/lib").mkdir(parents=True)
    (tmp_path / "var/lib/runnerd").symlink_to(models)
    done = uninstall(tmp_path, PURGE="1")
    assert f"{models}, is left" in done.stdout
    assert models.is_dir()
    assert not (tmp_path / "var/lib/runnerd").is_symlink()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may install")
@pytest.mark.parametrize("name", ["install.sh", "uninstall.sh"])
def test_install_without_root_is_explained(name: str) -> None:
    """Without DESTDIR and without root nothing is tried."""
    done = script(name, Path(), DESTDIR="")
    assert "as root" in done.stderr


def shown_defaults() -> dict[str, Any]:
    """Return the example's settings with every commented-out one switched on."""
    lines = (FOLDER / "runnerd.toml").read_text().splitlines()
    on = [
        line.removeprefix("#") if line[:1] == "#" and line[1:2] != " " else line for line in lines
    ]
    return tomllib.loads("\n".join(on))


def test_example_settings_change_nothing() -> None:
    """As shipped, every line is a comment."""
    assert tomllib.loads((FOLDER / "runnerd.toml").read_text()) == {}


def test_example_settings_are_all_and_the_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every setting is in the example, with the value it has anyway; none is misspelt."""
    for name in list(os.environ):
        if name.startswith("RUNNERD_"):
            monkeypatch.delenv(name)
    example = shown_defaults()
    assert set(example) == set(Settings.model_fields)
    assert parse_settings(example["backends"]["llama.cpp"])
    hosts_own = {
        *("socket", "socket_group", "owner_group", "user_group", "state_dir", "runtime_dir"),
        *("tls_certificate", "tls_key"),
    }
    defaults = json.loads(Settings().model_dump_json(exclude=hosts_own))
    theirs = hosts_own | {"backends"}
    shown = {name: value for name, value in example.items() if name not in theirs}
    for each in (shown, defaults):
        del each["pantry"]["bare_models"]  # the host decides it
    assert shown == {name: defaults[name] for name in shown}
    assert example["limits"] == defaults["limits"]


def test_the_kernel_can_be_asked_who_asks() -> None:
    """Whose a loopback connection is says sock_diag, over a netlink socket: without it everybody
    on the host would be a stranger over TCP, the owner too.
    """
    [families] = [
        line.partition("=")[2].split()
        for line in (FOLDER / "runnerd.service").read_text().splitlines()
        if line.startswith("RestrictAddressFamilies=")
    ]
    assert {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"} == set(families)
