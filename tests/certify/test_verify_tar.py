"""`report verify`: a tar of the folder, and what stands beside or behind it."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from boxcheck.certify.verify import NothingToVerify
from tests.certify.signed import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def packed(bench: Bench, mode: str = "w:gz", name: str = "attempt-01.tar.gz", top: str = "attempt-01") -> Path:
    path = bench.top / name
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        tar.add(bench.folder, top)
    return path


@pytest.mark.parametrize(("mode", "name", "top"), [
    ("w:gz", "a.tar.gz", "attempt-01"), ("w", "a.tar", "."), ("w:xz", "a.tar.xz", "a/b/attempt-01")])
def test_a_tar_of_the_folder_is_verified_without_being_unpacked(bench: Bench, mode: str, name: str, top: str) -> None:
    assert bench.verify(packed(bench, mode, name, top)).exit_code == 0
    (bench.folder / "profile.toml").write_bytes(b"name = 'x'\n")
    assert bench.verify(packed(bench, mode, name, top)).reasons == ("profile.toml was changed, 11 bytes instead of 34",)


def test_a_tar_with_what_no_folder_has_is_refused(bench: Bench) -> None:
    path = packed(bench, "w", "a.tar")
    for says, kind, name, link in (
        ("../evil is no name", tarfile.REGTYPE, "attempt-01/../evil", ""),
        ("lies outside of the attempt's folder", tarfile.REGTYPE, "elsewhere/x", ""),
        ("kernel.log is there twice", tarfile.REGTYPE, "attempt-01/kernel.log", ""),
        ("l is a link", tarfile.SYMTYPE, "attempt-01/l", "/etc/passwd"),
        ("h is a link", tarfile.LNKTYPE, "attempt-01/h", "attempt-01/kernel.log"),
        ("d is no plain file", tarfile.CHRTYPE, "attempt-01/d", ""),
    ):
        copy = bench.top / "hostile.tar"
        shutil.copyfile(path, copy)
        with tarfile.open(copy, "a") as tar:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            tar.addfile(member)
        found = bench.verify(copy)
        assert found.exit_code == 1, says
        assert any(says in one for one in found.reasons), (says, found.reasons)


@pytest.mark.parametrize(("headers", "refused"), [
    ({"path": "attempt-01/elsewhere"}, True), ({"linkpath": "/etc/passwd"}, True), ({"size": "1"}, True),
    ({"GNU.sparse.name": "x"}, True), ({"comment": "a commit"}, False)])
def test_a_tar_whose_global_header_gives_names_is_not_read_as_one_without(
    bench: Bench, headers: dict[str, str], refused: bool,
) -> None:
    """GNU tar takes them for every file; here they were passed over, so that something else was verified."""
    path = bench.top / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers=headers) as tar:
        tar.add(bench.folder, "attempt-01")
    if refused:
        with pytest.raises(NothingToVerify, match="gives all its files another name or size"):
            bench.verify(path)
    else:
        assert bench.verify(path).exit_code == 0


def test_tars_that_hold_no_attempt_or_several_are_told(bench: Bench) -> None:
    (bench.folder / "manifest.json").unlink()
    with pytest.raises(NothingToVerify, match=r"holds no manifest\.json"):
        bench.verify(packed(bench, "w", "b.tar"))
    bench = Bench(bench.top / "two")
    path = packed(bench, "w", "c.tar")
    with tarfile.open(path, "a") as tar:
        tar.add(bench.folder, "attempt-02")
    with pytest.raises(NothingToVerify, match="holds 2 attempts"):
        bench.verify(path)
    whole = packed(bench, "w:gz", "d.tar.gz").read_bytes()
    for cut in (0, 5, 30, 100, len(whole) // 2, len(whole) - 5):
        (bench.top / "cut.tar.gz").write_bytes(whole[:cut])
        with pytest.raises(NothingToVerify):
            bench.verify(bench.top / "cut.tar.gz")


@pytest.mark.parametrize(("mode", "behind"), [
    ("w", b"\0" * 5000 + b"x"), ("w:gz", b"\0" * 600_000 + b"x"), ("w:gz", b"x"), ("w:xz", b"\0\0\0\0junk"),
    ("w:bz2", b"junk")])
def test_a_tar_with_bytes_behind_its_end_is_not_verified(bench: Bench, mode: str, behind: bytes) -> None:
    path = packed(bench, mode, "a.tar")
    whole = path.read_bytes()
    path.write_bytes(whole + behind)
    with pytest.raises(NothingToVerify, match="holds something behind its end mark"):
        bench.verify(path)
    path.write_bytes(whole + (b"" if mode == "w:xz" else bytes(len(behind))))
    assert bench.verify(path).exit_code == 0, "a tape drive fills its last block with zeros"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_second_tar_behind_the_first_is_not_verified(bench: Bench, mode: str) -> None:
    path = packed(bench, mode, "a.tar.gz")
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(NothingToVerify, match="holds something behind its end mark"):
        bench.verify(path)
