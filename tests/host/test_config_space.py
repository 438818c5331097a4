"""The live ports: single accesses, /sys alone, refusals told apart, and a kernel that hangs."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from boxcheck.host.config_space import LivePorts, lockdown_state, may_write
from boxcheck.host.refused import Refused, Size
from boxcheck.model import Bdf, Unread

BDF = Bdf("0000:41:00.0")
DEVICE = "sys/devices/pci0000:40/0000:40:01.1/0000:41:00.0"
ATTRIBUTE = f"/sys/bus/pci/devices/{BDF}/power/control"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    device = tmp_path / DEVICE
    (device / "power").mkdir(parents=True)
    (device / "config").write_bytes(bytes(number & 0xFF for number in range(4096)))
    (device / "power" / "control").write_text("auto\n")
    devices = tmp_path / "sys/bus/pci/devices"
    devices.mkdir(parents=True)
    (devices / BDF).symlink_to("../../../devices/pci0000:40/0000:40:01.1/0000:41:00.0")
    return tmp_path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """(`read` or `write`, offset, bytes) of each system call that reaches config space."""
    made: list[tuple[str, int, int]] = []
    pread, pwrite = os.pread, os.pwrite

    def reading(file: int, size: int, offset: int) -> bytes:
        made.append(("read", offset, size))
        return pread(file, size, offset)

    def writing(file: int, data: bytes, offset: int) -> int:
        made.append(("write", offset, len(data)))
        return pwrite(file, data, offset)

    monkeypatch.setattr(os, "pread", reading)
    monkeypatch.setattr(os, "pwrite", writing)
    return made


def failing(monkeypatch: pytest.MonkeyPatch, name: str, code: int, only: str = "") -> None:
    real: Callable[..., Any] = getattr(os, name)

    def fail(*given: Any, **named: Any) -> Any:
        if only and only not in str(given[0]):
            return real(*given, **named)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, name, fail)


@pytest.mark.parametrize(("offset", "size", "value"), [(0x41, 1, 0x41), (0x42, 2, 0x4342), (0x104, 4, 0x07060504)])
def test_an_access_is_one_system_call_of_its_width(
    tree: Path, calls: list[tuple[str, int, int]], offset: int, size: Size, value: int,
) -> None:
    ports = LivePorts(str(tree))
    assert ports.read(BDF, offset, size) == value
    ports.write(BDF, offset, size, value ^ 1)
    assert calls == [("read", offset, size), ("write", offset, size)]
    data = (tree / DEVICE / "config").read_bytes()
    assert int.from_bytes(data[offset:offset + size], "little") == value ^ 1
    assert data[:offset] + data[offset + size:] == bytes(
        number & 0xFF for number in range(4096) if not offset <= number < offset + size)


@pytest.mark.parametrize(("bdf", "offset", "size"), [
    (BDF, 0x41, 2), (BDF, 0x42, 4), (BDF, 4096, 1), (BDF, 4094, 4), (BDF, -4, 4), (BDF, 0x40, 3), (BDF, 0x40, 8),
    (Bdf("../../../../etc"), 0, 4), (Bdf("0000:41:00.0/../../x"), 0, 4), (Bdf(""), 0, 4)])
def test_what_is_no_access_is_a_mistake_of_the_caller(tree: Path, bdf: Bdf, offset: int, size: Any) -> None:
    with pytest.raises(ValueError, match=r"no access|no PCI address"):
        LivePorts(str(tree)).read(bdf, offset, size)
    with pytest.raises(ValueError, match=r"no access|no PCI address"):
        LivePorts(str(tree)).write(bdf, offset, size, 0)


def test_attributes_are_read_and_set_below_sys(tree: Path) -> None:
    ports = LivePorts(str(tree))
    assert ports.attribute(ATTRIBUTE) == "auto"
    ports.set_attribute(ATTRIBUTE, "on")
    assert (tree / DEVICE / "power" / "control").read_text().startswith("on")


@pytest.mark.parametrize("path", [
    "/etc/passwd", "/proc/sys/kernel/sysrq", "/sys/../etc/passwd", "/sys/bus/../../etc/passwd", "sys/x", "/sys", "/sys/",
    "/sys/evil", "/sys/bus/evil/passwd", "/sysfs/x", "/sys/a\nb", ""])
def test_nothing_outside_sys_is_reached(tree: Path, path: str) -> None:
    (tree / "etc").mkdir()
    (tree / "etc" / "passwd").write_text("secret")
    (tree / "sys" / "evil").symlink_to(tree / "etc" / "passwd")
    (tree / "sys" / "bus" / "evil").symlink_to("/etc")
    ports = LivePorts(str(tree))
    assert isinstance(ports.attribute(path), Unread)
    with pytest.raises(Refused, match=r"not below /sys|no such attribute"):
        ports.set_attribute(path, "1")
    assert (tree / "etc" / "passwd").read_text() == "secret"


def test_what_is_no_attribute_is_not_written_and_hangs_nobody(tree: Path) -> None:
    os.mkfifo(tree / "sys" / "pipe")
    ports = LivePorts(str(tree), access_seconds=0.5)
    assert isinstance(ports.attribute("/sys/pipe"), Unread)
    with pytest.raises(Refused):
        ports.set_attribute("/sys/pipe", "1")
    with pytest.raises(Refused):
        ports.set_attribute("/sys/bus", "1")
    assert stat.S_ISFIFO((tree / "sys" / "pipe").stat().st_mode)


def test_missing_attributes_are_unsupported_and_missing_devices_gone(tree: Path) -> None:
    ports = LivePorts(str(tree))
    missing = ports.attribute("/sys/kernel/security/lockdown")
    assert isinstance(missing, Unread)
    assert missing.kind == "absent"
    with pytest.raises(Refused, match="this kernel has no such attribute") as raised:
        ports.set_attribute(f"/sys/bus/pci/devices/{BDF}/link/l1_aspm", "0")
    assert raised.value.kind == "unsupported"
    other = Bdf("0000:99:00.0")
    unread = ports.read(other, 0, 4)
    assert isinstance(unread, Unread)
    assert unread.why == "0000:99:00.0: it left the bus"
    with pytest.raises(Refused, match="it left the bus") as raised:
        ports.write(other, 0x40, 2, 0)
    assert raised.value.kind == "gone"
    gone = ports.writable(other)
    assert gone is not None
    assert gone.kind == "gone"


def test_a_user_is_told_from_lockdown(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = LivePorts(str(tree))
    failing(monkeypatch, "pwrite", errno.EPERM)
    with pytest.raises(Refused, match="locked down") as raised:
        ports.write(BDF, 0x40, 2, 0)
    assert raised.value.kind == "lockdown"
    assert ports.writable(BDF) is None, "root may open the file under lockdown"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    failing(monkeypatch, "open", errno.EACCES, "config")
    with pytest.raises(Refused, match="can be written by root alone") as raised:
        ports.write(BDF, 0x40, 2, 0)
    assert (raised.value.kind, raised.value.help) == ("permission", "run it with sudo")
    refused = may_write(ports, BDF)
    assert refused is not None
    assert refused.kind == "permission"


def test_root_in_a_container_is_told_why(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    failing(monkeypatch, "open", errno.EROFS, "config")
    refused = may_write(LivePorts(str(tree)), BDF)
    assert refused is not None
    assert "/sys is mounted read-only" in refused.says


@pytest.mark.parametrize(("text", "state", "kind"), [
    ("[none] integrity confidentiality\n", "none", None),
    ("none [integrity] confidentiality\n", "integrity", "lockdown"),
    ("none integrity [confidentiality]\n", "confidentiality", "lockdown"),
])
def test_lockdown_is_read_beforehand(tree: Path, text: str, state: str, kind: str | None) -> None:
    (tree / "sys/kernel/security").mkdir(parents=True)
    (tree / "sys/kernel/security/lockdown").write_text(text)
    ports = LivePorts(str(tree))
    assert lockdown_state(ports) == state
    refused = may_write(ports, BDF)
    assert (refused.kind if refused else None) == kind


def test_a_kernel_that_does_not_tell_is_not_taken_for_locked(tree: Path) -> None:
    ports = LivePorts(str(tree))
    assert isinstance(lockdown_state(ports), Unread)
    assert may_write(ports, BDF) is None
    (tree / "sys/kernel/security").mkdir(parents=True)
    (tree / "sys/kernel/security/lockdown").write_text("what")
    assert isinstance(lockdown_state(ports), Unread)


@pytest.mark.parametrize(("code", "kind"), [
    (errno.EAGAIN, "busy"), (errno.EBUSY, "busy"), (errno.ENODEV, "gone"), (errno.EINVAL, "error"),
    (errno.EIO, "error"), (errno.EOPNOTSUPP, "unsupported")])
def test_the_kernels_answers_are_told_apart(
    tree: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: str,
) -> None:
    failing(monkeypatch, "write", code)
    with pytest.raises(Refused) as raised:
        LivePorts(str(tree)).set_attribute(ATTRIBUTE, "on")
    assert raised.value.kind == kind


def test_a_read_that_ends_after_the_header_needs_root(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / DEVICE / "config").write_bytes(bytes(64))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    unread = LivePorts(str(tree)).read(BDF, 0x70, 2)
    assert isinstance(unread, Unread)
    assert unread.kind == "permission"


def test_a_function_without_extended_space_has_none(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / DEVICE / "config").write_bytes(bytes(256))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    unread = LivePorts(str(tree)).read(BDF, 0x100, 4)
    assert isinstance(unread, Unread)
    assert unread.kind == "unsupported"


class Hanging:
    """Writes to config space that hang in the kernel until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.let_go, self.begun, self.made = threading.Event(), False, 0
        real = os.pwrite

        def hang(file: int, data: bytes, offset: int) -> int:
            self.begun = True
            self.let_go.wait(10)
            self.made += 1
            return real(file, data, offset)

        monkeypatch.setattr(os, "pwrite", hang)


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    one = Hanging(monkeypatch)
    yield one
    one.let_go.set()


def test_a_write_that_hangs_is_given_up_and_nothing_overtakes_it(tree: Path, hanging: Hanging) -> None:
    ports = LivePorts(str(tree), access_seconds=0.05)
    with pytest.raises(Refused, match="nobody knows whether it was made"):
        ports.write(BDF, 0x40, 2, 0x1111)
    with pytest.raises(Refused, match="an earlier access has not come back") as raised:
        ports.write(BDF, 0x40, 2, 0x2222)
    assert raised.value.kind == "busy"
    read = ports.read(BDF, 0x40, 2)
    assert isinstance(read, Unread)
    assert read.kind == "timeout"
    hanging.let_go.set()
    ports.access_seconds = 10.0
    ports.write(BDF, 0x40, 2, 0x3333)
    assert hanging.made == 2, "the write that was refused is not made later"
    assert ports.read(BDF, 0x40, 2) == 0x3333


def test_other_devices_answer_while_one_hangs(tree: Path, hanging: Hanging) -> None:
    other = tree / "sys/devices/pci0000:40/0000:40:01.1"
    (other / "config").write_bytes(bytes([7] * 4096))
    (tree / "sys/bus/pci/devices/0000:40:01.1").symlink_to("../../../devices/pci0000:40/0000:40:01.1")
    ports = LivePorts(str(tree), access_seconds=0.05)
    with pytest.raises(Refused):
        ports.write(BDF, 0x40, 2, 0x1111)
    ports.access_seconds = 5.0
    assert ports.read(Bdf("0000:40:01.1"), 0x40, 1) == 7


@pytest.mark.parametrize("begun", [True, False])
def test_an_interrupted_write_was_made_or_will_never_be(
    begun: bool, tree: Path, hanging: Hanging, monkeypatch: pytest.MonkeyPatch,
) -> None:
    ports = LivePorts(str(tree), access_seconds=5.0)
    real = threading.Event.wait
    struck: list[int] = []

    def wait(self: threading.Event, timeout: float | None = None) -> bool:
        mine = threading.current_thread() is threading.main_thread() and not struck
        while mine and begun and not hanging.begun and type(self) is threading.Event and timeout:
            time.sleep(0.001)
        if mine and hanging.begun is begun:
            struck.append(1)
            threading.Timer(0.05, hanging.let_go.set).start()
            raise KeyboardInterrupt
        return real(self, timeout)

    monkeypatch.setattr(threading.Event, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        ports.write(BDF, 0x40, 2, 0xBEEF)
    hanging.let_go.set()
    time.sleep(0.02)
    assert hanging.made == int(begun)
    expected = 0xBEEF if begun else 0x4140
    assert ports.read(BDF, 0x40, 2) == expected, "and no answer is taken for that of another question"
    ports.write(BDF, 0x40, 2, 0x1234)
    assert ports.read(BDF, 0x40, 2) == 0x1234


def test_this_machine_answers_as_its_own_files_do() -> None:
    devices = Path("/sys/bus/pci/devices")
    names = sorted(path.name for path in devices.iterdir()) if devices.is_dir() else []
    if not names:
        pytest.skip("no PCI bus here")
    ports = LivePorts()
    for name in names:
        vendor = ports.read(Bdf(name), 0, 2)
        assert f"0x{vendor:04x}" == ports.attribute(f"/sys/bus/pci/devices/{name}/vendor")
