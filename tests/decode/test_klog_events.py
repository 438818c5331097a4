"""Each kind of event, from logs of our own in the drivers' wordings."""

from __future__ import annotations

import pytest

from boxcheck.decode.klog import parse_log
from boxcheck.decode.klog.xids import XIDS
from tests.decode.klog_lines import GPU, PORT, aer, events, seen

# message -> kind, device, labels, severity, cause
SINGLE: dict[str, tuple[str, str | None, tuple[str, ...], str, str | None]] = {
    # NVIDIA
    "NVRM: Xid (PCI:0000:41:00): 79, pid=0, GPU has fallen off the bus.": ("xid", GPU, ("79",), "fail", "signal"),
    "NVRM: Xid (PCI:00000000:41:00): 48, pid=1, name=python": ("xid", GPU, ("48",), "fail", "memory"),
    "NVRM: Xid (0000:41:00): 14, Channel 00000001": ("xid", GPU, ("14",), "warn", None),
    "NVRM: Xid (PCI:0000:41:00): 31, pid=7, name=a b, MMU Fault": ("xid", GPU, ("31",), "info", "driver"),
    "NVRM: GPU at PCI:0000:41:00.0 has fallen off the bus.": ("gpu-lost", GPU, (), "fail", "signal"),
    "NVRM: GPU 0000:41:00.0: RmInitAdapter failed! (0x22:0x56:894)": (
        "nvidia-init-fail", GPU, ("0x22:0x56:894",), "fail", "firmware"),
    "nvidia: probe of 0000:41:00.0 failed with error -1": ("nvidia-init-fail", GPU, ("-1",), "fail", "driver"),
    "nvidia 0000:41:00.0: probe with driver nvidia failed with error -1": (
        "nvidia-init-fail", GPU, ("-1",), "fail", "driver"),
    "NVRM: BAR1 is 0M @ 0x0 (PCI:0000:41:00.0)": ("bar-assign-fail", GPU, ("BAR 1",), "fail", "config"),
    "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 32 LTSSM Fault Up": (
        "sxid", "0000:c1:00.0", ("20034",), "fail", "signal"),
    "VRM: Xid (PCI:0000:41:00): 79, pid=0, GPU has fallen off the bus.": ("xid", GPU, ("79",), "fail", "signal"),
    "NVRM: krcWatchdog_IMPL: RC watchdog: GPU is probably locked!  Notify Timeout Seconds: 7": (
        "gpu-hang", None, ("watchdog",), "fail", "driver"),
    "NVRM: None of the NVIDIA devices were initialized.": (
        "nvidia-init-fail", None, ("none started",), "fail", None),
    "xe 0000:41:00.0: [drm] *ERROR* CRITICAL: Xe has declared device 0000:41:00.0 as wedged.": (
        "gpu-hang", GPU, ("wedged",), "fail", "driver"),
    # amdgpu
    "amdgpu: cp queue preemption time out.": ("amdgpu-queue-hang", None, ("preemption",), "fail", "driver"),
    "amdgpu 0000:41:00.0: amdgpu: cp queue pipe 1 queue 2 preemption failed": (
        "amdgpu-queue-hang", GPU, ("preemption",), "fail", "driver"),
    "amdgpu 0000:41:00.0: amdgpu: HIQ MQD's queue_doorbell_id0 is not 0, Queue preemption time out": (
        "amdgpu-queue-hang", GPU, ("preemption",), "fail", "driver"),
    "amdgpu 0000:41:00.0: amdgpu: ring sdma0 timeout, signaled seq=1, emitted seq=2": (
        "amdgpu-ring-timeout", GPU, ("sdma0",), "fail", "driver"),
    "amdgpu 0000:41:00.0: amdgpu: ring gfx_0.0.0 timeout, but soft recovered": (
        "amdgpu-ring-timeout", GPU, ("gfx_0.0.0", "soft recovered"), "warn", "driver"),
    "amdgpu 0000:41:00.0: amdgpu: MES(1) failed to respond to msg=MISC (WAIT_REG_MEM)": (
        "amdgpu-mes-fail", GPU, ("MISC (WAIT_REG_MEM)",), "fail", "firmware"),
    "amdgpu 0000:41:00.0: amdgpu: MES ring buffer is full.": (
        "amdgpu-mes-fail", GPU, ("ring buffer full",), "fail", "firmware"),
    "amdgpu 0000:41:00.0: amdgpu: SMU: I'm not done with your previous command: SMN_C2PMSG_66:0x12": (
        "amdgpu-smu-fail", GPU, (), "fail", "firmware"),
    "amdgpu 0000:41:00.0: amdgpu: device lost from bus!": ("gpu-lost", GPU, (), "fail", "signal"),
    "amdgpu 0000:41:00.0: amdgpu: 2 uncorrectable hardware errors detected in umc block": (
        "amdgpu-ras-ue", GPU, ("umc",), "fail", "memory"),
    "amdgpu 0000:41:00.0: amdgpu: socket: 4, die: 0 1 correctable hardware errors detected in total in gfx block": (
        "amdgpu-ras-ce", GPU, ("gfx",), "warn", "memory"),
    "[drm:psp_hw_start [amdgpu]] *ERROR* PSP create ring failed!": (
        "psp-fail", None, ("create ring failed",), "fail", "firmware"),
    "amdgpu 0000:41:00.0: amdgpu: PSP firmware loading failed": (
        "psp-fail", GPU, ("firmware loading failed",), "fail", "firmware"),
    "amdgpu 0000:41:00.0: Direct firmware load for amdgpu/gc_11_0_0_mes1.bin failed with error -2": (
        "firmware-load-fail", GPU, ("amdgpu/gc_11_0_0_mes1.bin",), "warn", "firmware"),
    "iwlwifi 0000:09:00.0: Direct firmware load for iwlwifi-so-89.ucode failed with error -2": (
        "firmware-load-fail", "0000:09:00.0", ("iwlwifi-so-89.ucode",), "info", "firmware"),
    "amdgpu 0000:41:00.0: amdgpu: ERROR: GPU over temperature range(SW CTF) detected!": (
        "thermal", GPU, ("gpu",), "fail", "power"),
    "kfd kfd: amdgpu: skipped device 1002:744c, PCI rejects atomics 730<0": (
        "atomics-unsupported", None, ("1002:744c",), "fail", "config"),
    # Links
    "pcieport 0000:40:01.1: broken device, retraining non-functional downstream link at 2.5GT/s": (
        "link-retrain", PORT, (), "fail", "signal"),
    "pcieport 0000:40:01.1: removing 2.5GT/s downstream link speed restriction": (
        "link-retrain", PORT, ("released",), "info", "signal"),
    "pcieport 0000:40:01.1: DPC: containment event, status:0x200d, ERR_FATAL received from 0000:41:00.0": (
        "dpc", PORT, ("ERR_FATAL",), "fail", "signal"),
    "pcieport 0000:40:01.1: DPC: containment event, status:0x1f01: unmasked uncorrectable error detected": (
        "dpc", PORT, ("unmasked uncorrectable error",), "fail", "signal"),
    "pcieport 0000:40:01.1: DPC: containment event, status:0x1f07 source:0x0000": (
        "dpc", PORT, ("RP PIO error",), "fail", "signal"),
    "pcieport 0000:40:01.1: DPC: containment event, status:0x1f47 source:0x0000": (
        "dpc", PORT, ("a reserved reason",), "fail", "signal"),
    "pcieport 0000:40:01.1: pciehp: Slot(3): Link Down": ("link-down", PORT, ("slot 3",), "warn", "signal"),
    "pcieport 0000:40:01.1: pciehp: Slot(3): Card not present": ("link-down", PORT, ("slot 3",), "warn", "signal"),
    "pciehp 0000:40:01.1:pcie004: slot(6): Link Down event": ("link-down", PORT, ("slot 6",), "warn", "signal"),
    "amdgpu 0000:41:00.0: Refused to change power state, currently in D3": (
        "device-inaccessible", GPU, (), "fail", "power"),
    "snd_hda_intel 0000:41:00.1: Refused to change power state from D0 to D3hot": (
        "power-state-refused", "0000:41:00.1", (), "info", "driver"),
    "nvme 0000:01:00.0: not ready 65535ms after FLR; giving up": (
        "device-not-ready", "0000:01:00.0", (), "fail", "power"),
    # BARs
    "pci 0000:41:00.0: BAR 6: no space for [mem size 0x00080000 pref]": (
        "bar-assign-fail", GPU, ("ROM",), "info", "config"),
    "pci 0000:41:00.0: VF BAR 0 [mem size 0x00200000 64bit pref]: can't assign; no space": (
        "bar-assign-fail", GPU, ("VF BAR 0",), "info", "config"),
    "pci 0000:40:01.1: BAR 15: no space for [mem size 0x800000000 64bit pref]": (
        "bar-assign-fail", PORT, ("window mem pref",), "warn", "config"),
    "pcieport 0000:40:01.1: bridge window [io  size 0x1000]: can't assign; no space": (
        "bar-assign-fail", PORT, ("window io",), "benign", "benign"),
    "amdgpu 0000:41:00.0: amdgpu: Problem resizing BAR0 (-16).": ("bar-resize-fail", GPU, (), "warn", "config"),
    "[drm] Not enough PCI address space for a large BAR.": ("bar-resize-fail", None, (), "warn", "config"),
    # IOMMU
    "AMD-Vi: Event logged [IO_PAGE_FAULT device=41:00.0 domain=0x0007 address=0xffffc02000 flags=0x0000]": (
        "iommu-fault", GPU, ("IO_PAGE_FAULT",), "fail", "config"),
    "AMD-Vi: Event logged [ILLEGAL_DEV_TABLE_ENTRY device=0000:41:00.0 pasid=0x00000 address=0x1 flags=0x2]": (
        "iommu-fault", GPU, ("ILLEGAL_DEV_TABLE_ENTRY",), "fail", "config"),
    "AMD-Vi: Completion-Wait loop timed out": ("iommu-fault", None, ("Completion-Wait",), "fail", "firmware"),
    "DMAR: [DMA Write NO_PASID] Request device [41:00.0] fault addr 0x0 [fault reason 0x05] PTE Write": (
        "iommu-fault", GPU, ("DMA Write",), "fail", "config"),
    "DMAR: [DMA Read] Request device [0x41:0x00.0] fault addr 0xf0afc000": (
        "iommu-fault", None, ("DMA Read",), "fail", "config"),
    "arm-smmu-v3 arm-smmu-v3.1.auto: event: F_TRANSLATION client: 0000:41:00.0 sid: 0x4100 ssid: 0x0 iova: 0x1000": (
        "iommu-fault", GPU, ("F_TRANSLATION",), "fail", "config"),
    "arm-smmu-v3 arm-smmu-v3.1.auto: event 0x10 received:": ("iommu-fault", None, ("0x10",), "fail", "config"),
    "arm-smmu 5000000.iommu: Unhandled context fault: fsr=0x402, iova=0x1000, fsynr=0x1, cb=2": (
        "iommu-fault", None, ("context fault",), "fail", "config"),
    # Memory and machine
    "EDAC MC0: 3 CE memory read error on CPU_SrcID#0_MC#0_Chan#1_DIMM#0 (channel:1 slot:0 page:0x1)": (
        "edac-ce", None, ("MC0", "CPU_SrcID#0_MC#0_Chan#1_DIMM#0"), "warn", "memory"),
    "EDAC MC1: 1 UE unknown on unknown memory ( page:0x116c60 offset:0x0 grain:1 - APEI location: )": (
        "edac-ue", None, ("MC1", "unknown memory"), "fail", "memory"),
    "mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 5: bea0000000000108": (
        "mce", None, ("bank 5", "UE"), "fail", None),
    "[Hardware Error]: CPU:2 (19:1:1) MC21_STATUS[Over|Deferred|-|AddrV|-|-|UECC|-]: 0xdc00100000000000": (
        "mce", None, ("MC21", "deferred"), "warn", None),
    "Memory failure: 0x7740c0: recovery action for dirty page: Recovered": (
        "memory-failure", None, (), "fail", "memory"),
    "mce: CPU3: Core temperature above threshold, cpu clock throttled (total events = 1)": (
        "thermal", None, ("Core",), "warn", "power"),
    "watchdog: BUG: soft lockup - CPU#12 stuck for 22s! [kworker/12:1:345]": (
        "lockup", None, ("soft lockup",), "warn", "driver"),
    "NMI watchdog: Watchdog detected hard LOCKUP on cpu 3": ("lockup", None, ("hard lockup",), "warn", "driver"),
    "INFO: task nvidia-smi:4242 blocked for more than 120 seconds.": ("lockup", None, ("hung task",), "warn", "driver"),
    "rcu: INFO: rcu_preempt self-detected stall on CPU": ("lockup", None, ("RCU stall",), "warn", "driver"),
    "Memory cgroup out of memory: Killed process 42 (python) total-vm:1kB": ("oom", None, (), "info", "config"),
    "Kernel panic - not syncing: Fatal machine check": ("kernel-panic", None, ("Fatal machine check",), "fail", None),
    "Oops: general protection fault, probably for non-canonical address 0x1: 0000 [#1] SMP": (
        "oops", None, ("protection fault",), "fail", "driver"),
    "WARNING: drivers/pci/pci.c:2248 at pci_disable_device+0xf6, CPU#0: irq/124": (
        "kernel-warning", None, ("drivers/pci/pci.c:2248",), "info", "driver"),
    "nvme nvme0: I/O tag 489 (d1e9) opcode 0x1 (I/O Cmd) QID 3 timeout, aborting req_op:WRITE(1)": (
        "nvme-timeout", None, ("nvme0",), "warn", "driver"),
    "nvme nvme0: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0xffff": (
        "nvme-reset", None, ("nvme0",), "fail", "power"),
    # Drives and file systems
    "I/O error, dev sda, sector 2048 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2": (
        "disk-io-error", None, ("sda",), "warn", None),
    "critical medium error, dev sdb, sector 77120 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2": (
        "disk-io-error", None, ("sdb", "medium"), "fail", "memory"),
    "ata3.00: exception Emask 0x10 SAct 0x80 SErr 0x4050000 action 0xe frozen": (
        "disk-io-error", None, ("ata3",), "warn", None),
    "BTRFS error (device sda2): bdev /dev/sda2 errs: wr 3, rd 0, flush 0, corrupt 0, gen 0": (
        "disk-io-error", None, ("sda",), "warn", None),
    "BTRFS warning (device nvme0n1p2): csum failed root 5 ino 257 off 4096 csum 0x1a expected csum 0x2b mirror 1": (
        "filesystem-error", None, ("nvme0n1p2",), "fail", "memory"),
    "BTRFS: error (device nvme0n1p2 state EA) in btrfs_sync_log:3153: errno=-5 IO failure": (
        "filesystem-error", None, ("nvme0n1p2",), "fail", "memory"),
    "Aborting journal on device dm-0-8.": ("filesystem-error", None, ("dm-0",), "fail", "memory"),
    "JBD2: Detected IO errors while flushing file data on nvme0n1p2-8": (
        "filesystem-error", None, ("nvme0n1p2",), "fail", "memory"),
    "XFS (md0): log I/O error -5": ("filesystem-error", None, ("md0",), "fail", "memory"),
    'XFS (md0): metadata I/O error in "xfs_buf_ioend_handle_error+0x1/0x2 [xfs]" at daddr 0x78 len 8 error 5': (
        "filesystem-error", None, ("md0",), "fail", "memory"),
    "WARNING: Pool 'tank' has encountered an uncorrectable I/O failure and has been suspended.": (
        "filesystem-error", None, ("tank",), "fail", "memory"),
    # Parameters
    "amdgpu: unknown parameter 'gtt_size' ignored": ("unknown-param", None, ("amdgpu", "gtt_size"), "warn", "config"),
    'Unknown kernel command line parameters "splash BOOT_IMAGE=/vmlinuz iomu=pt", will be passed to user space.': (
        "unknown-param", None, ("iomu=pt",), "info", "config"),
}


@pytest.mark.parametrize("message", SINGLE)
def test_a_message_is_its_event(message: str) -> None:
    kind, bdf, labels, severity, cause = SINGLE[message]
    (event,) = events(message)
    assert (event.kind, event.bdf, event.labels, event.severity, event.cause) == (kind, bdf, labels, severity, cause)
    assert event.says == event.says.strip()
    assert event.says
    assert not event.says.endswith(".")
    assert "{" not in event.says
    assert event.text
    assert event.help or severity in ("info", "benign")


HARMLESS = (
    "pcieport 0000:40:01.1: AER: enabled with IRQ 45",
    "pcieport 0000:40:01.1: DPC: enabled with IRQ 45",
    "pcieport 0000:40:01.1: DPC: error containment capabilities: Int Msg #0, RPExt+ PoisonedTLP+ SwTrigger+",
    "pcieport 0000:40:01.1: pciehp: Slot #8 AttnBtn- PwrCtrl- MRL- HotPlug+ Surprise+ LLActRep+",
    "pcieport 0000:40:01.1: pciehp: Slot(3): Link Up",
    "pcieport 0000:40:01.1: pciehp: Slot(3): Card present",
    "pci 0000:41:00.0: BAR 0 [mem 0xde800000-0xde803fff]",
    "pci 0000:41:00.0: BAR 0 [mem 0xde800000-0xde803fff]: assigned",
    "pci 0000:41:00.0: BAR 0: assigned [mem 0xde800000-0xde803fff]",
    "pci 0000:41:00.0: BAR 0 [mem 0xde800000-0xde803fff 64bit]: can't claim; no compatible bridge window",
    "pci 0000:41:00.1: D0 power state depends on 0000:41:00.0",
    "xhci_hcd 0000:03:00.0: not ready 1023ms after resume; waiting",
    "amdgpu 0000:41:00.0: amdgpu: MES FW version must be >= 0x82 to enable LR compute workaround.",
    "amdgpu 0000:41:00.0: amdgpu: 0 correctable hardware errors detected in umc block",
    # All ones of a sleeping register, as reading RAS counters with the GPU in runtime suspend gives.
    "amdgpu 0000:0b:00.0: 2097120 uncorrectable hardware errors detected in umc block",
    "amdgpu 0000:41:00.0: amdgpu: RAS: optional ras ta ucode is not available",
    "amdgpu 0000:41:00.0: amdgpu: SMU is initialized successfully!",
    "amdgpu 0000:41:00.0: amdgpu: MODE1 reset",
    "amdgpu 0000:41:00.0: [drm] PCIE GART of 512M enabled (table at 0x0000008000300000).",
    "NVRM: GPU 0000:41:00.0: Open nvidia.ko is only ready for use on Data Center GPUs.",
    "NVRM: Persistence mode is deprecated and will be removed in a future release.",
    "nvidia-nvlink: Nvlink Core is being initialized, major device number 237",
    "userif-5: sent link down event.",
    "ata5: SATA link down (SStatus 4 SControl 300)",
    "e1000e 0000:00:1f.6 eno1: NIC Link is Down",
    "arm-smmu-v3 arm-smmu-v3.1.auto: ias 48-bit, oas 48-bit (features 0x001e1fbf)",
    "I/O error, dev sr0, sector 0 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2",
    "BTRFS info (device sda2): bdev /dev/sda2 errs: wr 3, rd 0, flush 0, corrupt 0, gen 0",
    "BTRFS: error (device sda2 state A) in btrfs_finish_one_ordered:3155: errno=-28 No space left",
    "XFS (md0): Unmounting Filesystem 4a1f",
    "nvme nvme0: I/O 978 QID 3 timeout, completion polled",
    "EDAC MC: Ver: 3.0.0",
    "EDAC ie31200: No ECC support",
    "DMAR: DRHD: handling fault status reg 2",
    "kauditd_printk_skb: 29 callbacks suppressed",
    "python[4242] general protection fault ip:7f0 sp:7f1 error:0 in libc.so.6",
    "OOM killer enabled.",
    "OOM killer disabled.",
    "MDS CPU bug present and SMT on, data leak possible.",
    "thermal_sys: Registered thermal governor 'step_wise'",
    "watchdog: watchdog0: watchdog did not stop!",
    'Unknown kernel command line parameters "splash BOOT_IMAGE=/vmlinuz", will be passed to user space.',
    "HDMI: ELD buf size is 0, force 128",
    # One notch from an event each.
    "NVRM: GPU 0000:41:00.0: GPU serial number is 1320022011477.",
    "NVRM: GPU at PCI:0000:41:00: GPU-11d6f0aa-5c1e-9a02-7d44-0f3b2a998c10",
    "NVRM: Xid subsystem ready",
    "nvidia-nvswitch0: using MSI for SXid events",
    "amdgpu 0000:41:00.0: amdgpu: RAS records:240 exceeds 90% of threshold:256",
    "amdgpu 0000:41:00.0: amdgpu: psp gfx command LOAD_TA(0x1) done",
    "mpt3sas_cm0: PCI error: detected callback, state(2)!!",
    "kfd kfd: amdgpu: added device 1002:744c",
    "amdgpu 0000:41:00.0: amdgpu: ring gfx_0.0.0 uses VM inv eng 0 on hub 0",
    "amdgpu 0000:41:00.0: amdgpu: GPU reset(0) requested by ioctl is no message of this driver",
    "pcieport 0000:40:01.1: pciehp: Slot(3): Powering on due to button press",
    "igb 0000:0d:00.0 enp13s0: igb: enp13s0 NIC Link is Up 1000 Mbps Full Duplex",
    "mce: CPU3: Package temperature/speed normal",
    "thermal thermal_zone0: trip point critical at 105 C",
    "INFO: rcu_preempt kthread ran for more than 10 jiffies",
    "CPU: 3 PID: 911 Comm: python3 Not tainted 6.8.0-45-generic #45-Ubuntu",
    "EDAC MC0: Giving out device to module amd64_edac controller F17h_M30h: DEV 0000:00:18.3 (INTERRUPT)",
    "nvme nvme0: Shutdown timeout set to 10 seconds",
    "DMAR: [Firmware Bug]: RMRR entry for device 41:00.0 is broken - applying workaround",
    "AMD-Vi: Interrupt remapping enabled",
    "PCI: Using configuration type 1 for base access",
    "sysrq: Show Memory",
    "pci 0000:41:00.0: BAR 0: error-free",
    "tg3 0000:04:00.0: reserved [mem 0xd0000000-0xd000ffff]",
    "usb 1-4: i2c timeout error on a camera",
)


@pytest.mark.parametrize("message", HARMLESS)
def test_harmless_messages_are_no_event(message: str) -> None:
    assert events(message) == ()


def test_a_device_below_a_port_shares_its_cause_but_its_sibling_does_not() -> None:
    sibling = "0000:42:00.0"
    found = events(*aer("Correctable", 0x40, device=GPU), *aer("Correctable", 0x1000),
                   *aer("Correctable", 0x1000, device=sibling))
    assert [(event.bdf, event.labels, event.cause) for event in found] == [
        (GPU, ("BadTLP",), "signal"), (PORT, ("Timeout",), "signal"), (sibling, ("Timeout",), "power"),
    ]


def test_repetitions_fold_and_keep_their_ends() -> None:
    (event,) = events(*aer("Correctable", 0x40), *aer("Correctable", 0x40), *aer("Correctable", 0x40))
    assert (event.count, event.first, event.last, event.line) == (3, 101.0, 107.0, 2)


def test_suppressed_messages_belong_to_their_kind() -> None:
    found = events("amdgpu 0000:41:00.0: [gfxhub0] no-retry page fault (src_id:0 ring:24 vmid:3 pasid:32770, "
                   "for process python3 pid 4711 thread python3 pid 4711)",
                   "gmc_v11_0_process_interrupt: 12 callbacks suppressed",
                   "aer_ratelimit: 7 callbacks suppressed", *aer("Correctable", 0x40))
    assert [(event.kind, event.suppressed, event.process) for event in found] == [
        ("amdgpu-page-fault", 12, "python3 pid 4711"), ("aer-correctable", 7, None),
    ]


def test_a_suppression_with_nothing_after_it_goes_to_the_last() -> None:
    (event,) = events(*aer("Correctable", 0x40), "aer_ratelimit: 8156 callbacks suppressed")
    assert event.suppressed == 8156


def test_a_reset_is_one_event_with_its_method_and_end() -> None:
    assert seen(
        "amdgpu 0000:41:00.0: amdgpu: GPU reset begin!. Source:  1", "amdgpu 0000:41:00.0: amdgpu: MODE1 reset",
        "amdgpu 0000:41:00.0: amdgpu: GPU mode1 reset",
        "amdgpu 0000:41:00.0: amdgpu: GPU reset succeeded, trying to resume",
        "amdgpu 0000:41:00.0: amdgpu: VRAM is lost due to GPU reset!",
        "amdgpu 0000:41:00.0: amdgpu: GPU reset(2) succeeded!",
        "amdgpu 0000:c1:00.0: amdgpu: GPU reset begin!", "amdgpu 0000:c1:00.0: amdgpu: GPU reset end with ret = -62",
    ) == [
        ("amdgpu-reset", GPU, ("MODE1", "succeeded", "VRAM lost"), 1, "fail", "driver"),
        ("amdgpu-reset", "0000:c1:00.0", ("failed",), 1, "fail", "driver"),
    ]


def test_a_failed_start_is_one_event_and_names_its_block() -> None:
    assert seen(
        "[drm:amdgpu_device_fw_loading [amdgpu]] *ERROR* hw_init of IP block <psp> failed -22",
        "amdgpu 0000:41:00.0: amdgpu: amdgpu_device_ip_init failed",
        "amdgpu 0000:41:00.0: amdgpu: Fatal error during GPU init",
        "amdgpu: probe of 0000:41:00.0 failed with error -22",
    ) == [("amdgpu-init-fail", GPU, ("psp",), 1, "fail", "firmware")]
    assert seen("amdgpu 0000:41:00.0: probe with driver amdgpu failed with error -22") == [
        ("amdgpu-init-fail", GPU, (), 1, "fail", "firmware"),
    ]


def test_totals_of_memory_errors_are_not_added_up() -> None:
    lines = [f"amdgpu {GPU}: amdgpu: {count} correctable hardware errors detected in total in umc block"
             for count in (1, 3, 3)]
    assert [event.count for event in events(*lines)] == [3]
    lines = [f"amdgpu {GPU}: amdgpu: {count} new correctable hardware errors detected in umc block" for count in (1, 3)]
    assert [event.count for event in events(*lines)] == [4]


def test_versions_that_do_not_match() -> None:
    want = ("driver-mismatch", "535.247.01", "535.230.02")
    for lines in (
        ["NVRM: API mismatch: the client has the version 535.247.01, but",
         "NVRM: this kernel module has the version 535.230.02.  Please",
         "NVRM: make sure that this kernel module and all NVIDIA driver"],
        ["NVRM: API mismatch: the client 'nvidia-smi' (pid 4242)",
         "NVRM: has the version 535.247.01, but this kernel module has the version 535.230.02.  Please"],
        ["NVRM: API mismatch: the client 'nvidia-smi' has the version 535.247.01, but this kernel module has the "
         "version 535.230.02."],
    ):
        (event,) = events(*lines)
        assert (event.kind, event.client_version, event.module_version) == want
        assert event.labels == want[1:]
    (event,) = events("NVRM: API mismatch: the client has the version 535.247.01, but")
    assert (event.client_version, event.module_version) == ("535.247.01", None)


def test_a_mismatch_that_never_ends_hides_no_other_message() -> None:
    kinds = [event.kind for event in events(
        "NVRM: API mismatch: the client has the version 535.247.01, but",
        "NVRM: GPU 0000:41:00.0: RmInitAdapter failed! (0x22:0x56:894)",
        "NVRM: GPU 0000:41:00.0: GPU has fallen off the bus.")]
    assert kinds == ["driver-mismatch", "nvidia-init-fail", "gpu-lost"]


def test_a_message_of_several_lines_names_its_gpu_on_the_first() -> None:
    assert seen("NVRM: The NVIDIA GPU 0000:41:00.0", "NVRM: (PCI ID: 10de:2684) installed in this system has",
                "NVRM: fallen off the bus and is not responding to commands.") == [
        ("gpu-lost", GPU, (), 1, "fail", "signal")]
    assert seen("NVRM: The NVIDIA GPU 0000:41:00.0 (PCI ID: 10de:1b06)",
                "NVRM: installed in this system is not supported by open", "NVRM: nvidia.ko because ...") == [
        ("nvidia-init-fail", GPU, ("not supported",), 1, "fail", "driver")]


def test_the_process_of_an_xid() -> None:
    (event,) = events("NVRM: Xid (PCI:0000:41:00): 109, pid=1797828, name=pt_main_thread, Ch 00000008")
    assert event.process == "pt_main_thread 1797828"
    (event,) = events("NVRM: Xid (PCI:0000:41:00): 13, pid='<unknown>', name=<unknown>, Graphics")
    assert event.process is None


def test_an_xid_says_whose_fault_it_most_likely_is() -> None:
    want = {13: "application", 31: "application", 43: "application", 45: "application", 38: "driver", 48: "memory",
            54: "power", 62: "gpu", 74: "nvlink", 79: "link", 94: "memory", 119: "gpu", 154: None}
    for number, blame in want.items():
        (event,) = events(f"NVRM: Xid (PCI:0000:41:00): {number}, pid=1, name=x, text")
        assert (event.xid, event.blame) == (number, blame)
    (event,) = events("NVRM: Xid (PCI:0000:41:00): 177, pid=1, name=x, text")
    assert (event.severity, event.blame) == ("warn", None)


def test_every_documented_number_is_in_the_catalogue() -> None:
    """NVIDIA's catalogue ends at 172, the open modules' header (595) at 176."""
    assert set(XIDS) == set(range(1, 177))


def test_an_xid_154_says_what_the_driver_recommends() -> None:
    (event,) = events("NVRM: Xid (PCI:0000:41:00): 154, GPU recovery action changed from 0x0 (None) to 0x2 "
                      "(Node Reboot Required)")
    assert event.says == "Xid 154: the driver now recommends for this GPU: Node Reboot Required"


@pytest.mark.parametrize("text", [
    "[ 8123.456791l NVRM: Xid (PCI:OOOO:41:OO): 79, pid='<unknown>', GPU has fa1len off the bus.",
    "NVRM: Xid (PCl:0000:4l:00): 79, GPU has fallen off the bus.",
])
def test_an_xid_whose_address_was_misread_is_an_xid(text: str) -> None:
    """Off a picture: the number stands, the board is not guessed."""
    event, = parse_log(text + "\n").events
    assert (event.kind, event.severity, event.labels, event.bdf) == ("xid", "fail", ("79",), None)


@pytest.mark.parametrize(("form", "bdf"), [
    ("PCI:0000:41:00", GPU), ("PCI:00000000:41:00", GPU), ("PCI:0000:41:00 GPU-I:05", GPU), ("0000:41:00", GPU),
    ("0041:00", GPU), ("PCI:0001:41:00.0", "0001:41:00.0"),
])
def test_an_xid_names_its_board_in_every_form(form: str, bdf: str) -> None:
    assert [(e.bdf, e.xid) for e in events(f"NVRM: Xid ({form}): 79, GPU has fallen off the bus.")] == [(bdf, 79)]


HANG = "[drm:mes_v11_0_submit_pkt_and_poll_completion.constprop.0 [amdgpu]] *ERROR* MES failed to response msg=3"


def test_a_line_without_a_device_is_near_the_one_that_the_driver_names_around_it() -> None:
    before, after = events(HANG, "amdgpu 0000:41:00.0: amdgpu: GPU reset begin!")
    assert (before.bdf, before.near, after.bdf, after.near) == (None, GPU, GPU, None)
    _, late = events("amdgpu 0000:41:00.0: amdgpu: GPU reset begin!", HANG)
    assert late.near == GPU


def test_a_line_between_two_devices_is_near_none() -> None:
    found = events("amdgpu 0000:41:00.0: amdgpu: GPU reset begin!", HANG, "amdgpu 0000:c1:00.0: amdgpu: GPU reset begin!")
    assert [event.near for event in found if event.bdf is None] == [None]
    found = events(HANG, *["usb 1-1: an ordinary line"] * 20, "amdgpu 0000:41:00.0: amdgpu: GPU reset begin!")
    assert [event.near for event in found if event.bdf is None] == [None]
    (alone,) = events(HANG, "nvidia 0000:41:00.0: timeout of another driver")
    assert alone.near is None


def test_the_process_of_a_ring_timeout_and_of_a_page_fault_stands_below() -> None:
    ring = "amdgpu 0000:41:00.0: ring gfx_0.0.0 timeout, signaled seq=1, emitted seq=2"
    for line in ("amdgpu 0000:41:00.0:  Process python3 pid 2288 thread python3 pid 2316",
                 "[drm:amdgpu_job_timedout [amdgpu]] *ERROR* Process information: process python3 pid 2288 thread x pid 3"):
        (event,) = events(ring, line)
        assert event.process == "python3 2288"
    (event,) = events(ring, *["usb 1-1: an ordinary line"] * 4, "amdgpu 0000:41:00.0:  Process python3 pid 2288 thread x")
    assert event.process is None


def test_a_port_that_found_no_link_is_no_fail_but_a_link_held_low_is() -> None:
    held = f"pcieport {PORT}: broken device, retraining non-functional downstream link at 2.5GT/s"
    failed = f"pcieport {PORT}: retraining failed"
    (event,) = events(held)
    assert (event.severity, event.speed_gts) == ("fail", 2.5)
    (event,) = events(held, failed)
    assert (event.severity, event.speed_gts, event.count) == ("warn", None, 1)
    (event,) = events(held, failed, held)
    assert (event.severity, event.speed_gts, event.count) == ("fail", 2.5, 2)


def test_a_crash_on_purpose_is_none_and_the_next_one_is() -> None:
    panic = "Kernel panic - not syncing: sysrq triggered crash"
    (event,) = events("sysrq: Trigger a crash", panic)
    assert (event.severity, event.cause) == ("info", "benign")
    (event,) = events("sysrq: Show Memory", panic)
    assert event.severity == "fail"


def test_firmware_that_keeps_aer_is_told_once_a_bridge() -> None:
    lacks = "acpi PNP0A08:0{}: _OSC: platform does not support [SHPCHotplug AER LTR]"
    owns = "acpi PNP0A08:0{}: _OSC: OS now controls [PCIeHotplug PME PCIeCapability]"
    (event,) = events(lacks.format(0), owns.format(0), lacks.format(1), owns.format(1))
    assert (event.kind, event.severity, event.count) == ("aer-not-owned", "info", 2)
    assert events("acpi PNP0A08:00: _OSC: platform does not support [SHPCHotplug LTR]",
                  "acpi PNP0A08:00: _OSC: OS now controls [PCIeHotplug PME AER PCIeCapability]") == ()


def test_taint_names_its_marks_in_both_spellings() -> None:
    for line in ("CPU: 51 PID: 796 Comm: kworker/51:1H Tainted: P           OE     5.13.0",
                 "Tainted: [P]=PROPRIETARY_MODULE, [O]=OOT_MODULE, [E]=UNSIGNED_MODULE"):
        (event,) = events(line)
        assert (event.kind, event.labels, event.severity, event.cause) == ("taint", ("POE",), "info", None)
    assert events("CPU: 3 PID: 9 Comm: x Tainted: G                 6.8.0") == ()


def test_records_of_the_boot_before_say_so() -> None:
    lines = ("[Hardware Error]: event severity: fatal", "[Hardware Error]:  Error 0, type: fatal",
             "[Hardware Error]:   section_type: PCIe error", "[Hardware Error]:   device_id: 0000:41:00.0",
             "[Hardware Error]:   aer_uncor_status: 0x00000020, aer_uncor_mask: 0x00000000")
    (event,) = events("BERT: Error records from previous boot:", *lines)
    assert (event.kind, event.bdf, event.says) == (
        "ghes-pcie", GPU, "firmware reported a fatal PCIe error before this boot (SDES)")
    (event,) = events(*(f"{{1}}{line}" for line in lines))
    assert event.says == "firmware reported a fatal PCIe error (SDES)"


def test_the_numbers_that_fail_a_machine() -> None:
    """The fail list that fleet health checks share, and what faulty programs cause."""
    assert {n for n in (48, 62, 63, 64, 74, 79, 92, 94, 95, 119, 120) if XIDS[n].severity != "fail"} == set()
    assert {n for n in (13, 31, 43, 45) if XIDS[n].severity != "info"} == set()
    for number, entry in XIDS.items():
        assert entry.says[0].islower() or entry.says.split()[0].isupper(), number
        assert entry.help


def test_a_machine_check_and_its_decoding_are_one() -> None:
    (event,) = events(
        "mce: [Hardware Error]: Machine check events logged", "[Hardware Error]: Corrected error, no action required.",
        "[Hardware Error]: CPU:0 (17:71:0) MC17_STATUS[-|CE|MiscV|AddrV|-|SyndV|CECC|-|-|Scrub]: 0x9c2041000000011b",
        "[Hardware Error]: Error Addr: 0x000000006d3d483b",
        "[Hardware Error]: Unified Memory Controller Ext. Error Code: 0, DRAM ECC error.",
    )
    assert (event.labels, event.count, event.cause, event.severity) == (("MC17", "CE"), 1, "memory", "warn")
    assert "DRAM ECC error" in event.says


def test_a_drive_is_known_by_its_function() -> None:
    (event,) = events("nvme nvme3: pci function 0000:04:00.0", "nvme nvme3: controller is down; will reset: CSTS=0x3")
    assert (event.bdf, event.labels) == ("0000:04:00.0", ("nvme3",))


def test_a_link_that_was_taken_down_by_its_button() -> None:
    (event,) = events(f"pcieport {PORT}: pciehp: Slot(12): Button press: will power off in 5 sec",
                      f"pcieport {PORT}: pciehp: Slot(12): Link Down")
    assert (event.kind, event.severity, event.cause) == ("link-down", "info", "benign")


def test_a_bar_that_fits_on_a_later_try() -> None:
    failed = f"pci {GPU}: BAR 0: no space for [mem size 0x800000000 64bit pref]"
    (event,) = events(failed, f"pci {GPU}: BAR 0: failed to assign [mem size 0x800000000 64bit pref]",
                      f"pci {GPU}: BAR 0: assigned [mem 0x28000000000-0x287ffffffff 64bit pref]")
    assert (event.severity, event.size_bytes, event.assigned_bytes) == ("info", 32 << 30, 32 << 30)
    (event,) = events(failed, f"pci {GPU}: BAR 0: assigned [mem 0x28000000000-0x2800fffffff 64bit pref]")
    assert (event.severity, event.assigned_bytes) == ("warn", 256 << 20)
    (event,) = events(failed, f"pci {GPU}: BAR 0: assigned [mem 0x28000000000-0x287ffffffff 64bit pref]", failed)
    assert (event.severity, event.assigned_bytes) == ("fail", None)


def test_a_bandwidth_note_without_a_known_speed() -> None:
    (event,) = events(f"pci {GPU}: 0.000 Gb/s available PCIe bandwidth, limited by Unknown x0 link at {PORT} "
                      "(capable of 504.112 Gb/s with 32.0 GT/s PCIe x16 link)")
    assert (event.speed_gts, event.width, event.capable_speed_gts, event.severity) == (None, 0, 32.0, "info")


def test_facts_of_a_boot() -> None:
    facts = parse_log("\n".join((
        "[    0.1] ACPI: PCI Root Bridge [S0D1] (domain 0000 [bus 40-5f])",
        "[    0.1] acpi PNP0A08:01: _OSC: OS supports [ExtendedConfig ASPM ClockPM Segments MSI EDR HPX-Type3]",
        "[    0.1] acpi PNP0A08:01: _OSC: platform does not support [SHPCHotplug LTR]",
        "[    0.1] acpi PNP0A08:01: _OSC: OS now controls [PCIeHotplug PME AER PCIeCapability]",
        "[    0.1] acpi PNP0A08:01: _OSC: OS now controls [CXLMemErrorReporting]",
        "[    0.1] ACPI: PCI Root Bridge [S0D2] (domain 0000 [bus 60-7f])",
        "[    0.1] acpi PNP0A08:02: _OSC: platform retains control of PCIe features (AE_NOT_FOUND)",
        "[    0.1] acpi PNP0A08:03: PCIe port services disabled; not requesting _OSC control",
        "[    0.1] acpi PNP0A08:04: _OSC: OS supports [MSI]",
        "[    0.1] iommu: Default domain type: Passthrough (set via kernel command line)",
        "[    0.1] aer 0000:00:03.1:pcie002: AER enabled with IRQ 26",
        "[    0.1] pcieport 0000:40:01.1: AER: enabled with IRQ 27",
        "[    0.2] amdgpu 0000:41:00.0: amdgpu: VRAM: 24560M 0x0000008000000000 - 0x00000085FEFFFFFF (24560M used)",
        "[    0.2] [drm] Detected VRAM RAM=24560M, BAR=32768M",
        "[    0.2] [drm] amdgpu: 24560M of VRAM memory ready",
        "[    0.2] [drm] amdgpu: 32104M of GTT memory ready.",
        "[    0.3] NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  595.71.05  Release Build  (root@box)",
        "[    0.3] NVRM: GPU at PCI:0000:61:00: GPU-02187fd8-22a1-3f71-cd52-22af54f42481",
        "[    0.3] NVRM: kbusEnableStaticBar1Mapping_GH100: Static bar1 mapped offset 0x0 size 0x5fa000000",
        "[    0.3] NVRM: kbusEnableStaticBar1Mapping_GH100: Static bar1 mapped offset 0x0 size 0x5fa000000",
        "[    0.4] amdgpu: unknown parameter 'gtt_size' ignored", "",
    ))).facts
    first, second, third, fourth = facts.host_bridges
    assert (first.buses, first.os_owns_aer, first.platform_lacks) == ("0000:40-5f", True, ("SHPCHotplug", "LTR"))
    assert first.os_controls == ("PCIeHotplug", "PME", "AER", "PCIeCapability", "CXLMemErrorReporting")
    assert (second.buses, second.retained, second.os_controls, second.os_owns_aer) == ("0000:60-7f", True, None, False)
    assert (third.os_owns_aer, fourth.os_owns_aer) == (False, None)
    assert facts.iommu_default_domain == "Passthrough"
    assert facts.aer_enabled_ports == ("0000:00:03.1", "0000:40:01.1")
    (memory,) = facts.amdgpu_memory
    assert (memory.bdf, memory.vram_mib, memory.vram_ready_mib, memory.gtt_mib, memory.bar_mib) == (
        GPU, 24560, 24560, 32104, 32768)
    assert facts.nvidia_module is not None
    assert (facts.nvidia_module.version, facts.nvidia_module.open_kernel_module) == ("595.71.05", True)
    assert facts.nvidia_uuids == (("0000:61:00.0", "GPU-02187fd8-22a1-3f71-cd52-22af54f42481"),)
    assert (facts.nvidia_static_bar1, facts.ignored_parameters) == (2, (("amdgpu", "gtt_size"),))
    assert (facts.from_boot, facts.kernel_release, facts.command_line) == (False, None, None)


def test_the_proprietary_module_is_told_apart() -> None:
    text = "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\n"
    facts = parse_log(text).facts
    assert facts.nvidia_module is not None
    assert (facts.nvidia_module.version, facts.nvidia_module.open_kernel_module) == ("535.129.03", False)


SINCE_73 = (
    "pcieport 0000:c0:01.0: AER: Correctable Error message received from 0000:c2:00.0",
    "pci 0000:c2:00.0: PCIe Bus Error: severity=Correctable",
    "pci 0000:c2:00.0:   device [10de:2684] error status/mask={status}/0000c000",
)
