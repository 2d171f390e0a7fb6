"""runnerd.backends.llamacpp.building: what is built, how long it takes, what it is built of."""

from __future__ import annotations

import hashlib
import io
import platform
import tarfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from runnerd.backends.llamacpp.building import estimate as estimating
from runnerd.backends.llamacpp.building import sources as module
from runnerd.backends.llamacpp.building.choice import EngineRequest, choose
from runnerd.backends.llamacpp.building.estimate import Estimate, left, planned
from runnerd.backends.llamacpp.building.ladder import ladder
from runnerd.backends.llamacpp.building.options import VERSION
from runnerd.backends.llamacpp.building.sources import File, Index, commit_of, unpack_sources
from runnerd.backends.llamacpp.building.weights import WEIGHTS
from runnerd.backends.llamacpp.hardware import Hardware, look
from runnerd.backends.llamacpp.trial.identity import Processor
from runnerd.errors import BackendFailure

COVERS = (
    "runnerd.backends.llamacpp.building.sources",
    "runnerd.backends.llamacpp.hardware",
)

NVCC, HIPCC, GLSLC = Path("/x/nvcc"), Path("/opt/rocm/bin/hipcc"), Path("/x/glslc")
CARD = ("/dev/nvidia0",)


# what is built


@pytest.mark.parametrize(
    ("hardware", "kind", "told"),
    [
        (Hardware(), "cpu", "building for the processor"),
        (Hardware(nvidia=CARD, nvcc=NVCC), "cuda", "building for CUDA (/x/nvcc)"),
        (Hardware(nvcc=NVCC), "cuda", "building for CUDA"),
        (Hardware(nvidia=CARD), "cpu", "install the CUDA toolkit (Debian: apt install nvidia-cuda"),
        (Hardware(nvidia=CARD, glslc=GLSLC), "vulkan", "building for Vulkan (/x/glslc)"),
        (Hardware(amd=("node 1",), hipcc=HIPCC), "rocm", "building for ROCm"),
        (Hardware(amd=("node 1",), nvcc=NVCC, hipcc=HIPCC), "rocm", "building for ROCm"),
        (Hardware(amd=("node 1",)), "cpu", "install ROCm's compiler"),
        (Hardware(glslc=GLSLC), "cpu", "building for the processor"),
        (Hardware(others=("Intel renderD128",), glslc=GLSLC), "vulkan", "building for Vulkan"),
    ],
)  # fmt: skip
def test_it_chooses_and_says_so(hardware: Hardware, kind: str, told: str) -> None:
    """For the toolkit that is here, else for the processor, with what a GPU would take."""
    choice = choose(EngineRequest(), hardware)
    assert (choice.kind, choice.name) == (kind, kind)
    assert told in choice.sentence


@pytest.mark.parametrize("kind", ["cuda", "rocm", "vulkan"])
def test_a_toolkit_that_is_missing(kind: str) -> None:
    """What was asked for and cannot be built says what to install."""
    with pytest.raises(BackendFailure, match=rf"--with {kind} needs .*apt install"):
        choose(EngineRequest(kind=kind), Hardware())  # type: ignore[arg-type]


def test_portable_names() -> None:
    """A build for many processors lies beside one for this one."""
    assert choose(EngineRequest(portable=True), Hardware()).name == "portable"
    choice = choose(EngineRequest(portable=True), Hardware(nvcc=NVCC))
    assert (choice.name, choice.plan.portable) == ("cuda-portable", True)
    assert choice.plan.environment == {"CUDACXX": str(NVCC)}


def test_hardware_is_read_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Device nodes and compilers; the control nodes and processors among them are no cards."""
    monkeypatch.setenv("PATH", str(tmp_path / "usr/bin"))
    for name in ("CUDACXX", "HIPCC", "VULKAN_SDK"):
        monkeypatch.delenv(name, raising=False)
    assert look(tmp_path) == Hardware()
    nodes = tmp_path / "sys/class/kfd/kfd/topology/nodes"
    for path, content in {
        "dev/nvidia0": "", "dev/nvidia1": "", "dev/nvidiactl": "", "dev/nvidia-uvm": "",
        "dev/kfd": "", "usr/include/vulkan/vulkan.h": "",
        "sys/class/drm/renderD128/device/vendor": "0x8086\n",
        "sys/class/drm/renderD129/device/vendor": "0x1af4\n",
    }.items():  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    for number, count in (("0", "0"), ("1", "120")):
        (nodes / number).mkdir(parents=True)
        (nodes / number / "properties").write_text(f"cpu_cores_count 0\nsimd_count {count}\n")
    for program in ("usr/local/cuda/bin/nvcc", "opt/rocm/bin/hipcc", "usr/bin/glslc"):
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / program).touch(mode=0o755)
    found = look(tmp_path)
    assert found.nvidia == ("/dev/nvidia0", "/dev/nvidia1")
    assert found.amd == ("/dev/kfd node 1",)
    assert found.others == ("Intel renderD128",)
    assert (found.nvcc, found.hipcc) == (
        tmp_path / "usr/local/cuda/bin/nvcc", tmp_path / "opt/rocm/bin/hipcc",
    )  # fmt: skip
    assert found.glslc == tmp_path / "usr/bin/glslc"


# the ladder


def test_rungs_that_change_nothing_are_left_out() -> None:
    """A processor without AMX is not built without AMX."""
    plain = ladder(Processor("x86_64", "", frozenset({"avx2", "fma"})))
    assert [rung.without for rung in plain] == [
        "", "anything beyond AVX2", "AVX and whatever came later",
    ]  # fmt: skip
    assert [rung.flags for rung in ladder(Processor("riscv64", "", frozenset()))] == [()]


def test_arm_has_a_ladder_of_its_own() -> None:
    """SVE first, then the matrix products, then what every ARMv8 has."""
    features = frozenset({"asimd", "sve", "i8mm", "bf16"})
    rungs = ladder(Processor("aarch64", "", features))
    assert [rung.flags for rung in rungs] == [
        (), ("-mcpu=native+nosve",), ("-mcpu=native+nosve+noi8mm+nobf16",), ("-mcpu=generic",),
    ]  # fmt: skip


@given(st.sets(st.sampled_from(["amx_tile", "avx512f", "avx2", "avx", "sse4_2", "sve", "i8mm"])),
       st.sampled_from(["x86_64", "aarch64", "ppc64le"]))  # fmt: skip
def test_each_rung_is_another_build(flags: set[str], machine: str) -> None:
    """It begins with all that the processor has, and no rung repeats another one."""
    rungs = ladder(Processor(machine, "", frozenset(flags)))
    assert rungs[0].flags == ()
    assert len({rung.flags for rung in rungs}) == len(rungs)


# how long it takes


def test_an_estimate_learns_from_what_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long units count for more than short ones, and this machine's pace decides."""
    monkeypatch.setitem(WEIGHTS, "long.cpp", 90.0)
    monkeypatch.setattr(estimating, "USUAL", 5.0)
    steps = [b"[%d/3] Building CXX object x/%s.o\n" % pair for pair in
             [(1, b"a.cpp"), (2, b"long.cpp"), (3, b"b.cpp")]]  # fmt: skip
    total = planned(b"ninja: Entering directory\n" + b"".join(steps))
    assert total == 100.0
    now = [0.0]
    estimate = Estimate(total, lambda: now[0])
    assert left(estimate.remaining) == ""
    now[0] = 10.0
    assert not estimate.feed(steps[0][:-2])
    assert estimate.feed(steps[0][-2:])
    assert left(estimate.remaining) == ", about 3 min left"  # 190 s
    now[0] = 100.0
    assert estimate.feed(b"warning: x\n" + steps[1])
    assert left(estimate.remaining) == ", about 5 s left"
    estimate.feed(steps[2])
    assert (estimate.done, estimate.of, estimate.remaining) == (3, 3, 0.0)


@given(st.binary(max_size=400))
def test_an_estimate_survives_any_output(data: bytes) -> None:
    """Compilers print what they like."""
    estimate = Estimate(planned(data) + 1)
    estimate.feed(b"[3/9] ")
    estimate.feed(data)
    assert estimate.remaining is None or estimate.remaining >= 0


# what it is built of


def source_archive(path: Path, **more: str) -> bytes:
    """Write a source distribution like llama-cpp-python's."""
    with tarfile.open(path, "w:gz") as archive:
        files = {
            "vendor/llama.cpp/CMakeLists.txt": "x", "vendor/llama.cpp/ggml/a.c": "x",
            "vendor/llama.cpp/models/big.gguf": "x", "llama_cpp/__init__.py": "x",
            ".git/modules/pack": "x", **more,
        }  # fmt: skip
        for name, content in files.items():
            info = tarfile.TarInfo(f"llama_cpp_python-9/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content.encode()))
        link = tarfile.TarInfo("llama_cpp_python-9/vendor/llama.cpp/evil")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return path.read_bytes()


def test_only_llama_cpp_is_unpacked(tmp_path: Path) -> None:
    """No models, no history, no links, nothing outside the folder."""
    archive = tmp_path / "a.tar.gz"
    source_archive(archive, **{"vendor/llama.cpp/../../../../../escaped": "x"})
    found = unpack_sources(archive, tmp_path / "out")
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == tmp_path / "out" / "llama.cpp"
    assert files == {"a.tar.gz", "out/llama.cpp/CMakeLists.txt", "out/llama.cpp/ggml/a.c"}


def test_an_archive_of_llama_cpp_itself_is_unpacked_whole(tmp_path: Path) -> None:
    """As its releases have it: a `vendor` folder of its own belongs to it."""
    archive = tmp_path / "b9.tar.gz"
    names = ("CMakeLists.txt", "ggml/a.c", "vendor/nlohmann/json.hpp")
    with tarfile.open(archive, "w:gz") as opened:
        for name in (*names, "models/big.gguf"):
            opened.addfile(tarfile.TarInfo(f"llama.cpp-b9/{name}"))
    found = unpack_sources(archive, tmp_path / "out")
    files = {str(path.relative_to(found)) for path in found.rglob("*") if path.is_file()}
    assert files == set(names)


def test_the_commit_is_known_from_the_archive(tmp_path: Path) -> None:
    """Where its history is carried along; what is no commit is not taken for one."""
    archive = tmp_path / "a.tar.gz"
    for head, commit in (("0123456789" * 4, "0123456"), ("ref: refs/heads/x", "")):
        source_archive(archive, **{".git/modules/vendor/llama.cpp/HEAD": head + "\n"})
        assert commit_of(archive) == commit
    assert commit_of(tmp_path / "none") == ""


def test_an_archive_of_something_else(tmp_path: Path) -> None:
    """Neither a text nor another project is taken for llama.cpp."""
    (tmp_path / "text").write_text("no archive")
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        archive.add(tmp_path / "text", "other-1/text")
    for name in ("text", "other.tar", "absent"):
        with pytest.raises(BackendFailure, match=r"cannot unpack|holds no llama\.cpp"):
            unpack_sources(tmp_path / name, tmp_path / f"out-{name}")


class Registry:
    """A package index over the wire, in either of its two forms."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.lies = False
        self.html = False
        self.downloads = 0

    async def listing(self, request: web.Request) -> web.Response:
        digests = {
            name: hashlib.sha256(b"other" if self.lies else content).hexdigest()
            for name, content in self.files.items()
        }
        if not self.files:
            raise web.HTTPNotFound
        if self.html:
            links = [f'<a href="../../f/{n}#sha256={d}">{n}</a>' for n, d in digests.items()]
            return web.Response(text="\n".join(links), content_type="text/html")
        entries = [
            {"filename": name, "url": f"../../f/{name}", "hashes": {"sha256": digest}}
            for name, digest in digests.items()
        ]
        return web.json_response({"files": entries})

    async def file(self, request: web.Request) -> web.Response:
        self.downloads += 1
        return web.Response(body=self.files[request.match_info["name"]])


@pytest.fixture
async def registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Registry, Index]]:
    served = Registry()
    app = web.Application()
    app.router.add_get("/simple/{package}/", served.listing)
    app.router.add_get("/f/{name}", served.file)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{runner.addresses[0][1]}/simple/")
    async with aiohttp.ClientSession() as http:
        yield served, Index(http, tmp_path / "cache", lambda text: None)
    await runner.cleanup()


@pytest.mark.parametrize("html", [False, True])
async def test_sources_come_from_the_index_once(
    registry: tuple[Registry, Index], html: bool
) -> None:
    """By version and checksum, and the next time from the cache."""
    served, index = registry
    served.html = html
    served.files = {f"llama_cpp_python-0.{n}.tar.gz": b"%d" % n for n in (2, 10, 9)}
    for _ in range(2):
        assert (await index.sources("0.10")).read_bytes() == b"10"
    assert served.downloads == 1
    with pytest.raises(
        BackendFailure, match=r"no llama-cpp-python 7; the newest are 0\.2, 0\.9, 0\.10"
    ):
        await index.sources("7")


async def test_a_wrong_checksum(registry: tuple[Registry, Index], tmp_path: Path) -> None:
    """What is not what the index says is thrown away."""
    served, index = registry
    served.files, served.lies = {"llama_cpp_python-1.0.tar.gz": b"x"}, True
    with pytest.raises(BackendFailure, match="wrong checksum"):
        await index.sources("1.0")
    assert list((tmp_path / "cache").iterdir()) == []


async def test_the_known_version_has_a_known_checksum(registry: tuple[Registry, Index]) -> None:
    """An index cannot give something else for the version that runnerd was tested with."""
    served, index = registry
    served.files = {f"llama_cpp_python-{VERSION}.tar.gz": b"evil"}
    with pytest.raises(BackendFailure, match="another llama_cpp_python"):
        await index.sources(VERSION)
    assert served.downloads == 0


async def test_no_index(registry: tuple[Registry, Index], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network the message says how to do without; a password in the address stays out."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:secret@127.0.0.1:1/simple")
    async with aiohttp.ClientSession() as http:
        with pytest.raises(BackendFailure, match="--source") as caught:
            await Index(http, Path("/nonexistent"), print).sources("1.0")
    assert "secret" not in caught.value.message


async def test_a_build_tool_is_unpacked_from_its_wheel(
    registry: tuple[Registry, Index], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For this machine and its C library, the newest one, made executable."""
    served, index = registry
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    for version in ("3.9", "3.10"):
        for tag in ("manylinux2014_x86_64.manylinux_2_17_x86_64", "musllinux_1_2_x86_64",
                    "manylinux2014_aarch64", "win_amd64"):  # fmt: skip
            content = io.BytesIO()
            with zipfile.ZipFile(content, "w") as wheel:
                wheel.writestr("cmake/data/bin/cmake", f"{version} {tag}")
            served.files[f"cmake-{version}-py3-none-{tag}.whl"] = content.getvalue()
    program = await index.tool("cmake", "/bin/cmake", tmp_path / "tools")
    assert program.read_text() == "3.10 manylinux2014_x86_64.manylinux_2_17_x86_64"
    assert program.stat().st_mode & 0o111
    served.files = {}
    with pytest.raises(BackendFailure, match="has no ninja for this machine"):
        await index.tool("ninja", "/ninja", tmp_path / "tools")


async def test_offers_of_other_hosts_are_addresses_too() -> None:
    """Links of an index may be relative or elsewhere."""
    page = '<a data-x="1" href="https://f.example/a-1.0.tar.gz#sha256=ab">a</a> <a href="b">b</a>'
    assert list(module._offers(page, "https://i.example/simple/a/")) == [
        File("a-1.0.tar.gz", "https://f.example/a-1.0.tar.gz", "ab")
    ]
    with pytest.raises(BackendFailure, match="no package index"):
        list(module._offers('{"files": 3}', "https://i.example/"))
