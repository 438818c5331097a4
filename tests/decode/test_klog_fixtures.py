"""Public kernel logs: what each one holds, written down by reading it, against what the parser finds.

The logs lie beside the project (`../shared/fixtures`) and are skipped, saying so, where they do not.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.decode.klog import KernelLog, parse_log

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"
FOLDERS = ("issues", "lkml", "gpud")
ABSENT = "../shared/fixtures is not there"
pytestmark = pytest.mark.skipif(not FIXTURES.is_dir(), reason=ABSENT)

CE, NONFATAL, FATAL = "aer-correctable", "aer-nonfatal", "aer-fatal"
Row = tuple[str, str | None, tuple[str, ...], int]

# Every kernel log of the three folders, with all of its events: kind, device, labels, count.
EVENTS: dict[str, list[Row]] = {
    # Third record cut before its status line.
    "issues/aer-new-badtlp-timeout-nvidia.log": [
        (CE, "0000:00:03.1", ("Timeout",), 1), (CE, "0000:00:03.1", ("BadTLP",), 1), (CE, "0000:00:03.1", (), 1),
    ],
    "issues/aer-new-dual-amdgpu-x99.log": [(CE, "0000:00:03.0", ("Timeout",), 2)],
    "issues/aer-new-nvidia-p1000.log": [(CE, "0000:03:00.0", ("Timeout",), 1)],
    "issues/aer-new-ratelimit-threadid-7.0.log": [
        (CE, "0000:01:00.0", ("Timeout",), 1), (CE, "0000:00:00.0", ("Rollover", "Timeout"), 1),
    ],
    "issues/aer-old-multi-bdf.log": [(CE, "0000:00:1c.1", ("Timeout",), 2)],
    "issues/amdgpu-5700xt-7.0-noprefix.log": [
        ("amdgpu-ring-timeout", "0000:28:00.0", ("gfx_0.0.0",), 1),
        ("amdgpu-ring-reset", "0000:28:00.0", ("gfx_0.0.0", "failed"), 1),
        ("amdgpu-reset", "0000:28:00.0", ("BACO", "succeeded", "VRAM lost"), 1),
    ],
    # DRM_ERROR lines name no device.
    "issues/amdgpu-7900xt-sdma-timeout-mes-5.15.log": [
        ("amdgpu-ring-timeout", None, ("sdma0",), 1), ("amdgpu-reset", "0000:0a:00.0", (), 1),
        ("amdgpu-mes-fail", None, ("3",), 1),
    ],
    "issues/amdgpu-7900xtx-fedora-mes-pagefault.log": [
        ("amdgpu-mes-fail", None, ("3",), 1), ("amdgpu-reset", "0000:03:00.0", (), 1),
        ("amdgpu-ip-hung", "0000:03:00.0", ("gfx_v11_0",), 1), ("amdgpu-page-fault", "0000:03:00.0", ("gfxhub",), 1),
    ],
    "issues/amdgpu-7900xtx-journal-2026.log": [("amdgpu-ring-timeout", None, ("gfx_0.0.0",), 2)],
    "issues/amdgpu-atomics-7900xt-11400f.log": [("atomics-unsupported", "0000:03:00.0", (), 1)],
    "issues/amdgpu-ibtest-2gpu-5.0-domain.log": [
        ("ib-test-fail", "0005:01:00.0", ("comp_1.2.0",), 1), ("ib-test-fail", "000d:31:00.0", ("comp_1.2.0",), 1),
        ("ib-test-fail", "0005:01:00.0", ("comp_1.3.0",), 1), ("ib-test-fail", "000d:31:00.0", ("comp_1.3.0",), 1),
    ],
    "issues/amdgpu-tinybox-2x7900xtx-sdma.log": [
        ("amdgpu-mes-fail", None, ("3",), 1), ("amdgpu-reset", "0000:c3:00.0", (), 1),
        ("ib-test-fail", None, ("sdma_v6_0",), 1), ("amdgpu-ip-hung", "0000:c3:00.0", ("sdma_v6_0",), 1),
    ],
    "issues/bar-io-nospace-benign-epyc7r13.log": [
        ("bar-assign-fail", "0000:22:00.0", ("window io",), 1), ("bar-assign-fail", "0000:22:00.1", ("window io",), 1),
    ],
    "issues/bar-nospace-riser-switch-old.log": [
        ("bar-assign-fail", "0000:0d:00.0", ("BAR 0",), 1), ("bar-assign-fail", "0000:0d:00.0", ("BAR 2",), 1),
    ],
    "issues/bwlimited-rx6800-b450.log": [("bw-limited", "0000:0b:00.0", ("8 GT/s", "x16"), 1)],
    "issues/bwlimited-vega56-rpi5.log": [("bw-limited", "0000:01:00.0", ("8 GT/s", "x1"), 1)],
    "issues/cmdline-4090-tr-7.0.txt": [],
    "issues/iommu-iopf-nvidia-p2p.log": [("iommu-fault", "0000:07:00.0", ("IO_PAGE_FAULT",), 3)],
    "issues/kfd-atomics-5.3.log": [("atomics-unsupported", None, ("1002:67df",), 1)],
    "issues/kfd-atomics-old.log": [("atomics-unsupported", None, ("1002:67df",), 1)],
    "issues/lspci-bar-ignored-navi21-3gpu.txt": [("bar-assign-fail", "0000:04:00.0", ("BAR 2",), 1)],
    # Written down by a person: no agent, the lines after the first without their device.
    "issues/nvidia-aer-rtx5060ti-fallen.log": [
        ("gpu-lost", "0000:83:00.0", (), 1), (CE, "0000:83:00.0", ("Timeout",), 1),
    ],
    # No kernel log but what nvidia-smi says of a lost GPU; the last address is mangled.
    "issues/nvidia-smi-lost-variants.txt": [
        ("gpu-lost", "0000:0b:00.0", (), 1), ("gpu-lost", "0000:17:00.0", (), 1), ("gpu-lost", "0000:02:00.0", (), 1),
        ("gpu-lost", None, (), 1),
    ],
    "issues/nvrm-bar0-0M-egpu.log": [
        ("bar-assign-fail", "0000:06:00.0", ("BAR 0",), 1), ("nvidia-init-fail", "0000:06:00.0", ("-1",), 1),
    ],
    "issues/rminit-fail-rtx5080-fedora.log": [
        ("nvidia-init-fail", "0000:09:00.0", (), 1), ("nvidia-init-fail", "0000:09:00.0", ("0x22:0x56:894",), 1)],
    "issues/strix-halo-mes-reset.log": [
        ("amdgpu-mes-fail", "0000:c1:00.0", ("REMOVE_QUEUE",), 1),
        ("amdgpu-reset", "0000:c1:00.0", ("MODE2", "succeeded"), 1), ("power-state-refused", "0000:c1:00.1", (), 1),
    ],
    "issues/strix-halo-mes083-hang.log": [
        ("amdgpu-mes-fail", "0000:c5:00.0", ("REMOVE_QUEUE",), 2), ("amdgpu-reset", "0000:c5:00.0", (), 1),
    ],
    "issues/xid119-rtx4070.log": [("xid", "0000:01:00.0", ("119",), 1)],
    "issues/xid13-109-h100-ctime.log": [
        ("nvidia-peermem", None, (), 1), ("xid", "0000:cb:00.0", ("13",), 3), ("xid", "0000:cb:00.0", ("109",), 1),
    ],
    "issues/xid79-rtx5090-open595.log": [("xid", "0000:06:00.0", ("79",), 1), ("gpu-lost", "0000:06:00.0", (), 1)],
    # Only the "received" line: the port that logged it.
    "lkml/aer-correctable-new-bug218784.log": [(CE, "0000:00:1d.0", (), 1)],
    # Twice "can't find device", and once cut: received, without details.
    "lkml/aer-corrected-bug215644-gpu.txt": [
        (CE, "0000:00:1c.4", ("BadDLLP",), 1), (CE, "0000:00:1c.4", ("Timeout",), 3), (CE, "0000:00:1c.4", (), 3),
    ],
    "lkml/aer-corrected-dell9360.log": [(CE, "0000:01:00.0", ("BadDLLP",), 1)],
    "lkml/aer-corrected-dmesgT-2024.log": [(CE, "0000:00:06.0", ("RxErr",), 4)],
    "lkml/aer-corrected-old-2021.log": [(CE, "0000:02:00.0", ("RxErr",), 1)],
    "lkml/aer-fatal-recovery-2020.log": [(FATAL, "0000:00:01.0", ("CmpltTO",), 1)],
    # The long and the short name of one bit; the second was injected.
    "lkml/aer-fatal-recovery-2020b.log": [(FATAL, "0000:00:01.0", ("CmpltTO",), 2)],
    "lkml/aer-hda-uncorrected-5.7.log": [
        (NONFATAL, "0000:00:03.1", ("UnsupReq",), 1), ("aer-recovery-failed", "0000:00:03.1", (), 1),
    ],
    "lkml/aer-igc-uncorrected-nonfatal.log": [
        (CE, "0000:00:1d.0", ("HeaderOF",), 1), (CE, "0000:07:04.0", ("BadDLLP",), 1),
        (NONFATAL, "0000:00:1d.0", ("UnsupReq",), 1), (NONFATAL, "0000:04:01.0", ("UnsupReq", "ACSViol"), 1),
        ("kernel-warning", None, ("drivers/pci/pci.c:2248",), 1), ("aer-recovery-failed", "0000:00:1d.0", (), 1),
    ],
    # Its first line is pasted twice.
    "lkml/aer-uncorrectable-new-2025.log": [
        (FATAL, "0000:01:00.0", ("Inaccessible",), 1), ("aer-recovery-failed", "0000:00:1c.0", (), 1),
    ],
    "lkml/amdgpu-navi10-ats-iopf.log": [
        ("iommu-fault", "0000:07:00.0", ("IO_PAGE_FAULT",), 2), ("amdgpu-ring-timeout", None, ("sdma0",), 1),
        ("amdgpu-reset", "0000:07:00.0", ("failed",), 1), ("ring-test-fail", "0000:07:00.0", ("sdma0",), 1),
        ("amdgpu-resume-fail", None, ("sdma_v4_0",), 1),
    ],
    "lkml/bar-hotplug-pex8748-2025.log": [
        ("bar-assign-fail", "0000:04:09.0", ("window mem",), 1),
        ("bar-assign-fail", "0000:04:09.0", ("window mem pref",), 1),
        ("bar-assign-fail", "0000:0a:00.0", ("BAR 0",), 1),
    ],
    # Wrapped by a mailer, without time stamps.
    "lkml/bar-ppc-6.18.log": [
        ("bar-assign-fail", "0030:01:00.0", ("window mem pref",), 2),
        ("bar-assign-fail", "0030:02:01.0", ("window mem pref",), 2),
    ],
    "lkml/bar-resize-blocked-2024.txt": [
        ("bar-assign-fail", "0000:07:01.0", ("window mem pref",), 2),
        ("bar-assign-fail", "0000:08:00.0", ("BAR 1",), 2),
        ("bar-assign-fail", "0000:08:00.0", ("BAR 3",), 2), ("aer-not-owned", None, (), 1),
    ],
    "lkml/d3cold-notready.log": [
        ("device-not-ready", "0000:01:00.0", (), 1), ("device-inaccessible", "0000:01:00.0", (), 1),
        ("device-not-ready", "0000:03:00.0", (), 1), ("device-inaccessible", "0000:03:00.0", (), 1),
    ],
    # A diff of two boots. 33 "can't claim" lines of it come to nothing: the kernel assigns anew.
    "lkml/dmesg-6.18rc1-bug220775.log": [
        ("bw-limited", "0000:0f:00.0", ("8 GT/s", "x2"), 1), ("bar-assign-fail", "0000:06:08.0", ("window mem",), 1),
        ("bar-assign-fail", "0000:0d:07.0", ("window mem",), 1),
    ],
    "lkml/dmesg-nvme-2024.log": [("bw-limited", "0000:04:00.0", ("8 GT/s", "x1"), 1)],
    "lkml/dmesg-sriov-flr-aer.txt": [
        ("kernel-warning", None, ("drivers/infiniband/core/cq.c:345",), 1),
        ("kernel-warning", None, ("include/rdma/ib_verbs.h:3498",), 2), ("taint", None, ("W",), 5),
        ("kernel-warning", None, ("include/rdma/ib_verbs.h:3688",), 1),
        ("kernel-warning", None, ("include/rdma/ib_verbs.h:3936",), 1),
        ("kernel-warning", None, ("drivers/infiniband/core/verbs.c:347",), 1),
        (CE, "0000:01:00.0", ("NonFatalErr",), 1), (CE, "0000:01:00.1", ("NonFatalErr",), 1),
        (CE, "0000:00:00.0", (), 2),
    ],
    # The same lines twice, quoted and wrapped: not two events.
    "lkml/dpc-acs-bug209149.log": [
        ("device-inaccessible", "0000:01:00.0", (), 1), ("dpc", "0000:00:1b.0", ("unmasked uncorrectable error",), 1),
        (NONFATAL, "0000:00:1b.0", ("ACSViol",), 1),
    ],
    "lkml/dpc-recovery-oops-2026.log": [
        ("dpc", "0000:5f:00.0", (), 1), (NONFATAL, "0000:5f:00.0", (), 1),
        ("link-down", "0000:5f:00.0", ("slot 3",), 1),
        ("oops", None, (), 1),
    ],
    "lkml/dpc-rp-pio-log.log": [
        ("dpc", "0000:00:07.0", ("RP PIO log size",), 1), ("dpc", "0000:00:07.2", ("RP PIO log size",), 1),
    ],
    "lkml/flr-notready-dg2.log": [
        ("link-down", "0000:00:01.0", ("not active",), 2), ("device-inaccessible", "0000:01:00.0", (), 2),
        ("device-inaccessible", "0000:02:01.0", (), 2), ("device-inaccessible", "0000:02:04.0", (), 2),
        ("device-not-ready", "0000:03:00.0", (), 2), ("device-not-ready", "0000:04:00.0", (), 2),
        ("device-inaccessible", "0000:03:00.0", (), 3), ("device-inaccessible", "0000:04:00.0", (), 3),
    ],
    "lkml/ghes-fatal-2024-03.log": [
        ("ghes-pcie", "0000:01:00.1", ("UnsupReq",), 1), ("kernel-panic", None, ("Fatal hardware error!",), 1),
    ],
    # The device's own aer_status lines tell the same error again.
    "lkml/ghes-fatal-2024-09.log": [
        ("ghes-pcie", "0000:04:00.0", ("UnsupReq",), 1), ("kernel-warning", None, ("drivers/pci/pci.c:2250",), 1),
    ],
    "lkml/iommu-amd-kdump-nopt.log": [
        ("iommu-fault", "0000:63:00.0", ("IO_PAGE_FAULT",), 28), ("iommu-fault", "0000:61:00.0", ("IO_PAGE_FAULT",), 1),
        ("lockup", None, ("hung task",), 1),
    ],
    "lkml/iommu-iopf-mlx5-nvmeof.log": [
        ("iommu-fault", "0000:c1:00.0", ("IO_PAGE_FAULT",), 3),
        ("oops", None, ("drivers/iommu/amd/io_pgtable.c:485",), 1), ("taint", None, ("POE",), 1),
    ],
    "lkml/iommu-iopf-nvme-2022.log": [
        ("iommu-fault", "0000:01:00.0", ("IO_PAGE_FAULT",), 2), ("kfd-unsupported", None, ("VERDE",), 1),
    ],
    "lkml/lspci-bar-resize-gpu-2024.txt": [
        ("bar-assign-fail", "0000:09:00.0", ("BAR 5",), 1), ("nvidia-init-fail", None, ("pci_enable_device",), 1),
    ],
    "lkml/lspci-hotinsert-lmr-2023.txt": [
        ("link-down", "0000:80:03.2", ("slot 14",), 1), ("device-inaccessible", "0000:83:00.0", (), 1),
        ("link-down", "0000:80:03.2", ("slot 14", "no link"), 1),
    ],
    "lkml/mce-edac-fam17h-2019.log": [
        ("mce", None, ("MC18", "CE"), 1), ("mce", None, ("MC17", "CE"), 2),
        ("edac-ce", None, ("MC0", "mc#0csrow#0channel#0"), 2),
        ("kernel-warning", None, ("drivers/edac/edac_mc.c:1238",), 1),
    ],
    "lkml/mce-zen-spurious-2025.log": [("mce", None, (), 10)],
    "gpud/dmesg-erst.txt": [("oops", None, (), 1)],
    "gpud/dmesg.nccl-segfault.iso.log": [],
    "gpud/dmesg.oom.iso.log": [
        ("xid", "0000:38:00.0", ("13",), 16), ("xid", "0000:38:00.0", ("43",), 1), ("oom", None, (), 3),
    ],
    "gpud/kmsg.1.log": [],
    "gpud/kmsg.2.peermem.log": [("nvidia-peermem", None, (), 7)],
    # Of the fabric manager, no kernel log: one error among a hundred lines of notes.
    "gpud/fabricmanager.log": [("sxid", "0000:86:00.0", ("12028",), 1)],
}

# Logs that hold nothing to be frightened of, and all output of tools in these folders.
HARMLESS = (
    "issues/bar-io-nospace-benign-epyc7r13.log", "issues/bwlimited-rx6800-b450.log", "issues/bwlimited-vega56-rpi5.log",
    "issues/cmdline-4090-tr-7.0.txt", "issues/xid13-109-h100-ctime.log", "lkml/dmesg-6.18rc1-bug220775.log",
    "lkml/dmesg-nvme-2024.log", "lkml/dmesg-sriov-flr-aer.txt", "lkml/dpc-rp-pio-log.log", "lkml/bar-ppc-6.18.log",
    "lkml/bar-resize-blocked-2024.txt", "lkml/mce-zen-spurious-2025.log", "lkml/aer-corrected-dmesgT-2024.log",
    "gpud/dmesg.nccl-segfault.iso.log", "gpud/dmesg.oom.iso.log", "gpud/kmsg.1.log", "gpud/kmsg.2.peermem.log",
)


def files() -> list[str]:
    return sorted(
        f"{folder}/{path.name}" for folder in FOLDERS if (FIXTURES / folder).is_dir()
        for path in (FIXTURES / folder).iterdir() if path.is_file() and path.name != "SOURCES.md"
    )


def read(name: str) -> KernelLog:
    path = FIXTURES / name
    if not path.is_file():
        pytest.skip(f"{name} is not in ../shared/fixtures")
    return parse_log(path.read_bytes())


@pytest.mark.parametrize("name", EVENTS)
def test_events_are_those_that_the_log_holds(name: str) -> None:
    found = [(event.kind, event.bdf, event.labels, event.count) for event in read(name).events]
    assert found == EVENTS[name]


@pytest.mark.parametrize("name", files() or [pytest.param("", marks=pytest.mark.skip(reason=ABSENT))])
def test_every_file_is_read(name: str) -> None:
    """Whatever lies there is read; what is no kernel log holds no event."""
    log = read(name)
    assert log.lines > 0
    assert not log.truncated
    if name not in EVENTS:
        assert log.events == ()


OTHERS = sorted(path.name for path in FIXTURES.iterdir() if path.is_dir() and path.name not in FOLDERS) \
    if FIXTURES.is_dir() else []


@pytest.mark.parametrize("folder", OTHERS or [pytest.param("", marks=pytest.mark.skip(reason=ABSENT))])
def test_output_of_tools_holds_no_event(folder: str) -> None:
    """nvidia-smi, lspci, dmidecode, topologies, benchmarks: no kernel log among them."""
    for path in (FIXTURES / folder).rglob("*"):
        if path.is_file() and path.suffix not in (".gz", ".bz2", ".ttar"):
            assert parse_log(path.read_bytes()).events == (), path.name


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_logs_fail_nothing(name: str) -> None:
    assert [event.kind for event in read(name).events if event.severity == "fail"] == []


@pytest.mark.parametrize("name", [
    "issues/bar-io-nospace-benign-epyc7r13.log", "issues/bwlimited-rx6800-b450.log", "issues/bwlimited-vega56-rpi5.log",
    "issues/cmdline-4090-tr-7.0.txt", "lkml/dmesg-nvme-2024.log", "lkml/dpc-rp-pio-log.log", "gpud/kmsg.1.log",
    "gpud/dmesg.nccl-segfault.iso.log", "gpud/dmesg-erst.txt", "gpud/kmsg.2.peermem.log",
])
def test_ordinary_logs_frighten_nobody(name: str) -> None:
    """Ordinary boots, harmless twins, a crash that was asked for: nothing above info."""
    assert {event.severity for event in read(name).events} <= {"info", "benign"}


def test_logs_as_text_and_as_bytes_are_the_same() -> None:
    for name in EVENTS:
        path = FIXTURES / name
        if path.is_file():
            assert parse_log(path.read_text(encoding="utf-8", errors="replace")).events == read(name).events, name


def test_a_boot_log_gives_its_facts() -> None:
    log = read("lkml/dmesg-nvme-2024.log")
    facts = log.facts
    assert facts.from_boot
    assert facts.kernel_release == "6.8.0"
    assert facts.command_line is not None
    assert facts.command_line.startswith("BOOT_IMAGE=/boot/vmlinuz-6.8.0 root=UUID=")
    assert facts.unknown_command_line == ("splash", "BOOT_IMAGE=/boot/vmlinuz-6.8.0")
    assert facts.firmware is not None
    assert facts.firmware.machine == "To Be Filled By O.E.M. To Be Filled By O.E.M./H370M Pro4"
    assert (facts.firmware.bios_version, facts.firmware.bios_date) == ("P3.40", "10/25/2018")
    assert facts.iommu_default_domain == "Translated"
    (bridge,) = facts.host_bridges
    assert (bridge.bridge, bridge.buses) == ("PNP0A08:00", "0000:00-fe")
    assert bridge.os_controls == ("PCIeHotplug", "SHPCHotplug", "PME", "AER", "PCIeCapability", "LTR")
    assert bridge.os_owns_aer is True
    assert facts.nvme_functions == (("nvme0", "0000:04:00.0"),)
    assert (log.first_seconds, log.last_seconds, log.boots) == (0.0, 54.802569, 1)


def test_firmware_that_keeps_aer_is_seen() -> None:
    (bridge,) = read("lkml/bar-resize-blocked-2024.txt").facts.host_bridges
    assert bridge.platform_lacks == ("AER",)
    assert bridge.os_owns_aer is False


def test_aer_ports_and_gpu_memory_are_facts() -> None:
    facts = read("lkml/dmesg-6.18rc1-bug220775.log").facts
    assert facts.aer_enabled_ports == ("0000:00:01.1", "0000:00:01.2", "0000:00:02.1", "0000:00:02.2")
    (memory,) = facts.amdgpu_memory
    assert (memory.bdf, memory.vram_mib, memory.vram_used_mib, memory.gtt_mib) == ("0000:03:00.0", 16304, 16304, 31937)
    assert not facts.from_boot
    assert facts.host_bridges == ()


def test_suppressed_messages_are_counted_apart() -> None:
    quiet, port = read("issues/aer-new-ratelimit-threadid-7.0.log").events
    assert (quiet.suppressed, quiet.multiple) == (0, False)
    assert (port.suppressed, port.multiple, port.count) == (8156, True, 1)
    assert port.requester == "0000:01:00.0"


def test_bandwidth_is_given_in_numbers() -> None:
    (event,) = read("issues/bwlimited-rx6800-b450.log").events
    assert (event.speed_gts, event.width, event.limited_at) == (8.0, 16, "0000:00:03.1")
    assert (event.capable_speed_gts, event.capable_width) == (16.0, 16)


def test_a_bar_says_what_it_asked_for_and_what_it_was_given() -> None:
    first, _ = read("issues/bar-nospace-riser-switch-old.log").events
    assert (first.bar, first.size_bytes, first.assigned_bytes) == (0, 0x4_0000_0000, None)
    _, bar1, bar3, _ = read("lkml/bar-resize-blocked-2024.txt").events
    assert (bar1.bar, bar1.size_bytes, bar1.assigned_bytes) == (1, 512 << 20, 128 << 20)
    assert bar1.severity == "warn"
    assert (bar3.bar, bar3.size_bytes, bar3.assigned_bytes, bar3.severity) == (3, 32 << 20, 32 << 20, "info")


def test_damaged_packets_make_a_missing_acknowledgement_a_signal_matter() -> None:
    """Timeout beside BadTLP on one link is the link; Timeout alone may be its power management."""
    beside = read("issues/aer-new-badtlp-timeout-nvidia.log").events[0]
    alone = read("issues/aer-new-dual-amdgpu-x99.log").events[0]
    assert (beside.labels, beside.cause) == (("Timeout",), "signal")
    assert (alone.labels, alone.cause) == (("Timeout",), "power")
