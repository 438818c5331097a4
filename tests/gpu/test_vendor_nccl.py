"""NCCL and RCCL: found, called rightly, refusing and hanging in words. Libraries of paper compute in the host's memory."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boxcheck.gpu import Backend, vendor_nccl, vendor_rocblas
from boxcheck.gpu.vendor_library import LibraryError
from boxcheck.gpu.vendor_nccl import Nccl, open_collectives
from boxcheck.kernels.catalogue import memory
from boxcheck.model import Unread
from tests.gpu.devices import opened
from tests.gpu.mock.run import ROOT, prepare, python_for, reason_to_skip
from tests.gpu.mock_blas.build import Mock, build, has_compiler
from tests.gpu.nccl_doubles import devices, only, paper, restore

pytestmark = pytest.mark.skipif(not has_compiler(), reason="no gcc to build a library of paper with")


@pytest.fixture
def nccl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mock:
    return paper(monkeypatch, tmp_path)


def start(gpus: Any) -> Nccl:
    library = open_collectives(gpus)
    assert not isinstance(library, Unread), library.why
    return library


def refused(gpus: Any) -> Unread:
    found = open_collectives(gpus)
    assert isinstance(found, Unread)
    assert "\n" not in found.why
    return found


def vectors(gpus: Any, words: int, first: int = 0) -> list[Any]:
    made = [gpu.allocate(4 * words) for gpu in gpus]
    for rank, (gpu, buffer) in enumerate(zip(gpus, made, strict=True)):
        gpu.write(buffer, np.arange(words, dtype=np.uint32) * np.uint32(3) + np.uint32((first + rank * 0x9000_0000) & 0xFFFF_FFFF))
    return made


def held(gpus: Any, buffers: Any, words: int) -> list[list[int]]:
    return [gpu.read(buffer, 4 * words).view(np.uint32).tolist() for gpu, buffer in zip(gpus, buffers, strict=True)]


@pytest.mark.parametrize(("name", "backend"), [("nccl", "cuda"), ("rccl", "hip")])
@pytest.mark.parametrize("count", [2, 7])
def test_each_collective_gives_what_numpy_gives_and_no_call_is_amiss(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, backend: Backend, count: int) -> None:
    mock = paper(monkeypatch, tmp_path, name)
    gpus, words = devices(count, backend), 5 * count
    library = start(gpus)
    assert library.engine == f"{name} 2.32.3"
    send, out = vectors(gpus, words, 7), vectors(gpus, words * count)
    inputs = np.array(held(gpus, send, words), np.uint32)
    whole = inputs.sum(axis=0, dtype=np.uint32)
    library.all_reduce(send, out, words, 2)
    assert held(gpus, out, words) == [whole.tolist()] * count
    library.reduce_scatter(send, out, 5, 2)
    assert held(gpus, out, 5) == whole.reshape(count, 5).tolist()
    library.all_gather(send, out, words, 2)
    assert held(gpus, out, words * count) == [inputs.reshape(-1).tolist()] * count
    assert (mock.count("collectives"), mock.count("misuses"), mock.count("ranks")) == (3, 0, count)
    library.close()
    library.close()
    assert (mock.count("ranks"), mock.count("misuses")) == (0, 0)


# Finding it.


def test_nccl_is_looked_for_in_the_wheels_folder_then_in_the_toolkit_then_by_the_loader(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel, home = tmp_path / "site" / "nvidia" / "nccl" / "lib", tmp_path / "home" / "lib64"
    for folder in (wheel, home):
        folder.mkdir(parents=True)
        (folder / "libnccl.so.2").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "home"))
    found = [path for path in vendor_nccl.nccl_paths() if not path.startswith("/usr")]
    assert found == [str(wheel / "libnccl.so.2"), str(home / "libnccl.so.2"), "libnccl.so.2"]


def test_rccl_is_looked_for_beside_the_hip_runtime_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("in-use", "rocm/lib"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "librccl.so.1").touch()
    monkeypatch.setattr(vendor_rocblas, "loaded_files", lambda name: [str(tmp_path / "in-use" / "libamdhip64.so.6")])
    monkeypatch.setenv("ROCM_PATH", str(tmp_path / "rocm"))
    found = [path for path in vendor_nccl.rccl_paths() if path.startswith(str(tmp_path))]
    assert found == [str(tmp_path / "in-use" / "librccl.so.1"), str(tmp_path / "rocm" / "lib" / "librccl.so.1")]


def test_a_library_in_the_current_directory_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build("nccl", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    assert not [path for path in vendor_nccl.nccl_paths() if Path(path).resolve() == tmp_path / "libnccl.so.2" and "/" in path]
    only(monkeypatch, "libnccl.so.2")
    found = open_collectives(devices(2))
    assert not isinstance(found, Nccl) or found.version != "2.32.3", "the one of paper was loaded"


@pytest.mark.parametrize(("backend", "words"), [("cuda", "NCCL was not found (pip install"), ("hip", "RCCL was not found")])
def test_no_library_is_absent_in_one_sentence(backend: Any, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "/nowhere/libnccl.so.2", "libnccl-of-nobody.so")
    found = refused(devices(2, backend))
    assert (found.kind, words in found.why) == ("absent", True)


def test_processors_have_none() -> None:
    for gpu in opened("cpu"):
        assert refused([gpu, gpu]).kind == "unsupported"


@pytest.mark.parametrize(("define", "says"), [("-DREDUCE_SCATTER=ncclOther", "has no ncclReduceScatter")])
def test_a_library_without_a_function_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, define: str, says: str) -> None:
    paper(monkeypatch, tmp_path, "nccl", define)
    found = refused(devices(2))
    assert (found.kind, says in found.why) == ("error", True)


@pytest.mark.parametrize(("number", "version"), [(2708, "2.7.8"), (0, "0.0.0")])
def test_a_library_that_is_too_old_is_told_and_not_started(nccl: Mock, number: int, version: str) -> None:
    nccl.script(version=number)
    assert f"is nccl {version}, older than 2.8" in refused(devices(2)).why
    assert nccl.count("ranks") == 0


@pytest.mark.parametrize(("number", "version"), [(2804, "2.8.4"), (21005, "2.10.5"), (23203, "2.32.3")])
def test_a_version_is_read_as_it_is_coded(nccl: Mock, number: int, version: str) -> None:
    nccl.script(version=number)
    library = start(devices(2))
    assert library.version == version
    library.close()


def test_a_library_without_words_for_its_last_error_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mock = paper(monkeypatch, tmp_path, "nccl", "-DOLD")
    gpus = devices(2)
    library = start(gpus)
    mock.script(status=1)
    send = vectors(gpus, 8)
    with pytest.raises(LibraryError, match=r"status 1: unhandled cuda error\)"):
        library.all_reduce(send, send, 8, 2)
    library.close()


# Refusing, hanging.


def test_a_library_that_does_not_start_is_told_in_its_own_words_and_another_is_taken(
        nccl: Mock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nccl.script(create=1)
    found = refused(devices(2))
    assert found.kind == "error"
    assert found.why == (
        "nccl 2.32.3: a call of the GPU's driver failed in it (ncclCommInitAll: status 1: Cuda failure 'mock')")
    other = build("nccl", tmp_path / "other")
    other.script(version=21805)
    only(monkeypatch, nccl.path, other.path)
    library = start(devices(2))
    assert library.version == "2.18.5"
    library.close()


@pytest.mark.parametrize(("status", "words"), [(2, "operating system"), (5, "how it is called"), (77, "does not know")])
def test_a_collective_that_is_refused_is_told_and_the_group_is_ended(nccl: Mock, status: int, words: str) -> None:
    gpus = devices(3)
    library = start(gpus)
    send, out = vectors(gpus, 8), vectors(gpus, 8)
    nccl.script(status=status)
    with pytest.raises(LibraryError, match=rf"{words}.*ncclAllReduce: status {status}"):
        library.all_reduce(send, out, 8, 2)
    nccl.script(status=0)
    library.all_reduce(send, out, 8, 2)  # a group left open would hold it back
    assert nccl.count("collectives") == 1
    library.close()


def test_a_collective_that_hangs_is_aborted_and_told(nccl: Mock) -> None:
    gpus = devices(2)
    library = start(gpus)
    send, out = vectors(gpus, 8), vectors(gpus, 8)
    nccl.script(hang=0)
    began = time.monotonic()
    aborted = r"nccl 2\.32\.3: all-reduce did not end within 0\.2 s and was aborted"
    with pytest.raises(LibraryError, match=aborted) as caught, library.within(0.2, "all-reduce"):
        library.all_reduce(send, out, 8, 2)
    assert caught.value.kind == "timeout"
    assert time.monotonic() - began < 5
    library.close()
    assert (nccl.count("aborted"), nccl.count("ranks"), nccl.count("misuses")) == (2, 0, 0)


def test_a_collective_in_time_is_not_aborted(nccl: Mock) -> None:
    gpus = devices(2)
    library = start(gpus)
    send, out = vectors(gpus, 8), vectors(gpus, 8)
    nccl.script(sleep_us=50_000)
    with library.within(5, "all-reduce"):
        library.all_reduce(send, out, 8, 2)
    library.close()
    assert nccl.count("aborted") == 0


def test_its_name_is_told_before_it_starts(nccl: Mock, capsys: pytest.CaptureFixture[str]) -> None:
    began: list[tuple[str, int]] = []
    found = open_collectives(devices(2), lambda engine: began.append((engine, nccl.count("ranks"))))
    assert began == [("nccl 2.32.3", 0)]
    assert capsys.readouterr().err == f"trying nccl 2.32.3 ({nccl.path}); --option engine=own leaves it out\n"
    assert isinstance(found, Nccl)
    found.close()


def test_it_listens_on_loopback_and_writes_no_files(nccl: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in vendor_nccl.DROPPED:
        monkeypatch.setenv(name, "/tmp/somewhere")
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "eth0")
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    start(devices(2)).close()  # the one of paper refuses any other way
    assert not [name for name in vendor_nccl.DROPPED if name in os.environ]
    assert (os.environ["NCCL_SOCKET_IFNAME"], os.environ["NCCL_DEBUG"]) == ("=lo", "INFO")


def test_rccl_of_another_rocm_than_the_runtime_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mock = paper(monkeypatch, tmp_path, "rccl")
    monkeypatch.setattr(vendor_rocblas, "loaded_files", lambda name: ["/a/libamdhip64.so.6", "/b/libamdhip64.so.7"])
    assert "belongs to another ROCm" in refused(devices(2, "hip")).why
    assert mock.count("ranks") == 0


CRASH = """
import sys
from pathlib import Path
from boxcheck.gpu import vendor_nccl
from tests.gpu.mock_blas.build import Mock
from tests.gpu.nccl_doubles import devices

vendor_nccl.nccl_paths = lambda: iter([sys.argv[1]])
Mock(Path(sys.argv[1])).script(create=-1)
vendor_nccl.open_collectives(devices(2))
"""


def test_a_library_that_crashes_takes_its_process_alone_and_was_named_last(nccl: Mock) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CRASH, str(nccl.path)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGABRT
    assert done.stderr.splitlines()[-1] == f"trying nccl 2.32.3 ({nccl.path}); --option engine=own leaves it out"


REAL = os.environ.get("BOXCHECK_TEST_NCCL", "")


@pytest.mark.skipif(not REAL, reason="BOXCHECK_TEST_NCCL names no libnccl.so.2 to load")
def test_the_real_library_has_the_functions_and_says_why_it_does_not_start_here(monkeypatch: pytest.MonkeyPatch) -> None:
    restore(monkeypatch)
    only(monkeypatch, REAL)
    library = ctypes.CDLL(REAL)
    code = ctypes.c_int()
    assert library.ncclGetVersion(ctypes.byref(code)) == 0
    found = open_collectives(devices(2))
    assert isinstance(found, Unread)
    assert "ncclCommInitAll: status" in found.why


# Through the bindings and a mock driver, which works as late and in as bad an order as it may.


@pytest.mark.parametrize("backend", ["cuda", "hip"])
def test_the_module_runs_it_through_the_driver_right_and_wrong(backend: str, tmp_path: Path) -> None:
    if why := reason_to_skip(backend):
        pytest.skip(why)
    name = "nccl" if backend == "cuda" else "rccl"
    environment = {
        **prepare(backend, tmp_path, (memory(),)), "MOCK_DEVICES": "7",
        "MOCK_BUDGET": str(64 << 20)}
    mock = build(name, tmp_path / "library")
    done = subprocess.run(
        [str(python_for(backend)), "-m", "tests.gpu.nccl_child", backend, str(mock.path)], cwd=ROOT, env=environment,
        capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    for count in ("2", "7"):
        found = told[count]
        assert found["wrong"] == 0
        assert found["whats"] == ["library.all-gather", "library.all-reduce", "library.reduce-scatter"]
        assert found["outcomes"]["collective.library"] == ["pass"]
        assert "fail" not in found["outcomes"]["collective.wrong-words"]
    assert told["wrong"]["outcomes"]["collective.library"] == ["fail"]
    assert "fail" not in told["wrong"]["outcomes"]["collective.wrong-words"]
    assert told["without order"]["wrong"] > 0
    assert told["hang"]["outcomes"]["collective.library"] == ["fail"]
    assert "did not end within 0.3 s and was aborted" in told["hang"]["says"]
    assert "fail" not in told["hang"]["outcomes"]["collective.wrong-words"]
    assert (told["violations"], told["misuses"], told["ranks"]) == (0, 0, 0)
    assert not any(told["left"].values())
