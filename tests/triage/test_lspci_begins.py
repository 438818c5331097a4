"""Where an lspci begins and ends in a mixed text, and that its words find it."""

from __future__ import annotations

import pytest

from boxcheck.decode.lspci_classes import CLASS_CODES
from boxcheck.triage.cut import cut
from boxcheck.triage.tools import TOOLS, lspci

from .lspci_text import flattened, nvidia, wrapped

ANCHORS = next(tool.anchors for tool in TOOLS if tool.module == "lspci")

BEGINNINGS = [
    ("00:00.0 Host bridge: Intel Corporation Device 09a2 (rev 20)", "lspci"),
    ("0000:00:00.0 Host bridge [0600]: Advanced Micro Devices, Inc. [AMD] Device [1022:14a4]", "lspci"),
    ("10000:e1:00.0 Non-Volatile memory controller: Samsung", "lspci"),
    ("41:00.0 VGA compatible controller: NVIDIA Corporation AD102 (rev ff)", "lspci"),
    ("00:00.0 0600: 8086:29c0", "lspci"),
    ("05:01.0 Class 0604: Device 10b5:9716 (rev aa)", "lspci"),
    ('00:00.0 "Host bridge" "Intel Corporation" "Device 09a2" -r20 "" ""', "lspci"),
    ("Slot:\t00:00.0", "lspci -vmm"),
    ("-[0000:00]-+-00.0  Intel Corporation Device 09a2", "lspci -t"),
    ("-+-[0000:e0]-+-00.0", "lspci -t"),
    ("-[00]-+-00.0", "lspci -t"),
    ("\t\tLnkSta:\tSpeed 8GT/s (ok), Width x16 (ok)", "lspci"),
    ("LnkCap: Port #0, Speed 16GT/s, Width x16, ASPM L1", "lspci"),
    ("\t\tACSCtl:\tSrcValid- TransBlk- ReqRedir- CmpltRedir- UpstreamFwd- EgressCtrl- DirectTrans-", "lspci"),
    ("\tCapabilities: [100 v1] Advanced Error Reporting", "lspci"),
    ("\tRegion 1: Memory at 18000000000 (64-bit, prefetchable) [size=32G]", "lspci"),
    ("pcilib: sysfs_read_vpd: read failed: No such device", "lspci"),
]

NOT_BEGINNINGS = [
    "[    1.234567] pci 0000:00:01.1: PCI bridge to [bus 01]",
    "pci 0000:00:01.1: [1022:1483] type 01 class 0x060400",
    "pcieport 0000:40:01.1: AER: Corrected error received: 0000:41:00.0",
    "Nov 28 10:00:00 box kernel: VGA compatible controller: whatever",
    "the Host bridge: it is broken",
    "12:05.3 remaining: 4 minutes",
    "00:01.0 is my root port: it reads x8",
    "LnkSta shows x8 and the slot has x16",
    "$ lspci -vvv",
    "Slot: 3",
    "Device: RTX 4090",
    "\tStatus: Populated, Enabled",
    "Capabilities: none",
    "GPU 00000000:41:00.0",
]


@pytest.mark.parametrize(("line", "variant"), BEGINNINGS)
def test_a_beginning_is_known_and_found_by_its_words(line: str, variant: str) -> None:
    assert lspci.begins(line) == variant
    assert any(word in line for word in ANCHORS)
    assert lspci.begins(flattened(line)) == variant


@pytest.mark.parametrize("line", NOT_BEGINNINGS)
def test_other_lines_begin_nothing(line: str) -> None:
    assert lspci.begins(line) is None


def test_nearly_every_class_is_found_by_an_anchor() -> None:
    """Those that are not are no first line of a machine's list: bus 0 begins with a host bridge."""
    missed = [name for name in CLASS_CODES if not any(word in f"00:00.0 {name}: X" for word in ANCHORS)]
    assert not [name for name in missed if CLASS_CODES[name] >> 8 in (0x01, 0x02, 0x03, 0x06, 0x12)]


NOT_OURS = [
    "[    1.234567] nvidia 0000:41:00.0: enabling device (0000 -> 0003)",
    "nvidia 0000:41:00.0: enabling device (0000 -> 0003)",
    "NVRM: GPU at PCI:0000:41:00: GPU-1234",
    "Nov 28 10:00:00 box kernel: amdgpu: topology",
    "2026-01-12T04:23:56.396721+01:00 T279584;exc_nmi: 0",
    "user@box:~$ nvidia-smi",
    "[root@box ~]# dmesg",
    "# dmidecode 3.3",
    "Handle 0x0000, DMI type 0, 24 bytes",
    "\tStatus: Populated, Enabled",
    "\tProduct Name: ROMED8-2T",
    "=============NVSMI LOG=============",
    "Driver Version                            : 570.148.08",
    "        Product Name                          : NVIDIA GeForce RTX 4090",
    "\tGPU0\tGPU1\tCPU Affinity",
    "[P2P (Peer-to-Peer) GPU Bandwidth Latency Test]",
    "ROCk module is loaded",
    "I have tried another slot and it did not help.",
    "Here is what the card shows under load",
    "             \\-[0000:00]-+-00.0",
    "x" * 5000,
]


@pytest.mark.parametrize("line", NOT_OURS)
def test_other_lines_end_it(line: str) -> None:
    assert not lspci.belongs("lspci", line)


@pytest.mark.parametrize("shape", [str, flattened, wrapped, lambda text: flattened(wrapped(text))])
def test_every_line_of_a_function_belongs(shape: object) -> None:
    text = shape(nvidia("41:00.0"))  # type: ignore[operator]
    assert [line for line in text.splitlines() if line.strip() and not lspci.belongs("lspci", line)] == []


def test_the_command_of_the_next_lspci_keeps_them_together() -> None:
    for line in ("$ sudo lspci -vvv -s 41:00.0", "root@box:~# lspci -vvs 40:01.1", "# lspci", "```"):
        assert lspci.belongs("lspci", line)


def test_a_log_around_it_stays_a_log() -> None:
    log = "[    1.000000] nvidia 0000:41:00.0: enabling device (0000 -> 0003)\n"
    sections, rest = cut(log + nvidia("41:00.0") + log + "\n" + log)
    assert [(section.variant, section.first_line) for _, section in sections] == [("lspci", 2)]
    assert rest.decode().count("enabling device") == 3


def test_a_tree_and_a_list_are_two_sections() -> None:
    sections, _ = cut("-[0000:40]-+-00.0  Host\n           \\-01.1-[41]----00.0  Card\n" + nvidia("41:00.0"))
    assert [section.variant for _, section in sections] == ["lspci -t", "lspci"]
