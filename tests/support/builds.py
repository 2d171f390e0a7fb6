"""A build of llama.cpp in the twinkling of an eye: scripts for CMake, Ninja and the compiler.

What they build is a wrapper around a real llama-server, or around nothing, that can die of an
instruction as soon as it has a model.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from runnerd.backends.llamacpp import places

_SERVER = next(places.found_here(Path("/nonexistent")), None)  # before a test hides it

_CMAKE = """#!/bin/sh
printf '%s\\n' "$*" >> {folder}/calls
if [ "$1" = --build ]; then
    build=$2
    mkdir -p "$build/bin"
    echo '[1/2] Building CXX object llama.cpp/ggml/src/CMakeFiles/ggml-cpu.dir/ggml-cpu/ops.cpp.o'
    {body}
    echo '[2/2] Linking CXX executable bin/llama-server'
    exit 0
fi
while [ $# -gt 0 ]; do
    case $1 in -B) build=$2 ;; esac
    case $1 in -DRUNNERD_CPU_FLAGS=*) flags=${{1#*=}} ;; esac
    shift
done
mkdir -p "$build"
printf '%s' "$flags" > "$build/flags"
"""
_MAKES_SERVER = """
    {{ echo '#!/bin/sh'; echo "flags='$(cat "$build/flags")'"; cat {folder}/server; }} \\
        > "$build/bin/llama-server"
    chmod +x "$build/bin/llama-server"
"""


@dataclass
class Build:
    """The scripts, in `folder`, which is first on the PATH; `sources` is an empty llama.cpp."""

    folder: Path
    sources: Path

    def makes(self, server: str) -> None:
        """Let the build make a server of this shell script; `$flags` are the ladder's."""
        (self.folder / "server").write_text(server)
        self.does(self.body)

    @property
    def body(self) -> str:
        """What the build does to make the server."""
        return _MAKES_SERVER.format(folder=self.folder)

    def does(self, body: str) -> None:
        """Let the build do something else; `$build` is its folder."""
        self._script("cmake", _CMAKE.format(folder=self.folder, body=body))

    def makes_server_that(self, does: str) -> None:
        """Write the server that `body` makes: it does this, then what the real one does."""
        real = shlex.quote(str(real_server()))
        (self.folder / "server").write_text(f'{does}\nexec {real} "$@"\n')

    def makes_real(self, dies_unless: str = "*", how: str = "ILL") -> None:
        """Let it make the real server, which dies with a model unless `$flags` are like this."""
        self.makes(
            f'case "$flags" in {dies_unless}) ;; *)\n'
            f'  case " $* " in *" --model "*) kill -{how} $$ ;; esac ;;\n'
            f"esac\n"
            f'exec {shlex.quote(str(real_server()))} "$@"\n'
        )

    @property
    def calls(self) -> list[str]:
        """The command lines of CMake so far."""
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def builds(self) -> list[str]:
        return [call for call in self.calls if call.startswith("--build")]

    @property
    def flags(self) -> list[str]:
        """The ladder's flags of each configuration."""
        return [
            part.partition("=")[2]
            for call in self.calls
            for part in call.split()
            if part.startswith("-DRUNNERD_CPU_FLAGS=")
        ]

    def _script(self, name: str, content: str) -> None:
        path = self.folder / name
        path.write_text(content)
        path.chmod(0o755)


def scripted_build(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Put the scripts first on the PATH; no ccache, no toolkit and no llama-server is there."""
    tools = folder / "tools"
    tools.mkdir()
    sources = folder / "llama.cpp"
    (sources / "ggml").mkdir(parents=True)
    (sources / "CMakeLists.txt").touch()
    build = Build(tools, sources)
    for name in ("ninja", "c++"):
        build._script(name, "#!/bin/sh\nexit 0\n")
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    for variable in ("CMAKE_ARGS", "RUNNERD_CMAKE_ARGS", "CUDACXX", "HIPCC", "CXX"):
        monkeypatch.delenv(variable, raising=False)
    return build


def real_server() -> Path:
    """Return the llama-server that the tests run on."""
    assert _SERVER is not None, "there is no llama-server: make test builds one"
    return _SERVER.path
