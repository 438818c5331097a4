"""Redaction: secrets planted in every place, in text and in binary, and none left in the bytes; and the verdict stays."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxcheck.engine.inspect import choose_checks, inspect_facts, read_facts
from boxcheck.host import Host
from boxcheck.host.capture import CaptureHost
from boxcheck.host.write import Members, members_from, write_capture
from boxcheck.profile import load_profile
from boxcheck.profile_detect import detect
from boxcheck.redact import redact_members
from boxcheck.redact.binary import redact_vpd
from boxcheck.redact.tokens import Tokens
from tests.boxes import BOXES, Tree, build
from tests.planted import SECRETS, S, found_in, plant, vpd


@pytest.fixture(scope="module")
def planted() -> Tree:
    tree = build("wopr-7x4090")
    plant(tree)
    return tree


def test_every_secret_is_planted(planted: Tree) -> None:
    assert len(SECRETS) >= 30
    assert found_in(planted.to_tar()) == list(SECRETS)


def test_nothing_is_left_in_the_bytes(planted: Tree, tmp_path: Path) -> None:
    source, out = planted.write_tar(tmp_path / "in.tar.gz"), tmp_path / "out.tar.gz"
    done = subprocess.run(
        [sys.executable, "-m", "boxcheck", "capture", str(out), "--redact", "--sysroot", str(source)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stdout
    data = gzip.decompress(out.read_bytes())
    assert found_in(data) == []
    before, after = members_from(CaptureHost(str(source))), members_from(CaptureHost(str(out)))
    assert len(after.files) == len(before.files)
    assert len(after.links) == len(before.links)
    assert b"XXXXX-" not in after.files["/sys/firmware/acpi/tables/MSDM"]
    assert CaptureHost(str(out)).redacted


@pytest.mark.parametrize("form", ["", ".tar", ".tar.zst"])
def test_nothing_is_left_in_the_other_forms(planted: Tree, tmp_path: Path, form: str) -> None:
    source = planted.write_tar(tmp_path / "in.tar.gz")
    write_capture(redact_members(members_from(CaptureHost(str(source)))), f"{tmp_path}/out{form}")
    for path in (tmp_path / "out").rglob("*") if not form else ():
        assert found_in(str(path.relative_to(tmp_path)).encode()) == []
        if path.is_symlink():
            assert found_in(str(path.readlink()).encode()) == []
        elif path.is_file():
            assert found_in(path.read_bytes()) == [], path
    again = members_from(CaptureHost(f"{tmp_path}/out{form}"))
    assert found_in("\n".join([*again.files, *again.links, *again.links.values()]).encode()) == []
    assert found_in(b"\n".join(again.files.values())) == []


def outcomes(host: Host) -> Any:
    facts = read_facts(host)
    assert not facts.crashes, facts.crashes[0].traceback
    name = detect(facts).name
    verdict = inspect_facts(facts, load_profile(name or "generic"), choose_checks([]))
    return (
        name,
        verdict.outcome,
        [
            (finding.check, str(finding.subject), finding.outcome, finding.blocker, finding.measured)
            for finding in verdict.findings
        ],
    )


def redacted_host(tree: Tree, tmp_path: Path) -> tuple[CaptureHost, CaptureHost]:
    before = CaptureHost(str(tree.write_tar(tmp_path / "before.tar.gz")))
    write_capture(redact_members(members_from(before)), f"{tmp_path}/after.tar.gz")
    return before, CaptureHost(f"{tmp_path}/after.tar.gz")


@pytest.mark.parametrize("box", BOXES)
def test_a_redacted_box_is_judged_the_same(box: str, tmp_path: Path) -> None:
    before, after = redacted_host(build(box), tmp_path)
    assert outcomes(after) == outcomes(before)


def test_a_box_full_of_secrets_is_judged_the_same(planted: Tree, tmp_path: Path) -> None:
    before, after = redacted_host(planted, tmp_path)
    assert outcomes(after) == outcomes(before)


@pytest.mark.parametrize(
    "name",
    ["data", "dev", "nvidia", "link", "error", "gpu", "pcie", "root-port", "sys", "x", "1", "epyc", "render", "tiny"],
)
def test_names_that_are_words_of_the_machine_rename_nothing(name: str, tmp_path: Path) -> None:
    tree = build("wopr-7x4090")
    tree.put("/etc/hostname", name)
    tree.append("/etc/passwd", f"{name}:x:1007:1007:{name}:/home/{name}:/bin/sh\n")
    tree.append("/etc/group", f"{name}:x:1007:\n")
    tree.append(
        "/var/log/dmesg",
        f"[    9.000001] systemd[1]: Hostname set to <{name}>.\n[    9.000002] /home/{name}/x and {name} {name}@{name}\n",
    )
    before, after = redacted_host(tree, tmp_path)
    assert outcomes(after) == outcomes(before)
    passwd = after.text("/etc/passwd")
    assert isinstance(passwd, str)
    assert not re.search(rf"(?m)^{name}:|/home/{name}:", passwd) or name in ("x", "sys")


def test_one_secret_has_one_token_wherever_it_stands(planted: Tree, tmp_path: Path) -> None:
    _, after = redacted_host(planted, tmp_path)

    def text(path: str) -> str:
        found = after.text(path)
        assert isinstance(found, str), path
        return found

    passwd, group, log = text("/etc/passwd"), text("/etc/group"), text("/var/log/dmesg")
    user = passwd.splitlines()[-1].split(":")[0]
    assert f"docker:x:998:{user}," in group
    assert f"opened for {user} by" in log
    who = after.who()
    assert getattr(who, "name", None) == user
    assert f"/home/{user}/lib" in str(after.environment())
    host = text("/etc/hostname")
    assert f"Hostname set to <{host}>" in log
    assert host in text("/etc/hosts")
    root = re.search(r"root=UUID=(\S+) resume", text("/proc/cmdline"))
    assert root is not None
    assert f"mounted filesystem {root[1]} ro" in log
    assert after.target(f"/dev/disk/by-uuid/{root[1]}") == "/dev/nvme0n1p2"
    card = re.search(r"GPU UUID: \t (\S+)", text("/proc/driver/nvidia/gpus/0000:41:00.0/information"))
    assert card is not None
    assert after.answer("nvml", "cards")[0]["uuid"] == card[1]
    mac = next(line for line in log.splitlines() if "Width x4" in line).split()[-1].lower()
    assert text(f"/sys/class/net/enx{mac.replace(':', '')}/address") == mac
    gpu = next(path for path in planted if path.endswith("/0000:41:00.0/unique_id"))
    assert f"unique_id {int(text(gpu), 16)}\n" in text("/sys/devices/virtual/kfd/kfd/topology/nodes/1/properties")
    later = after.again(gpu, "load")
    assert isinstance(later, tuple)
    assert later[0].decode().strip() == text(gpu)
    assert text(f"{gpu.rpartition('/')[0]}/vendor") == "0x10de"


def test_what_is_no_secret_stays_as_it_is(tmp_path: Path) -> None:
    """Versions, bus addresses, times, sizes and public identifiers, in a log and in files."""
    tree = build("wopr-7x4090")
    innocent = [
        "amdgpu 0000:41:00.0: amdgpu: SMU driver if version = 0x3d, smu fw program = 0, version 78.94.0.12",
        "pcieport 0000:40:01.1: AER: Corrected error message received from 0000:41:00.0",
        "Linux 6.14.0.1-generic #2~24.04.1",
        "DMI: ASRockRack ROMED8-2T/ROMED8-2T, BIOS 3.50.01.7 03/04/2022",
        "NVRM: loading NVIDIA UNIX 570.133.20 Release Build",
        "audit: 12:34:56 d::e std::move<a::b> 0x00:0x1f",
        "nvme 0000:82:00.0: 32/0/0 default/read/poll queues, fw 10.3.1.4-x",
        "Serial: 8250/16550 driver, 32 ports, IRQ sharing enabled",
        "New USB device strings: Mfr=1, Product=2, SerialNumber=3",
        "localhost 127.0.0.1 0.0.0.0 255.255.255.0 ::1 listens",
        "BIOS-e820: [mem 0x0000000000000000-0x000000000009ffff] usable",
        "efi: SMBIOS=0x7aeb0000 Boot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
        "Driver i40e 2.8.20-k firmware 8.13 0x8000aeb7 1.2879.0",
        "microcode: updated early: 0x0a001173 -> 0x0a00117a, date = 2024-02-26",
        "keymap=us vconsole.keymap=de monkey",
        "serial8250: ttyS0 at I/O 0x3f8 (irq = 4, base_baud = 115200) is a 16550A",
        "usbcore: registered new interface driver usbserial_generic, serial console ttyS0",
        "usb 1-2: Product: USB3.2 Hub, Product: Virtual Keyboard and Mouse",
        "snd_hda_intel: PCI SSID 1458a182, SSID 0x1458a182",
        "nvme nvme0: see https://bugzilla.kernel.org/show_bug.cgi?id=1 and https://docs.nvidia.com/x",
        "AMD-Vi: Event logged [IO_PAGE_FAULT device=41:00.0 domain=0x000c address=0xdead0000 flags=0x0000]",
        "Machine check: machine id 7, firmware 1234.5678.9012, f00d.cafe",
        "mount: /mnt/raid /mnt/data /raid /dev/shm, devices on /sys//devices//pci0000:00/",
        "md/raid0: device label is gone, RPC: Registered tcp transport module.",
        "gcc version 13.2.0 (Ubuntu 13.2.0-23ubuntu4) https://systemd.io/",
    ]
    tree.append("/var/log/dmesg", "".join(f"[   99.000001] {line}\n" for line in innocent))
    before, after = redacted_host(tree, tmp_path)
    one, other = before.kernel_log(), after.kernel_log()
    assert isinstance(one, str)
    assert isinstance(other, str)
    private = re.compile(r"UUID=|Linux version|\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b")
    changed = [
        line
        for line, new in zip(one.splitlines(), other.splitlines(), strict=True)
        if line != new and not private.search(line)
    ]
    assert changed == []
    kept = (
        "vendor",
        "device",
        "class",
        "resource",
        "current_link_speed",
        "aer_dev_correctable",
        "driver",
        "model",
        "firmware_rev",
    )
    members, redacted = members_from(before), members_from(after)
    for path, data in members.files.items():
        if path.rpartition("/")[2] in kept:
            assert redacted.files[path] == data, path


def test_another_redaction_gives_other_tokens(planted: Tree, tmp_path: Path) -> None:
    members = members_from(CaptureHost(str(planted.write_tar(tmp_path / "in.tar.gz"))))
    salt = bytes(range(32))
    one, same, other = redact_members(members, salt), redact_members(members, salt), redact_members(members)
    assert one == same
    for path in ("/etc/machine-id", "/etc/hostname", "/sys/firmware/dmi/tables/DMI"):
        assert one.files[path] != other.files[path]
        assert len(one.files[path]) == len(members.files[path])
    assert all(salt not in data and salt.hex().encode() not in data for data in one.files.values())


def test_a_redacted_capture_can_be_redacted_again(planted: Tree, tmp_path: Path) -> None:
    before, after = redacted_host(planted, tmp_path)
    write_capture(redact_members(members_from(after)), f"{tmp_path}/twice.tar")
    assert outcomes(CaptureHost(f"{tmp_path}/twice.tar")) == outcomes(before)
    assert found_in((tmp_path / "twice.tar").read_bytes()) == []


def test_a_tree_of_another_tool_is_redacted_too() -> None:
    members = Members(
        {
            "/proc/cmdline": f"quiet root=UUID={S['root uuid']}\n".encode(),
            "/etc/hostname": b"quokka17\n",
            "/var/log/kern.log": f"2026-01-02T03:04:05.678+00:00 {S['host']} kernel: link {S['mac']}\n".encode(),
        },
        {"/sys/class/net/eth0": f"../../devices/{S['mac']}"},
    )
    redacted = redact_members(members)
    assert found_in(b"".join(redacted.files.values()) + "".join(redacted.links.values()).encode()) == []
    assert b'"redacted": true' in redacted.files["/boxcheck/capture.json"]
    assert b"quiet root=UUID=" in redacted.files["/proc/cmdline"]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Oswaldina's iPhone", "oswaldina"),
        ("/mnt/kowalnas", "kowalnas"),
        ("/home/zbigniewk", "zbigniewk"),
        ("serial AAAB111X9", "AAAB111"),
        ("wlan SSID HomeOfZbig", "HomeOfZbig"),
        ("https://u:p@nas.quollco.example/x", "quollco"),
    ],
)
def test_a_secret_alone_in_a_file_is_found(text: str, secret: str) -> None:
    redacted = redact_members(Members({"/sys/devices/usb1/product": text.encode()}, {}))
    left = redacted.files["/sys/devices/usb1/product"].decode()
    assert secret.lower() not in left.lower()
    assert len(left) == len(text)


@pytest.mark.parametrize("text", ["USB Receiver", "/mnt/raid", "SSID 1458a182", "serial port", "https://docs.kernel.org/PCI/x"])
def test_what_is_none_alone_in_a_file_stays(text: str) -> None:
    redacted = redact_members(Members({"/sys/devices/usb1/product": text.encode()}, {}))
    assert redacted.files["/sys/devices/usb1/product"].decode() == text


@pytest.mark.parametrize(
    "data", [b"", b"\x82", b"\x82\xff\xff", b"\x90\x05\0SN\xffabc", b"\xff" * 50, vpd("A1")[:20], bytes(300), b"\x78"]
)
def test_broken_vpd_keeps_its_length_and_nothing_else(data: bytes) -> None:
    redacted = redact_vpd(data, Tokens(b"salt").of)
    assert len(redacted) == len(data)
    assert b"abc" not in redacted


def test_tokens_keep_the_shape() -> None:
    tokens = Tokens(b"salt")
    for secret, shape in {
        "S6Z1NX0T512345A": r"[A-Z]\d[A-Z]\d[A-Z]{2}\d[A-Z]\d{6}[A-Z]",
        "9d3b2c41f07ea658": r"[0-9a-f]{16}",
        "1324021055667": r"[1-9]\d{12}",
        "A4:BF:01:FF:77:3C": r"02(:[0-9A-F]{2}){5}",
        "zbigniewk": r"[a-z]{9}",
        "Ab-9_x": r"[A-Z][a-z]-\d_[a-z]",
        "4C4C4544-0051-3610-8052-B4C04F384D32": r"[0-9A-F]{8}-[0-9A-F]{4}-8[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}",
    }.items():
        token = tokens.of(secret)
        assert re.fullmatch(shape, token), (secret, token)
        assert token != secret
        assert tokens.of(token) == token, "a token is no secret"
        assert tokens.of(secret) == token
    assert tokens.of("a1b2c3d4e5f60718").upper() == tokens.of("A1B2C3D4E5F60718")


PLACES = st.sampled_from(
    [
        "/sys/firmware/dmi/tables/DMI",
        "/sys/devices/pci0000:00/0000:00:01.0/config",
        "/sys/devices/pci0000:00/0000:00:01.0/vpd",
        "/etc/passwd",
        "/etc/group",
        "/etc/hosts",
        "/etc/hostname",
        "/proc/cmdline",
        "/var/log/dmesg",
        "/sys/x/uevent",
        "/sys/x/serial",
        "/sys/x/properties",
        "/boxcheck/stat.json",
        "/boxcheck/list.jsonl",
        "/boxcheck/unread.jsonl",
        "/boxcheck/run/0000.json",
        "/boxcheck/lib/0000.json",
        "/boxcheck/again/0000/sys/x/serial",
        "/boxcheck/capture.json",
        "/sys/x/unknown",
    ]
)
LINES = st.sampled_from(
    [
        b"root:x:0:0::/root:/bin/sh",
        b"a:x:1000:1000:a,b:/home/a:/bin/sh",
        b":::::::",
        b"ip=ip=ip=:::::",
        b"SERIAL=",
        b"unique_id 7",
        b"0102030405060708",
        b"aa:bb:cc:dd:ee:ff",
        b"Serial Number: x",
        b"nqn.2014-08.a:b",
        b"fe80::1%eth0",
        b"10.0.0.1",
        b"\xff\xfe",
        b'{"path":"/sys/x","names":["a",1,null]}',
        b'{"argv":["chronyc"],"stdout":"Reference ID : 1"}',
        b'[1,{"serial":-5}]',
        b"null",
        b'{"user":3}',
        b"127.0.0.1 . .. \x1b[31m",
        b"\0\0",
        b"Linux version x (a@b)",
        b"/home//home/x/home/x",
        b"key=key=key=",
        b"00000000-0000-0000-0000-000000000000",
    ]
)


@settings(max_examples=int(os.environ.get("BOXCHECK_FUZZ_EXAMPLES", "100")), deadline=None, database=None)
@given(
    st.dictionaries(PLACES, st.lists(LINES | st.binary(max_size=40), max_size=6).map(b"\n".join), max_size=8),
    st.dictionaries(PLACES | st.text(max_size=8).map("/x/".__add__), st.text(max_size=12), max_size=3),
)
def test_any_capture_is_redacted_without_an_error(files: dict[str, bytes], links: dict[str, str]) -> None:
    redacted = redact_members(Members(files, links), b"salt")
    assert b'"redacted": true' in redacted.files["/boxcheck/capture.json"]


@pytest.mark.parametrize(
    "text",
    [
        b"ip=" * 300_000,
        b"SERIAL" * 100_000,
        b"nqn.2014-08." * 60_000,
        b"a" * 500_000,
        b"a." * 250_000,
        b":" * 500_000,
        b"0:" * 250_000,
        b"password" * 60_000,
        b"serial number" + b" " * 400_000,
        b"aa-" * 150_000,
        b"1." * 200_000,
        b"a@" * 200_000,
        b"/home/" * 80_000,
    ],
)
def test_no_text_takes_long(text: bytes) -> None:
    began = time.process_time()
    redact_members(Members({"/var/log/dmesg": text, "/sys/x/uevent": text}, {}))
    assert time.process_time() - began < 20
