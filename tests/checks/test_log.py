from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.decode.klog import parse_log
from boxcheck.model import Bdf, Unread
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.links import Link, LinkEnd, Links
from boxcheck.profile import load_profile
from tests.checks.cards import gpu, gpus, nvidia
from tests.checks.judging import DENIED, judge, outcome, outcomes
from tests.checks.test_kernel import NVIDIA_PART, box

ROOT_PORT = Bdf("0000:40:01.1")
AMD, OTHER = gpu(0, slot_link=ROOT_PORT), gpu(1)
GEFORCE = nvidia(2)
CARDS = gpus(AMD, OTHER, GEFORCE)
END = LinkEnd(ROOT_PORT, 16.0, 16, 16.0, 16, 16.0)
LINK = Link(downstream=END, upstream=msgspec.structs.replace(END, bdf=AMD.bdf), slot="PCIE1", on_card=False,
            presence_detect=True, dll_active=True, under_load=Unread("at rest", "one-reading"))
LINKS = Links({ROOT_PORT: LINK}, {AMD.bdf: (ROOT_PORT,)}, None)
BOOT = "[    0.000000] Linux version 6.8.0 (x) #1\n" + "".join(
    f"[    0.0{number:05}] BIOS-e820: [mem {number:#018x}-{number:#018x}] usable\n" for number in range(20))


def logs(text: str, boot: str = BOOT, previous: Any = None) -> KernelLogs:
    return KernelLogs(parse_log(boot + text), parse_log(BOOT) if previous is None else previous, 11520.0, ())


XID = "[  100.5] NVRM: Xid (PCI:0000:43:00): {}, pid=1, name=python3, text"
EVENTS = [
    # check, lines, outcome
    ("log.xid", XID.format(79), "fail"), ("log.xid", XID.format(31), "pass"), ("log.xid", XID.format(109), "marginal"),
    ("log.gpu-lost", "[  100.5] NVRM: GPU at PCI:0000:43:00: GPU-1\n[  100.6] NVRM: GPU 0000:43:00.0: GPU has fallen off "
     "the bus.", "fail"),
    ("log.device-not-ready", "[  9.1] amdgpu 0000:03:00.0: not ready 65535ms after resume; giving up", "fail"),
    ("log.amdgpu-init", "[  9.1] amdgpu 0000:03:00.0: amdgpu: Fatal error during GPU init", "fail"),
    ("log.nvidia-init", "[  9.1] NVRM: GPU 0000:43:00.0: RmInitAdapter failed! (0x24:0xffff:1589)", "fail"),
    ("log.amdgpu-reset", "[  9.1] amdgpu 0000:03:00.0: amdgpu: GPU reset begin!\n[  9.2] amdgpu 0000:03:00.0: amdgpu: MODE1 "
     "reset\n[  9.9] amdgpu 0000:03:00.0: amdgpu: GPU reset(1) succeeded!", "fail"),
    ("log.amdgpu-ring-timeout", "[  9.1] amdgpu 0000:03:00.0: amdgpu: ring gfx_0.0.0 timeout, signaled seq=1, emitted "
     "seq=2", "fail"),
    ("log.atomics", "[  9.1] kfd kfd: amdgpu: skipped device 1002:744c, PCI rejects atomics", "fail"),
    ("log.bar-assignment", "[  0.9] pci 0000:03:00.0: BAR 0 [mem size 0x800000000 64bit pref]: can't assign; no space\n"
     "[  0.9] pci 0000:03:00.0: BAR 0 [mem size 0x800000000 64bit pref]: failed to assign", "fail"),
    ("log.bar-assignment", "[  0.9] pci 0000:00:1c.0: BAR 13: no space for [io  size 0x1000]", "pass"),
    ("log.iommu-fault", "[  9.1] nvidia 0000:43:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0003 address=0x80000040 "
     "flags=0x0020]", "fail"),
    ("log.pcie-fatal", "[  9.1] pcieport 0000:40:01.1: AER: Uncorrectable (Fatal) error message received from 0000:40:01.1\n"
     "[  9.1] pcieport 0000:40:01.1: PCIe Bus Error: severity=Uncorrectable (Fatal), type=Transaction Layer, (Receiver "
     "ID)\n[  9.1] pcieport 0000:40:01.1:   device [1022:1483] error status/mask=00000020/00000000\n"
     "[  9.1] pcieport 0000:40:01.1:    [ 5] SDES                   (First)", "fail"),
    ("log.aer-correctable", "[  9.1] pcieport 0000:40:01.1: PCIe Bus Error: severity=Correctable, type=Data Link Layer, "
     "(Receiver ID)\n[  9.1] pcieport 0000:40:01.1:   device [1022:1483] error status/mask=00000040/0000a000\n"
     "[  9.1] pcieport 0000:40:01.1:    [ 6] BadTLP", "marginal"),
    ("log.firmware-first", "[  9.1] {1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 512\n"
     "[  9.1] {1}[Hardware Error]: event severity: corrected\n[  9.1] {1}[Hardware Error]:  Error 0, type: corrected\n"
     "[  9.1] {1}[Hardware Error]:   section_type: PCIe error\n[  9.1] {1}[Hardware Error]:   device_id: 0000:03:00.0\n"
     "[  9.1] {1}[Hardware Error]:   aer_cor_status: 0x00000040, aer_cor_mask: 0x00000000", "marginal"),
    ("log.mce", "[  9.1] mce: [Hardware Error]: CPU 12: Machine Check: 0 Bank 5: bea0000000000108", "fail"),
    ("log.edac", "[  9.1] EDAC MC0: 1 UE on mc#0csrow#0channel#3 (csrow:0 channel:3 page:0x8 offset:0x0 grain:64)", "fail"),
    ("log.edac", "[  9.1] EDAC MC0: 1 CE on mc#0csrow#0channel#3 (csrow:0 channel:3 page:0x8 offset:0x0 grain:64)",
     "marginal"),
    ("log.thermal", "[  9.1] mce: CPU3: Core temperature above threshold, cpu clock throttled (total events = 1)",
     "marginal"),
    ("log.nvme", "[  9.1] nvme nvme0: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0xffff", "fail"),
    ("log.lockup", "[  9.1] watchdog: BUG: soft lockup - CPU#21 stuck for 26s! [kworker/21:1:512]", "marginal"),
]
PROFILE = {"log.xid": box(part=NVIDIA_PART), "log.nvidia-init": box(part=NVIDIA_PART)}


@pytest.mark.parametrize(("check", "text", "wanted"), EVENTS, ids=[f"{check}-{wanted}" for check, _, wanted in EVENTS])
def test_an_event_is_a_finding_and_its_absence_is_a_pass(check: str, text: str, wanted: str) -> None:
    want = PROFILE.get(check, box())
    found = judge(check, logs(text), CARDS, LINKS, profile=want)
    assert outcomes(found) == [wanted], [finding.says for finding in found]
    assert outcome(check, logs("[    1.0] all is quiet"), CARDS, LINKS, profile=want) == "pass"


@pytest.mark.parametrize("check", sorted({check for check, _, _ in EVENTS}))
def test_a_log_that_was_not_read_whole_is_never_a_pass(check: str) -> None:
    want = PROFILE.get(check, box())
    denied = msgspec.structs.replace(logs(""), this_boot=DENIED)
    (finding,) = judge(check, denied, CARDS, LINKS, profile=want)
    assert (finding.outcome.value, finding.needs_root) == ("unknown", True)
    wrapped = logs("[ 9000.0] pci: something", boot="")
    assert outcome(check, wrapped, CARDS, LINKS, profile=want) == "unknown"


def test_a_wrapped_log_still_shows_what_it_has() -> None:
    assert outcome("log.xid", logs(XID.format(48), boot=""), CARDS, LINKS, profile=box(part=NVIDIA_PART)) == "fail"


def test_one_finding_a_device_with_count_and_time() -> None:
    text = "\n".join([XID.format(31), XID.format(48), XID.format(48).replace("100.5", "107.5"), XID.format(64).replace("43:00", "83:00")])
    found = judge("log.xid", logs(text), CARDS, LINKS, profile=box(part=NVIDIA_PART))
    assert [str(finding.subject) for finding in found] == ["PCIE3", "device 0000:83:00.0"]
    assert "2 x, last 3 h 10 min ago" in found[0].says
    assert found[0].cause == f"gpu-fault:{GEFORCE.bdf}"


def test_xid_79_is_a_lost_gpu() -> None:
    (finding,) = judge("log.xid", logs(XID.format(79)), CARDS, LINKS, profile=box(part=NVIDIA_PART))
    assert finding.cause == f"gpu-lost:{GEFORCE.bdf}"


def test_an_error_belongs_to_the_link_of_its_slot() -> None:
    text = next(text for check, text, _ in EVENTS if check == "log.aer-correctable")
    (finding,) = judge("log.aer-correctable", logs(text), CARDS, LINKS, profile=box())
    assert finding.cause == f"link:{ROOT_PORT}"
    assert finding.subject.slot == "PCIE1"
    assert finding.where is not None
    assert finding.where.startswith("root port 40:01.1 > slot PCIE1")


def test_lines_without_a_device_go_to_the_one_in_trouble() -> None:
    text = ("[  9.1] [drm:psp_hw_init [amdgpu]] *ERROR* PSP create ring failed!\n"
            "[  9.2] amdgpu 0000:03:00.0: amdgpu: Fatal error during GPU init")
    (finding,) = judge("log.amdgpu-init", logs(text), CARDS, LINKS, profile=box())
    assert finding.subject.bdf == AMD.bdf


def test_a_memory_error_told_twice_is_one_cause() -> None:
    text = ("[  9.1] [Hardware Error]: CPU:0 (19:1:0) MC17_STATUS[Over|CE|MiscV|AddrV|-|-|SyndV|CECC|-|-|-]: "
            "0xdc2040000000011b\n[  9.1] EDAC MC0: 1 CE on mc#0csrow#0channel#3 (csrow:0 channel:3 page:0x8 grain:64)")
    (check,) = judge("log.mce", logs(text), CARDS, LINKS, profile=box())
    (edac,) = judge("log.edac", logs(text), CARDS, LINKS, profile=box())
    assert check.cause == edac.cause == "memory-log:"


def test_no_card_of_a_vendor_no_question() -> None:
    assert outcome("log.xid", logs(""), gpus(AMD), LINKS, profile=box()) == "skip"
    assert outcome("log.amdgpu-init", logs(""), gpus(GEFORCE), LINKS, profile=box(part=NVIDIA_PART)) == "skip"


def test_the_boot_before() -> None:
    crashed = parse_log(BOOT + next(text for check, text, _ in EVENTS if check == "log.pcie-fatal"))
    assert outcome("log.previous-boot", logs("", previous=crashed), CARDS, LINKS, profile=box()) == "marginal"
    assert outcome("log.previous-boot", logs(""), CARDS, LINKS, profile=box()) == "pass"
    assert outcome("log.previous-boot", logs("", previous=DENIED), CARDS, LINKS, profile=box()) == "unknown"


@pytest.mark.parametrize(("records", "wanted"), [((), "pass"), (("/sys/fs/pstore/dmesg-1",), "marginal"), (DENIED, "unknown")])
def test_crash_records(records: Any, wanted: str) -> None:
    kept = msgspec.structs.replace(logs(""), crash_records=records)
    assert outcome("log.crash-record", kept, CARDS, LINKS, profile=box()) == wanted



@pytest.mark.parametrize("boot", [
    "[    0.000000] Linux version 6.8.0 (x) #1\n", "Linux version 6.8.0 (another machine)", "Linux version ",
    BOOT.replace("[    0.0", "[ 9000.0"), "[    0.5] pci: x\n" * 100 + BOOT,
    "\n".join(line.partition("] ")[2] for line in BOOT.splitlines())])
def test_a_text_with_a_first_line_is_not_yet_the_log_of_a_boot(boot: str) -> None:
    assert outcome("log.gpu-lost", logs("", boot=boot), CARDS, LINKS, profile=box()) == "unknown"


@pytest.mark.parametrize(("changes", "wanted"), [
    ({"release": "6.8.0"}, "pass"), ({"release": "6.14.0-36-generic"}, "unknown"), ({"release": DENIED}, "pass"),
    ({"recorded": False}, "unknown"), ({"recorded": False, "uptime_seconds": 30.0}, "pass"),
    ({"recorded": False, "uptime_seconds": DENIED}, "unknown")])
def test_a_log_of_another_boot_or_of_its_beginning_proves_no_absence(changes: dict[str, Any], wanted: str) -> None:
    saved = msgspec.structs.replace(logs("[    2.5] done\n"), **changes)
    (finding,) = judge("log.gpu-lost", saved, CARDS, LINKS, profile=box())
    assert finding.outcome.value == wanted, finding.says
    lost = msgspec.structs.replace(logs("[  2.5] NVRM: GPU 0000:43:00.0: GPU has fallen off the bus."), **changes)
    assert outcome("log.gpu-lost", lost, CARDS, LINKS, profile=box()) == "fail"


CRASHES = (
    "BUG: kernel NULL pointer dereference, address: 0000000000000010\n[ 5000.2] Oops: 0000 [#1] PREEMPT SMP NOPTI",
    "Oops: 0000 [#1] PREEMPT SMP NOPTI", "Oops: Oops: 0002 [#3] SMP NOPTI", "divide error: 0000 [#1] SMP",
    "Kernel panic - not syncing: Fatal exception", "general protection fault: 0000 [#1] SMP",
    "general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP",
    "NMI: PCI system error (SERR) for reason a1 on CPU 0.")


@pytest.mark.parametrize("text", CRASHES)
def test_a_crash_of_the_kernel_fails(text: str) -> None:
    (finding,) = judge("log.lockup", logs(f"[ 5000.1] {text}"), CARDS, LINKS, profile=box())
    assert finding.outcome.value == "fail"
    assert " x," not in finding.says, "one crash, told once"


@pytest.mark.parametrize("text", ["NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.",
                                  "traps: python3[7] general protection fault ip:7f sp:7f error:0 in x.so"])
def test_what_is_no_crash_of_the_kernel(text: str) -> None:
    assert outcome("log.lockup", logs(f"[ 5000.1] {text}"), CARDS, LINKS, profile=box()) == "pass"


@pytest.mark.parametrize("text", [
    "NVRM: rm_init_adapter failed, device minor number 2", "NVRM: RmInitAdapter failed!",
    "NVRM: RmInitAdapter failed! (0x24:0xffff:1589)", "NVRM: GPU 0000:43:00.0: rm_init_adapter failed, device minor number 2",
    "NVRM: GPU 0000:43:00.0: RmInitAdapter failed! (0x24:0xffff:1589)\n"
    "[ 5000.2] NVRM: GPU 0000:43:00.0: rm_init_adapter failed, device minor number 0"])
def test_a_gpu_that_did_not_start_is_told_in_every_spelling(text: str) -> None:
    found = judge("log.nvidia-init", logs(f"[ 5000.1] {text}"), CARDS, LINKS, profile=PROFILE["log.nvidia-init"])
    assert outcomes(found) == ["fail"]
    assert ";" not in found[0].says, "one failure, told once"


@pytest.mark.parametrize(("gravity", "wanted"), [("fatal", "fail"), ("recoverable", "fail"), ("corrected", "marginal")])
def test_an_error_that_firmware_reported_decides(gravity: str, wanted: str) -> None:
    text = ("[ 5000.1] {1}[Hardware Error]: event severity: " + gravity + "\n[ 5000.1] {1}[Hardware Error]:  Error 0, type: "
            + gravity + "\n[ 5000.1] {1}[Hardware Error]:   section_type: PCIe error")
    (finding,) = judge("log.firmware-first", logs(text), CARDS, LINKS, profile=box())
    assert finding.outcome.value == wanted
    assert "log.firmware-first" in load_profile("wopr-7x4090").faults


@pytest.mark.parametrize(("text", "wanted"), [
    (BOOT, "pass"),
    ("".join(BOOT.splitlines(True)[:20]), "pass"), ("".join(BOOT.splitlines(True)[:19]), "unknown"),
    ("[    0.000000] Linux version 6.8.0 (x) #1\n", "unknown"),
    ("".join(BOOT.splitlines(True)[1:]), "unknown")])  # the start is gone: nobody knows what else is
def test_a_short_log_of_the_boot_before_proves_nothing(text: str, wanted: str) -> None:
    assert outcome("log.previous-boot", logs("", previous=parse_log(text)), CARDS, LINKS, profile=box()) == wanted


def test_a_crash_in_a_short_log_is_told() -> None:
    crashed = parse_log("[   99.000000] Kernel panic - not syncing: Fatal exception\n")
    assert outcome("log.previous-boot", logs("", previous=crashed), CARDS, LINKS, profile=box()) == "marginal"
