"""The vendor's library as a second engine: found, called rightly, proven, chosen by speed; and whatever it does, survived.

Libraries of paper (`mock_blas`) multiply in the host's memory; they refuse calls that a real one would not forgive.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boxcheck.gpu import vendor_blas, vendor_cublas, vendor_library, vendor_rocblas
from boxcheck.gpu.device import DriverGpu
from boxcheck.gpu.vendor_blas import LibraryError, LibraryProduct, open_library
from boxcheck.model import Unread
from boxcheck.stress.exact_products import Exact
from boxcheck.stress.kernel_choice import prove
from tests.gpu.devices import opened
from tests.gpu.mock_blas.build import Mock, build, has_compiler
from tests.gpu.mock_blas.host_gpu import host_gpu
from tests.gpu.paper_blas import KERNEL, SHAPE, paper_cublas

pytestmark = pytest.mark.skipif(not has_compiler(), reason="no gcc to build libraries of paper with")


@pytest.fixture
def cublas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mock:
    return paper_cublas(tmp_path, monkeypatch)


@pytest.fixture
def rocblas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mock:
    """The only rocBLAS here is one of paper, with kernels for gfx1151."""
    monkeypatch.setattr(vendor_rocblas, "paths", lambda: iter([str(tmp_path / "rocm" / "librocblas.so.4")]))
    kernels = tmp_path / "rocm" / "rocblas" / "library"
    kernels.mkdir(parents=True)
    (kernels / "TensileLibrary_lazy_gfx1151.dat").touch()
    return build("rocblas", tmp_path / "rocm")


def _open(gpu: DriverGpu) -> Any:
    library = open_library(gpu)
    assert not isinstance(library, Unread), library.why
    return library


# Calling it.


@pytest.mark.parametrize(("name", "backend", "arch", "elements"), [
    ("cublas", "cuda", "sm_89", {"fp16", "bf16", "tf32", "fp32", "int8", "e4m3"}),
    ("rocblas", "hip", "gfx1151", {"fp16", "bf16", "fp32", "int8"})])
def test_every_element_is_right_and_no_call_is_amiss(
        request: pytest.FixtureRequest, name: str, backend: Any, arch: str, elements: set[str]) -> None:
    mock = request.getfixturevalue(name)
    gpu = host_gpu(backend, arch)
    library = _open(gpu)
    assert library.elements == elements
    for element in sorted(elements):
        sample, refused = prove(gpu, LibraryProduct(library, element))
        assert refused is None
        assert sample is not None
        assert (sample.wrong, sample.checked) == (0, 128 * 256)
    assert mock.count("products") >= len(elements) - 1
    assert (mock.count("misuses"), mock.count("handles")) == (0, 1)
    library.close()
    assert mock.count("handles") == 0
    gpu.close()


def test_a_wrong_element_of_a_library_is_seen_and_placed(cublas: Mock) -> None:
    gpu = host_gpu()
    product = LibraryProduct(_open(gpu), "bf16")
    cublas.script(wrong=1)
    sample, _ = prove(gpu, product)
    assert sample is not None
    assert (sample.wrong, sample.words[0].where) == (1, "row 5, column 3")


@pytest.mark.parametrize(("status", "kind", "words"), [
    (3, "out-of-memory", "cublas 13.1.0: it got no memory (cublasGemmEx, bf16: status 3)"),
    (15, "unsupported", "it has no such product for this GPU"), (99, "error", "an error that boxcheck does not know")])
def test_what_a_library_refuses_is_said_and_its_memory_given_back(
        cublas: Mock, status: int, kind: str, words: str) -> None:
    gpu = host_gpu()
    product = LibraryProduct(_open(gpu), "bf16")
    cublas.script(status=status)
    sample, refused = prove(gpu, product)
    assert sample is None
    assert isinstance(refused, LibraryError)
    assert refused.kind == kind
    assert words in refused.says
    assert gpu.calls.memory == {}  # type: ignore[attr-defined]


def test_fp8_that_the_gpu_has_not_is_refused(cublas: Mock, tmp_path: Path) -> None:
    gpu = host_gpu()
    product = LibraryProduct(_open(gpu), "e4m3")
    Mock(tmp_path / "cuda" / "libcublasLt.so.13").script(status=15)
    _, refused = prove(gpu, product)
    assert isinstance(refused, LibraryError)
    assert refused.kind == "unsupported"


def test_without_cublaslt_there_is_no_fp8_and_the_rest_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mock = build("cublas", tmp_path)
    monkeypatch.setattr(vendor_cublas, "paths", lambda driver: iter([str(mock.path)]))
    library = _open(host_gpu())
    assert library.elements == {"fp16", "bf16", "tf32", "fp32", "int8"}
    with pytest.raises(LibraryError, match="no such products of e4m3"):
        LibraryProduct(library, "e4m3")


def test_rocblas_that_went_a_slower_way_for_want_of_memory_is_right(rocblas: Mock) -> None:
    gpu = host_gpu("hip", "gfx1151")
    product = LibraryProduct(_open(gpu), "fp16")
    rocblas.script(status=7)
    sample, _ = prove(gpu, product)
    assert sample is not None
    assert sample.wrong == 0


def test_memory_that_was_freed_is_not_given_to_a_library(cublas: Mock) -> None:
    gpu = host_gpu()
    library = _open(gpu)
    buffer = gpu.allocate(1024)
    buffer.free()
    with pytest.raises(ValueError, match="after it was freed"):
        library.multiply("bf16", buffer, buffer, buffer, (8, 8, 8), False)


# Finding it.


def test_the_wheels_folder_comes_first_and_what_the_driver_cannot_run_is_left_out(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel, home = tmp_path / "site" / "nvidia" / "cu13" / "lib", tmp_path / "home" / "lib64"
    old = tmp_path / "site" / "nvidia" / "cublas" / "lib"
    for folder, name in ((wheel, "libcublas.so.13"), (home, "libcublas.so.13"), (old, "libcublas.so.12")):
        folder.mkdir(parents=True)
        (folder / name).touch()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "home"))
    new = [path for path in vendor_cublas.paths("CUDA 13.0, driver 580.65") if not path.startswith("/usr")]
    assert new == [
        str(wheel / "libcublas.so.13"), str(home / "libcublas.so.13"), "libcublas.so.13", str(old / "libcublas.so.12"),
        "libcublas.so.12"]
    assert not [path for path in vendor_cublas.paths("CUDA 12.4, driver 550.90") if "13" in path.rsplit(".", 1)[1]]


def test_rocblas_is_looked_for_beside_the_hip_runtime_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("in-use", "rocm/lib"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "librocblas.so.4").touch()
    monkeypatch.setattr(vendor_rocblas, "loaded_files", lambda name: [str(tmp_path / "in-use" / "libamdhip64.so.6")])
    monkeypatch.setenv("ROCM_PATH", str(tmp_path / "rocm"))
    found = [path for path in vendor_rocblas.paths() if path.startswith(str(tmp_path))]
    assert found == [str(tmp_path / "in-use" / "librocblas.so.4"), str(tmp_path / "rocm" / "lib" / "librocblas.so.4")]


@pytest.mark.parametrize(("backend", "words"), [("cuda", "cuBLAS was not found"), ("hip", "rocBLAS was not found")])
def test_no_library_is_absent_and_no_error(backend: Any, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor_cublas, "paths", lambda driver: iter(["/nowhere/libcublas.so.13", "libcublas-of-nobody.so"]))
    monkeypatch.setattr(vendor_rocblas, "paths", lambda: iter(["librocblas-of-nobody.so"]))
    found = open_library(host_gpu(backend))
    assert isinstance(found, Unread)
    assert found.kind == "absent"
    assert words in found.why


def test_a_processor_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for gpu in opened("cpu"):
        found = open_library(gpu)
        assert isinstance(found, Unread)
        assert found.kind == "unsupported"


def test_a_file_that_is_no_library_is_an_error_in_one_sentence(cublas: Mock, tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("no library")
    found = vendor_library.opened([str(tmp_path / "text.so")], lambda library, path: path, "cuBLAS", "")
    assert isinstance(found, Unread)
    assert found.kind == "error"
    assert "\n" not in found.why
    assert vendor_library.opened(
        [str(tmp_path / "text.so"), str(cublas.path)], lambda library, path: path, "cuBLAS", "") == str(cublas.path)


def test_a_library_whose_own_library_is_missing_is_no_absent_one(tmp_path: Path) -> None:
    (tmp_path / "x.c").write_text("int x(void) { return 1; }")
    for out, more in (("libneeded.so", []), ("libneeds.so", ["-Wl,--no-as-needed", "-L.", "-lneeded"])):
        subprocess.run(["gcc", "-shared", "-fPIC", "x.c", "-o", out, *more], cwd=tmp_path, check=True, timeout=60)
    (tmp_path / "libneeded.so").unlink()
    found = vendor_library.opened([str(tmp_path / "libneeds.so")], lambda library, path: path, "cuBLAS", "")
    assert isinstance(found, Unread)
    assert found.kind == "error"
    assert "libneeded.so" in found.why


def test_a_library_without_the_function_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mock = build("cublas", tmp_path, "-DGEMM=cublasOther")
    monkeypatch.setattr(vendor_cublas, "paths", lambda driver: iter([str(mock.path)]))
    found = open_library(host_gpu())
    assert isinstance(found, Unread)
    assert f"{mock.path} has no cublasGemmEx" in found.why


def test_a_library_that_does_not_start_is_told_and_another_that_does_is_taken(
        cublas: Mock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cublas.script(create=1)
    found = open_library(host_gpu())
    assert isinstance(found, Unread)
    assert found.kind == "error"
    assert "the driver may be too old" in found.why
    other = build("cublas", tmp_path / "other")
    other.script(version=12)
    monkeypatch.setattr(vendor_cublas, "paths", lambda driver: iter([str(cublas.path), str(other.path)]))
    assert _open(host_gpu()).version == "12.1.0"


def test_whatever_goes_wrong_while_looking_is_told_and_never_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(driver: str) -> Iterator[str]:
        raise RuntimeError("half installed")

    monkeypatch.setattr(vendor_cublas, "paths", broken)
    found = open_library(host_gpu())
    assert isinstance(found, Unread)
    assert "half installed" in found.why


def test_rocblas_is_not_started_on_a_gpu_that_it_has_no_kernels_for(
        rocblas: Mock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = open_library(host_gpu("hip", "gfx1103"))
    assert isinstance(found, Unread)
    assert found.kind == "unsupported"
    assert "brings no kernels for gfx1103" in found.why
    assert rocblas.count("handles") == 0
    own = tmp_path / "own"
    own.mkdir()
    (own / "TensileLibrary_gfx1103.dat").touch()
    monkeypatch.setenv("ROCBLAS_TENSILE_LIBPATH", str(own))
    assert _open(host_gpu("hip", "gfx1103")).version == "4.4.1"


def test_rocblas_of_another_rocm_than_the_runtime_is_refused(rocblas: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor_rocblas, "loaded_files", lambda name: ["/a/libamdhip64.so.6", "/b/libamdhip64.so.7"])
    found = open_library(host_gpu("hip", "gfx1151"))
    assert isinstance(found, Unread)
    assert "belongs to another ROCm" in found.why
    assert rocblas.count("handles") == 0


def test_what_is_loaded_is_found_by_the_beginning_of_its_name(cublas: Mock) -> None:
    assert os.path.realpath(cublas.path) in [os.path.realpath(path) for path in vendor_library.loaded_files("libcublas.so.13")]
    assert vendor_library.loaded_files("libcublas-of-nobody") == []


def test_a_library_comes_between_no_two_products_of_a_kernel(cublas: Mock) -> None:
    """The same data gives the same exact product by both."""
    gpu = host_gpu()
    product = LibraryProduct(_open(gpu), "bf16")
    rows = []
    for engine in (product, KERNEL):
        with Exact(gpu, engine, SHAPE, 9) as exact:
            exact.multiply(1)
            rows.append(exact.row(17).tolist())
    assert rows[0] == rows[1]


def test_a_narrow_result_is_made_of_16_bits_alone(cublas: Mock) -> None:
    library = _open(host_gpu())
    assert LibraryProduct(library, "int8").narrowed() is None
    with pytest.raises(LibraryError, match="no such products"):
        vendor_blas.LibraryProduct(library, "fp32", narrow=True)
