"""What is handed to triage: files in every packing and encoding, folders, standard input, and what is no text."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import sys
import tarfile
from pathlib import Path

import pytest
import zstandard

from boxcheck.host import inflate
from boxcheck.report.text import Style
from boxcheck.report.triage import triage_text
from boxcheck.triage import input
from boxcheck.triage.account import triage
from boxcheck.triage.input import gather, is_capture
from boxcheck.usage import UsageError
from tests.triage.texts import BUSES, aer, told

LOG = BUSES + aer(500.0, "0000:40:01.1", 6, "BadTLP")


def kinds(place: Path | str) -> list[str]:
    return [sighting.kind for sighting in triage([str(place)]).events]


@pytest.mark.parametrize("pack", [
    gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress, bytes,
], ids=["gzip", "bzip2", "xz", "zstd", "plain"])
def test_every_packing_is_read(pack: object, tmp_path: Path) -> None:
    place = tmp_path / "log"
    place.write_bytes(pack(LOG.encode()))  # type: ignore[operator]
    assert kinds(place) == ["aer-correctable"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_every_encoding_is_read(encoding: str, tmp_path: Path) -> None:
    place = tmp_path / "log"
    place.write_bytes(("[    0.1] Grüße\n" + LOG).encode(encoding))
    assert kinds(place) == ["aer-correctable"]


@pytest.mark.parametrize("blank", ["\u00a0", "\u202f", "\u2007", " \u200b", "\ufeff "])
def test_blanks_of_web_pages_and_chats(blank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They look like any other, wherever a block ends within one; a log with them was without a fault."""
    place = tmp_path / "log"
    for size in (inflate.CHUNK_BYTES, 7, 8, 9):
        monkeypatch.setattr(inflate, "CHUNK_BYTES", size)
        monkeypatch.setattr(input, "CHUNK_BYTES", size)
        place.write_bytes(LOG.replace(" ", blank).encode())
        assert kinds(place) == ["aer-correctable"], size


@pytest.mark.parametrize("colour", ["\x1b[01;31m\x1b[K{}\x1b[m\x1b[K", "\x1b[38;5;196m{}\x1b(B\x1b[m", "\x1b]0;rig1\x07{}"])
def test_colours_of_a_terminal(colour: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`grep --color=always`: the marks stand within the words by which an output is found."""
    text = ("41:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev a1)\n"
            "\t\tLnkSta:\tSpeed 16GT/s, Width x8 (downgraded)\n")
    place = tmp_path / "log"
    place.write_text(text.replace("VGA", colour.format("VGA")).replace("LnkSta", colour.format("LnkSta")))
    for size in (inflate.CHUNK_BYTES, 7, 8, 9, 10):
        monkeypatch.setattr(inflate, "CHUNK_BYTES", size)
        monkeypatch.setattr(input, "CHUNK_BYTES", size)
        assert kinds(place) == ["link-width"], size


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_line_ends(end: str, tmp_path: Path) -> None:
    place = tmp_path / "log"
    place.write_bytes(LOG.replace("\n", end).encode())
    found = triage([str(place)])
    assert [sighting.event.line for sighting in found.events] == [9]
    assert found.sources[0].lines == LOG.count("\n")


def test_a_packed_file_that_is_cut_gives_what_came_before_and_says_so(tmp_path: Path) -> None:
    place = tmp_path / "log.gz"
    many = LOG + "".join(f"[  600.{number:06d}] usb 1-1: new device {number * 7919}\n" for number in range(20_000))
    place.write_bytes(gzip.compress(many.encode())[:-5000])
    found = triage([str(place)])
    assert [sighting.kind for sighting in found.events] == ["aer-correctable"]
    assert "what came before was read" in found.sources[0].complaints[0]


def test_a_damaged_packing_is_no_traceback(tmp_path: Path) -> None:
    place = tmp_path / "log.gz"
    packed = bytearray(gzip.compress(LOG.encode()))
    packed[20:30] = b"\0" * 10
    place.write_bytes(packed)
    assert triage([str(place)]).sources[0].complaints


@pytest.mark.parametrize(("head", "word"), [
    (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "picture"), (b"%PDF-1.7\n", "PDF"), (b"PK\x03\x04" + b"\0" * 30, "zip"),
    (b"\x7fELF\x02\x01", "program"), (b"LPKSHHRH" + b"\0" * 200, "journald"),
])
def test_another_file_is_named_for_what_it_is(head: bytes, word: str, tmp_path: Path) -> None:
    place = tmp_path / "thing"
    place.write_bytes(head)
    with pytest.raises(UsageError, match=word) as refused:
        triage([str(place)])
    assert refused.value.help


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        gather([str(tmp_path / "none")])


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    place = tmp_path / "log"
    place.write_text(LOG)
    place.chmod(0)
    with pytest.raises(UsageError, match="permission denied"):
        triage([str(place)])


def test_a_folder_is_all_its_files_and_no_link_out_of_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text(LOG)
    folder = tmp_path / "ticket"
    (folder / "deeper").mkdir(parents=True)
    (folder / "deeper" / "dmesg.txt").write_text(LOG)
    (folder / "a.txt").write_text("hello")
    (folder / ".hidden").write_text(LOG)
    (folder / "link").symlink_to(outside)
    assert gather([str(folder)]) == [str(folder / "a.txt"), str(folder / "deeper" / "dmesg.txt")]


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file"):
        gather([str(tmp_path)])


def test_a_folder_of_more_files_than_are_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxcheck.triage.input.MOST_FILES", 3)
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(LOG)
    assert len(gather([str(tmp_path)])) == 3
    (tmp_path / "last.txt").write_text(LOG)
    with pytest.raises(UsageError, match="more than 3 files") as refused:
        gather([str(tmp_path)])
    assert refused.value.help


@pytest.mark.parametrize("closed", ["", "deeper"])
def test_a_folder_that_may_not_be_listed_is_refused(
    closed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one below: what is in it was left out without a word."""
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "dmesg.txt").write_text(LOG)
    (tmp_path / "a.txt").write_text("hello")
    locked = str(tmp_path / closed)
    for name in ("scandir", "listdir"):
        real = getattr(os, name)

        def refuse(path: str, real: object = real) -> object:
            if os.path.samefile(path, locked):
                raise PermissionError(errno.EACCES, "Permission denied", path)
            assert callable(real)
            return real(path)

        monkeypatch.setattr(os, name, refuse)
    with pytest.raises(UsageError, match="permission denied") as refused:
        gather([str(tmp_path)])
    assert "sudo" in refused.value.help


def test_an_output_that_is_too_long_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict beyond the last line that is read would be missing without a word."""
    line = "[RESULT] [302017.167195] [gst-1] [GPU:: 42583] GFLOPS 65200 Target GFLOPS: 65000 met: {}\n"
    place = tmp_path / "rvs.txt"
    place.write_text(9 * line.format("TRUE") + line.format("FALSE"))
    assert triage([str(place)]).sources[0].complaints == ()
    assert len(triage([str(place)]).events) == 1
    monkeypatch.setattr("boxcheck.triage.cut.MAX_SECTION_LINES", 5)
    found = triage([str(place)])
    assert found.events == ()
    assert "line 1: the output of rvs is too long" in found.sources[0].complaints[0]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(gzip.compress(LOG.encode()))

    monkeypatch.setattr(sys, "stdin", Stdin())
    found = triage(["-"])
    assert found.sources[0].name == "standard input"
    assert [sighting.kind for sighting in found.events] == ["aer-correctable"]


def test_the_same_log_twice_happened_once(tmp_path: Path) -> None:
    found = told(tmp_path, LOG, LOG)
    assert len(found.events) == 1
    assert len(found.sources) == 2


def test_a_capture_is_told_from_a_folder_of_texts(tmp_path: Path) -> None:
    capture = tmp_path / "capture"
    (capture / "proc").mkdir(parents=True)
    (capture / "proc" / "cmdline").write_text("quiet\n")
    (capture / "var" / "log").mkdir(parents=True)
    (capture / "var" / "log" / "dmesg").write_text(LOG)
    assert is_capture(str(capture))
    assert kinds(capture) == ["aer-correctable"]
    packed = tmp_path / "capture.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(capture, ".")
    assert is_capture(str(packed))
    assert kinds(packed) == ["aer-correctable"]
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "dmesg").write_text(LOG)
    assert not is_capture(str(texts))


@pytest.mark.parametrize("junk", [
    b"", b"\0" * 5000, bytes(range(256)) * 200, b"\n" * 5000, b"a" * 3_000_000, b"\r" * 9999, b"\xff\xfe",
    b"{" * 100_000, b"[" * 100_000, b'{"a":' * 50_000, b"\x1b[2J\x1b]0;owned\x07" * 100, b"\x1f\x8b", b"BZh9",
    "\u202e\u200bkernel".encode() * 1000,
], ids=lambda junk: f"{len(junk)}:{junk[:6]!r}")
def test_junk_is_nothing_and_no_traceback(junk: bytes, tmp_path: Path) -> None:
    place = tmp_path / "junk"
    place.write_bytes(junk)
    found = triage([str(place)])
    assert not found.events
    assert not found.recognised


@pytest.mark.parametrize(("text", "empty"), [("", True), ("hello", False), ("\n", False)])
def test_an_empty_text_is_told_from_an_unknown_one(text: str, empty: bool, tmp_path: Path) -> None:
    """As from `dmesg | boxcheck triage -` of a user who may not read the log."""
    said = triage_text(told(tmp_path, text), Style(columns=200))
    assert ("it is empty" in said, "sudo dmesg | boxcheck triage -" in said) == (empty, empty)
    assert ("nothing in it is known here" in said) is not empty


def test_a_log_of_something_else_is_not_recognised(tmp_path: Path) -> None:
    """A web server's log has time stamps as well; to call it free of faults would be a pass without a look."""
    web = "".join(
        f'192.0.2.7 - - [28/Nov/2026:11:{number % 60:02d}:00 +0000] "GET / HTTP/1.1" 200 612\n' for number in range(500))
    journal = "".join(
        f"Nov 28 11:{number % 60:02d}:00 host nginx[812]: upstream timed out\n" for number in range(500))
    for text in (web, journal):
        assert not told(tmp_path, text).recognised


def test_a_log_without_an_event_is_recognised(tmp_path: Path) -> None:
    found = told(tmp_path, BUSES)
    assert found.recognised
    assert not found.events
    assert not found.failed


@pytest.mark.parametrize(("text", "command"), [
    ("dmesg: read kernel buffer failed: Operation not permitted\n", "sudo dmesg"),
    ("box:~$ dmesg\ndmesg: Lesen des Kernelpuffers ist fehlgeschlagen: Die Operation ist nicht erlaubt\n", "sudo dmesg"),
    ("No journal files were opened due to insufficient permissions.\n", "sudo journalctl -k -b"),
    ("dmesg: invalid option -- 'q'\n", None)])
def test_a_program_that_was_not_let_to_read_the_log_is_told_with_what_reads_it(
    tmp_path: Path, text: str, command: str | None
) -> None:
    (tmp_path / "log.txt").write_text(text)
    found = triage([str(tmp_path / "log.txt")])
    said = triage_text(found, Style(columns=200))
    assert not found.recognised
    assert found.sources[0].refused == ((command,) if command else ())
    assert (f"root may: {command} | boxcheck triage -" in said) is (command is not None)


def test_a_refused_log_beside_what_is_known_is_noted(tmp_path: Path) -> None:
    (tmp_path / "paste.txt").write_text(
        "01:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev a1)\n"
        "02:00.0 Non-Volatile memory controller: Samsung Electronics Co Ltd NVMe SSD Controller PM9A1\n"
        "dmesg: read kernel buffer failed: Operation not permitted\n")
    found = triage([str(tmp_path / "paste.txt")])
    assert found.recognised
    assert any("root may read it, with sudo dmesg" in text for text in found.sources[0].complaints)
