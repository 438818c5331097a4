"""`report sign` and the ssh-agent: the key never lies on the box under test, or all that is read of it says so."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import socket
import struct
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxcheck.certify import sign as sign_module
from boxcheck.certify.acceptance import Acceptance
from boxcheck.certify.agent import AgentError, agent_keys, agent_place, agent_sign
from boxcheck.certify.changes import compare
from boxcheck.certify.contents import contents_of_folder
from boxcheck.certify.folder import files_of
from boxcheck.certify.keys import KeyTrouble, public_of
from boxcheck.certify.machine import is_tested_box, marks
from boxcheck.certify.manifest import parse_manifest, write_manifest
from boxcheck.certify.sign import SignedNow, Signing, SignTrouble, sign
from boxcheck.certify.sshsig import string
from tests.certify.attempt import CONTENTS, attempt, new_key, run_of

needs_agent = pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="needs OpenSSH")
BOX, STATION = {"machine-id": "0123456789abcdef", "boot": "1"}, {"machine-id": "another", "boot": "2"}


def no_render(folder: str, told: Acceptance) -> dict[str, bytes]:
    raise SignTrouble("nothing renders here")


def said(folder: str, told: Acceptance) -> dict[str, bytes]:
    hashes = " ".join(one.sha256 for one in told.files)
    return {"report.html": f"<p>self-signed: {told.self_signed} {hashes}</p>".encode()}


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return attempt(tmp_path / "attempt-01", machine=BOX)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return new_key(tmp_path / "keys" / "k")


def on(monkeypatch: pytest.MonkeyPatch, here: dict[str, str]) -> None:
    monkeypatch.setattr(sign_module, "marks", lambda: here)


def test_at_the_station_a_key_file_signs_the_manifest_as_it_is(folder: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, STATION)
    before = (folder / "manifest.json").read_bytes()
    done = sign(str(folder), Signing(key=str(key)), no_render)
    assert (done.tested_box, done.self_signed) == ("other", False)
    assert (folder / "manifest.json").read_bytes() == before
    assert (folder / "manifest.json.sig").stat().st_mode & 0o777 == 0o644


def test_on_the_tested_box_a_key_file_is_refused(folder: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, BOX)
    with pytest.raises(SignTrouble, match="this is the box under test") as caught:
        sign(str(folder), Signing(key=str(key)), no_render)
    assert "--self-signed" in caught.value.help
    assert not (folder / "manifest.json.sig").exists()


def test_self_signed_says_so_in_report_acceptance_and_manifest(folder: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, BOX)
    done = sign(str(folder), Signing(key=str(key), self_signed=True), said)
    assert done.self_signed
    assert parse_manifest((folder / "manifest.json").read_bytes()).self_signed
    assert b'"self_signed": true' in (folder / "acceptance.json").read_bytes()
    verdict = json.loads((folder / "verdict.json").read_bytes())
    assert (verdict["acceptance"]["self_signed"], verdict["later"]) == (True, 1)
    assert "self-signed: True" in (folder / "report.html").read_text()
    again = attempt_signed_again(folder, key, monkeypatch)
    assert not again.self_signed
    assert "self-signed: False" in (folder / "report.html").read_text()


def test_the_machine_that_the_run_names_is_the_tested_box_too(
    folder: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of an acceptance that a second machine made, in a home that both share."""
    shutil.copyfile(run_of(tmp_path / "runs", "the box"), folder / "run.sqlite")
    write_manifest(str(folder))
    on(monkeypatch, {"machine-id": "the box", "boot": "3"})
    with pytest.raises(SignTrouble, match="this is the box under test"):
        sign(str(folder), Signing(key=str(key)), no_render)
    on(monkeypatch, STATION)
    assert sign(str(folder), Signing(key=str(key)), no_render).tested_box == "other"


def attempt_signed_again(folder: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> SignedNow:
    on(monkeypatch, STATION)
    with pytest.raises(SignTrouble, match="signed already, by the key SHA256:"):
        sign(str(folder), Signing(key=str(key)), said)
    return sign(str(folder), Signing(key=str(key), again=True), said)


def test_a_report_that_cannot_say_self_signed_is_not_signed_so(folder: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, BOX)
    before = everything(folder)
    with pytest.raises(SignTrouble, match="nothing renders here"):
        sign(str(folder), Signing(key=str(key), self_signed=True), no_render)
    assert everything(folder) == before


@pytest.mark.parametrize("first_self_signed", [False, True])
def test_a_signing_that_fails_leaves_the_signature_that_was_there(
    folder: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_self_signed: bool,
) -> None:
    on(monkeypatch, STATION)
    sign(str(folder), Signing(key=str(key), self_signed=first_self_signed), said)
    before = everything(folder)
    other = Signing(key=str(tmp_path / "nosuch"), self_signed=not first_self_signed, again=True)
    with pytest.raises(KeyTrouble, match="nosuch: no such file"):
        sign(str(folder), other, said)
    assert everything(folder) == before

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr("boxcheck.report.output.os.fsync", full)
    with pytest.raises(SignTrouble, match=r"nothing is signed: .*no space left on device"):
        sign(str(folder), msgspec.structs.replace(other, key=str(key)), said)
    assert everything(folder) == before


def test_self_signed_the_verdict_has_the_hash_that_acceptance_and_report_show(
    tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    on(monkeypatch, BOX)
    files = files_of(str(plain(tmp_path / "plain")))
    folder = attempt(tmp_path / "attempt-01", machine=BOX, files=files)
    sign(str(folder), Signing(key=str(key), self_signed=True), said)
    new = hashlib.sha256((folder / "verdict.json").read_bytes()).hexdigest()
    named = {one["name"]: one["sha256"] for one in json.loads((folder / "acceptance.json").read_bytes())["files"]}
    assert named["verdict.json"] == new
    assert new in (folder / "report.html").read_text()
    found = contents_of_folder(str(folder))
    assert compare(found)[1] == ()


def plain(folder: Path) -> Path:
    """The files of an attempt that its acceptance names."""
    folder.mkdir()
    for name in ("run.sqlite", "capture.tar.gz", "kernel.log", "verdict.json"):
        (folder / name).write_bytes(CONTENTS[name])
    return folder


def test_a_folder_that_lost_files_which_its_acceptance_names_is_neither_signed_nor_verified(
    tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    on(monkeypatch, STATION)
    files = files_of(str(plain(tmp_path / "plain")))
    folder = attempt(tmp_path / "attempt-01", machine=BOX, files=files)
    (folder / "run.sqlite").unlink()
    (folder / "kernel.log").write_text("nothing happened\n")
    write_manifest(str(folder))
    with pytest.raises(SignTrouble, match=r"nothing is signed: kernel\.log is another .*, and 1 more"):
        sign(str(folder), Signing(key=str(key)), no_render)
    assert [one.says for one in compare(contents_of_folder(str(folder)))[1]] == [
        "kernel.log is another than the one that acceptance.json names",
        "run.sqlite is missing: acceptance.json names it, manifest.json does not"]


def test_a_folder_in_which_something_was_changed_is_not_signed(folder: Path, key: Path) -> None:
    (folder / "kernel.log").write_text("nothing happened\n")
    with pytest.raises(SignTrouble, match=r"nothing is signed: kernel\.log was changed"):
        sign(str(folder), Signing(key=str(key)), no_render)
    (folder / "manifest.json").unlink()
    with pytest.raises(SignTrouble, match=r"holds no manifest\.json"):
        sign(str(folder), Signing(key=str(key)), no_render)


def test_what_is_no_folder_is_not_signed(folder: Path, key: Path, tmp_path: Path) -> None:
    with pytest.raises(SignTrouble, match="is no folder"):
        sign(str(folder / "report.html"), Signing(key=str(key)), no_render)
    assert sign(str(folder / "manifest.json"), Signing(key=str(key)), no_render).signature.endswith("manifest.json.sig")


def test_a_signature_file_that_is_a_link_is_replaced_not_followed(folder: Path, key: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    (folder / "manifest.json.sig").symlink_to(tmp_path / "precious")
    with pytest.raises(SignTrouble, match="symbolic link"):
        sign(str(folder), Signing(key=str(key), again=True), no_render)
    assert (tmp_path / "precious").read_text() == "x"


@pytest.mark.parametrize(("there", "here", "answer"), [
    ({"boot": "1"}, {"boot": "1"}, "same"),
    ({"machine-id": "a", "boot": "1"}, {"machine-id": "b", "boot": "1"}, "same"),  # a container on it
    ({"machine-id": "a", "boot": "1"}, {"machine-id": "a", "boot": "2"}, "same"),
    ({"machine-id": "a"}, {"machine-id": "b"}, "other"),
    ({"machine-id": "a", "board-serial": "s"}, {"machine-id": "a", "board-serial": "t"}, "other"),  # one image on both
    ({"machine-id": "a", "board-serial": "s"}, {"machine-id": "b", "board-serial": "s"}, "same"),  # installed anew
    ({"machine-id": "a", "board-serial": "s"}, {"machine-id": "a"}, "same"),  # not root: the serial is not read
    ({"board-serial": "s", "product-uuid": "u"}, {"board-serial": "t", "product-uuid": "u"}, "same"),  # the careful answer
    ({"boot": "1"}, {"boot": "2"}, "unknown"),
    ({}, {"machine-id": "a"}, "unknown"),
    ({"machine-id": ""}, {"machine-id": ""}, "unknown"),
])
def test_the_tested_box_is_known_again_by_its_marks(there: dict[str, str], here: dict[str, str], answer: str) -> None:
    assert is_tested_box(there, here).answer == answer


def test_this_machine_is_itself() -> None:
    here = marks()
    assert here
    assert is_tested_box(here, here).answer == "same"
    assert all(len(value) == 16 for value in here.values())


# The agent

@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A real ssh-agent in the foreground, without keys."""
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    wait_for(path)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    yield path
    process.terminate()
    process.wait(10)


def wait_for(path: Path) -> None:
    for _ in range(200):
        if path.exists():
            return
        time.sleep(0.02)
    raise AssertionError("the agent does not start")


@needs_agent
def test_the_agent_signs_as_the_file_does(agent: Path, folder: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, STATION)
    with pytest.raises(KeyTrouble, match="holds no Ed25519 key"):
        sign(str(folder), Signing(agent=True), no_render)
    subprocess.run(["ssh-add", "-q", key], check=True)
    by_agent = sign(str(folder), Signing(agent=True), no_render)
    first = (folder / "manifest.json.sig").read_bytes()
    sign(str(folder), Signing(key=str(key), again=True), no_render)
    assert (folder / "manifest.json.sig").read_bytes() == first
    assert by_agent.fingerprint == public_of(f"{key}.pub").fingerprint
    second = new_key(key.parent / "second")
    subprocess.run(["ssh-add", "-q", second], check=True)
    with pytest.raises(KeyTrouble, match="holds 2 Ed25519 keys"):
        sign(str(folder), Signing(agent=True, again=True), no_render)
    for asked in (f"{second}.pub", public_of(f"{second}.pub").fingerprint):
        done = sign(str(folder), Signing(agent=True, key=asked, again=True), no_render)
        assert done.fingerprint == public_of(f"{second}.pub").fingerprint


@needs_agent
def test_an_agent_of_the_tested_box_itself_is_refused(agent: Path, folder: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, BOX)
    subprocess.run(["ssh-add", "-q", key], check=True)
    assert agent_place() == "here"
    with pytest.raises(SignTrouble, match="a program on it, not forwarded"):
        sign(str(folder), Signing(agent=True), no_render)
    assert sign(str(folder), Signing(agent=True, self_signed=True), said).self_signed


FAKE = """
import os, socket, struct, sys
open("/proc/self/comm", "w").write(sys.argv[3])
server = socket.socket(socket.AF_UNIX); server.bind(sys.argv[1] + "~"); server.listen(8); os.rename(sys.argv[1] + "~", sys.argv[1])
forward = sys.argv[2]
while True:
    here, _ = server.accept()
    there = socket.socket(socket.AF_UNIX)
    there.connect(forward)
    while size := here.recv(4):
        n = struct.unpack(">I", size)[0]
        data = b""
        while len(data) < n:
            data += here.recv(n - len(data))
        there.sendall(size + data)
        reply = there.recv(1 << 16)
        while len(reply) < 4 + struct.unpack(">I", reply[:4])[0]:
            reply += there.recv(1 << 16)
        here.sendall(reply)
"""


@needs_agent
@pytest.mark.parametrize("name", ["sshd", "sshd-session"])
def test_a_forwarded_agent_signs_on_the_tested_box(agent: Path, folder: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A process that is called as sshd's is, in front of the real agent."""
    subprocess.run(["ssh-add", "-q", key], check=True)
    on(monkeypatch, BOX)
    front = tmp_path / "forwarded"
    process = subprocess.Popen([sys.executable, "-c", FAKE, front, agent, name])
    try:
        wait_for(front)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(front))
        done = sign(str(folder), Signing(agent=True), no_render)
    finally:
        process.terminate()
        process.wait(10)
    assert (done.tested_box, done.agent, done.self_signed) == ("same", "elsewhere", False)


@needs_agent
def test_a_locked_agent_is_one_sentence(agent: Path, key: Path) -> None:
    subprocess.run(["ssh-add", "-q", key], check=True)
    held, = agent_keys()
    subprocess.run(["ssh-add", "-q", "-D"], check=True)
    with pytest.raises(AgentError, match="does not sign with SHA256:"):
        agent_sign(held, b"x")


def test_without_an_agent_it_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for value, says in (("", "SSH_AUTH_SOCK is not set"), (str(tmp_path / "none"), "cannot be reached"), ("x" * 300, "cannot be reached")):
        monkeypatch.setenv("SSH_AUTH_SOCK", value)
        with pytest.raises(KeyTrouble, match=says):
            sign(str(folder), Signing(agent=True), no_render)


HOSTILE = textwrap.dedent("""
    import os, socket, sys, time
    server = socket.socket(socket.AF_UNIX); server.bind(sys.argv[1] + "~"); server.listen(64); os.rename(sys.argv[1] + "~", sys.argv[1])
    reply = bytes.fromhex(sys.argv[2])
    while True:
        here, _ = server.accept()
        here.recv(1 << 16)
        here.sendall(reply)
        here.close() if sys.argv[3] == "close" else time.sleep(60)
""")


@pytest.mark.parametrize(("reply", "then", "says"), [
    (b"", "close", "closed the connection"),
    (b"", "wait", "did not answer within"),
    (struct.pack(">I", 1 << 30), "close", "impossible length"),
    (struct.pack(">I", 0), "close", "impossible length"),
    (string(b"\x05"), "close", "does not list its keys"),
    (string(b"\x0c" + struct.pack(">I", 1 << 31)), "close", "damaged"),
    (string(b"\x0c" + struct.pack(">I", 1) + string(b"x") + string(b"y")), "close", "damaged"),
])
def test_an_agent_that_answers_nonsense_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: bytes, then: str, says: str) -> None:
    monkeypatch.setattr("boxcheck.certify.agent.LIST_SECONDS", 2.0)
    path = tmp_path / "agent"
    process = subprocess.Popen([sys.executable, "-c", HOSTILE, path, reply.hex(), then])
    try:
        wait_for(path)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        with pytest.raises(AgentError, match=says):
            agent_keys()
    finally:
        process.kill()
        process.wait(10)


def test_an_agent_that_signs_something_else_makes_no_signature(folder: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, STATION)
    public = public_of(f"{key}.pub")
    monkeypatch.setattr("boxcheck.certify.agent.agent_keys", lambda: (public,))
    monkeypatch.setattr("boxcheck.certify.agent.agent_place", lambda: "elsewhere")
    for answer, says in ((string("ssh-ed25519") + string(b"x" * 64), "does not hold"), (b"nonsense", "is none")):
        monkeypatch.setattr("boxcheck.certify.agent.agent_sign", lambda *_, answer=answer: answer)
        with pytest.raises(KeyTrouble, match=says):
            sign(str(folder), Signing(agent=True), no_render)
    assert not (folder / "manifest.json.sig").exists()


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_fuzz_of_an_agents_list_ends_in_keys_or_one_error(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.MonkeyPatch.context() as patch:
        theirs.sendall(string(b"\x0c" + data))
        patch.setenv("SSH_AUTH_SOCK", "/dev/null")
        patch.setattr(socket.socket, "connect", lambda *_: None)
        patch.setattr("boxcheck.certify.agent.socket.socket", lambda *_: ours)
        with suppress(AgentError):
            assert all(key.fingerprint.startswith("SHA256:") for key in agent_keys())
