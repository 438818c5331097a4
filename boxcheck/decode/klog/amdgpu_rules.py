"""The messages of amdgpu and KFD that are one event each. What takes several lines is in `amdgpu`.

Sources: drivers/gpu/drm/amd/amdgpu (amdgpu_job.c, mes_v1{1,2}_0.c, amdgpu_ib.c, gmc_v*.c, amdgpu_ras{,_eeprom}.c,
amdgpu_psp.c, amdgpu_ttm.c, amdgpu_device.c), drivers/gpu/drm/amd/pm (swsmu/smu_cmn.c, powerplay), drivers/gpu/drm/amd/
amdkfd (kfd_device.c, kfd_device_queue_manager.c, kfd_int_process_v9.c).
"""

from __future__ import annotations

from .family import Rule
from .steps import BEFORE, CABLES, COLD, GPU_OFF, LOAD, PROGRAM, UPDATE
from .words import Rx

HANG = (UPDATE, PROGRAM, LOAD)
FIRMWARE = (UPDATE, COLD)
START = (COLD, UPDATE)
_ATOMICS = (
    "move the card to a slot of the CPU; every port between it and the CPU must route atomic operations",
)
_COOL = ("check the GPU's fans, its heat sink and the air in front of it",)
_REPLACE = ("reset the GPU and run a VRAM test; replace the card when they return",)
_TTM = ("set ttm.pages_limit (in 4 KiB pages) and drop amdgpu.gttsize",)
_GONE = (GPU_OFF, CABLES, BEFORE)

RULES = (
    Rule(" timeout, but soft recovered", "amdgpu-ring-timeout", "warn", "driver",
         "work on ring {label} hung and was cleared without a reset", HANG,
         Rx(r"ring (?P<label>[\w.]{2,40}) timeout, but (?P<label2>soft recovered)")),
    Rule(" timeout", "amdgpu-ring-timeout", "fail", "driver", "work on ring {label} hung", HANG,
         Rx(r"ring (?P<label>[\w.]{2,40}) timeout(?:,|$)")),
    Rule("MES", "amdgpu-mes-fail", "fail", "firmware", "the GPU's scheduler firmware (MES) did not answer", FIRMWARE,
         Rx(r"MES(?:\(\d{1,2}(?:, ?\d{1,2})?\))? failed to resp\w+(?: to)?"
            r"(?: msg=(?P<label>[\w() ,-]{1,40}?))?(?:\.|$)")),
    Rule("MES ring buffer is full", "amdgpu-mes-fail", "fail", "firmware",
         "the GPU's scheduler firmware (MES) takes no more work", FIRMWARE, label="ring buffer full"),
    Rule("SMU: I'm not done", "amdgpu-smu-fail", "fail", "firmware",
         "the GPU's power firmware (SMU) did not finish a command", FIRMWARE),
    Rule("SMU: No response", "amdgpu-smu-fail", "fail", "firmware",
         "the GPU's power firmware (SMU) did not answer", FIRMWARE),
    Rule("send message 0x", "amdgpu-smu-fail", "fail", "firmware",
         "the GPU's power firmware (SMU) refused or lost a command", FIRMWARE,
         Rx(r"[Ff]ailed to send message 0x[0-9a-f]{1,4},? response 0x")),
    Rule("failed send message", "amdgpu-smu-fail", "fail", "firmware",
         "the GPU's power firmware (SMU) refused or lost a command", FIRMWARE,
         Rx(r"failed send message: *(?P<label>\w{2,60})")),
    Rule("SMU may be not in the right state", "amdgpu-smu-fail", "fail", "firmware",
         "the GPU's power firmware (SMU) is not in a state to take commands", FIRMWARE, label="wrong state"),
    Rule("Failed to export SMU metrics table", "amdgpu-smu-fail", "warn", "firmware",
         "the GPU's power firmware (SMU) gave no sensor readings", FIRMWARE, label="no metrics"),
    Rule("SMU: response:0xFFFFFFFF", "gpu-lost", "fail", "signal",
         "the GPU answers only ones: it is off the bus", _GONE),
    Rule("is hung!", "amdgpu-ip-hung", "fail", "driver", "the GPU's {label} block is hung", HANG,
         Rx(r"IP block:(?P<label>[\w.]{2,40}) is hung!")),
    Rule("IB test failed on", "ib-test-fail", "fail", "firmware", "ring {label} did not run its test commands", START,
         Rx(r"IB test failed on (?P<label>[\w.]{2,40})")),
    Rule("ib ring test failed", "ib-test-fail", "fail", "firmware", "a ring did not run its test commands", START),
    Rule("IB test timed out", "ib-test-fail", "fail", "firmware", "test commands on {label} did not finish", START,
         Rx(r"\[drm:(?P<label>\w{2,40}?)_ring_test_ib\b.{0,80}IB test timed out")),
    Rule("IB test timed out", "ib-test-fail", "fail", "firmware", "a ring's test commands did not finish", START),
    Rule(" test failed (", "ring-test-fail", "fail", "firmware", "ring {label} did not answer its test", START,
         Rx(r"ring (?P<label>[\w.]{1,40}) test failed \((?:-|scratch)")),
    Rule(" of IP block <", "amdgpu-resume-fail", "fail", "firmware", "the GPU's {label} block did not come back",
         START,
         Rx(r"(?:resume|suspend) of IP block <(?P<label>\w{2,40})> failed")),
    Rule("page fault", "amdgpu-page-fault", "warn", "driver", "a program touched GPU memory that is not mapped",
         (PROGRAM, UPDATE),
         Rx(r"\[(?P<label>gfxhub|mmhub|vmhub)[\w.]{0,6}\].{0,24}page fault"
            r"(?:.{0,80}process (?P<process>[\w./:-]{1,64} pid [1-9]\d{0,8}))?")),
    Rule("VM fault (", "amdgpu-page-fault", "warn", "driver", "a program touched GPU memory that is not mapped",
         (PROGRAM, UPDATE),
         Rx(r"VM fault \(0x[0-9a-f]{1,4}, vmid \d{1,3}(?:, pasid \d{1,6})?\)"
            r"(?: for process (?P<process>[\w./:-]{1,64} pid [1-9]\d{0,8}))?"), label="vm"),
    Rule("fence wait loop timeout expired", "amdgpu-queue-hang", "fail", "driver",
         "the GPU did not let go of a program's queue", HANG),
    Rule("ueue ", "amdgpu-queue-hang", "fail", "driver", "the GPU did not let go of a program's queue in time", HANG,
         Rx(r"(?:cp queue|Queue)(?: pipe \d{1,3} queue \d{1,3})? preemption (?:time out|failed)"), label="preemption"),
    Rule("fallback timer expired on ring", "amdgpu-irq-late", "info", "driver",
         "an interrupt for ring {label} came late or not at all", (),
         Rx(r"expired on ring (?P<label>[\w.]{2,40})")),
    Rule("lost from bus", "gpu-lost", "fail", "signal", "the GPU is off the bus", _GONE),
    Rule("PCIE atomic ops is not supported", "atomics-unsupported", "warn", "config",
         "atomic operations do not reach the GPU from its slot", _ATOMICS),
    Rule("PCI rejects atomics", "atomics-unsupported", "fail", "config",
         "ROCm leaves the GPU {label} out, atomic operations do not reach it from its slot", _ATOMICS,
         Rx(r"skipped device (?P<label>[0-9a-f]{4}:[0-9a-f]{4}), PCI rejects atomics")),
    Rule("NOT added due to errors", "kfd-device-fail", "fail", "driver",
         "ROCm could not take the GPU {label} in", START,
         Rx(r"device (?P<label>[0-9a-f]{1,4}:[0-9a-f]{1,4}) NOT added")),
    Rule("not supported in kfd", "kfd-unsupported", "info", "config",
         "ROCm's kernel part does not know this GPU ({label}): graphics work, computing does not", (),
         Rx(r"kfd: (?:amdgpu: )?(?P<label>\w{2,32}) +not supported in kfd")),
    Rule("System is going to shutdown due to GPU", "thermal", "fail", "power",
         "the driver shuts the machine down, the GPU passed its critical temperature", _COOL, label="gpu"),
    Rule("over temperature range", "thermal", "fail", "power", "the GPU passed its shutdown temperature",
         _COOL, label="gpu"),
    Rule("Critical Temperature Fault", "thermal", "fail", "power", "the GPU passed its critical temperature",
         _COOL, label="gpu"),
    Rule("PSP ", "psp-fail", "fail", "firmware", "the GPU's security processor (PSP) failed: {label}", START,
         Rx(r"\bPSP (?P<label>(?:firmware loading|create ring|load \w{2,12}|tmr|load tmr) ?(?:init )?failed)")),
    Rule("psp gfx command", "psp-command-fail", "warn", "firmware",
         "the GPU's security processor (PSP) refused firmware ({label})", FIRMWARE,
         Rx(r"psp gfx command (?P<label>LOAD_IP_FW|SETUP_TMR|LOAD_TOC|AUTOLOAD_RLC)\(0x[0-9A-Fa-f]{1,4}\) failed")),
    Rule("psp gfx command", "psp-command-fail", "info", "firmware",
         "the GPU's security processor (PSP) refused a command ({label}), of an optional part most often", (),
         Rx(r"psp gfx command (?P<label>\w{2,32})\(0x[0-9A-Fa-f]{1,4}\) failed")),
    Rule("query securedisplay TA failed", "harmless", "benign", "benign",
         "an optional part for protected video is missing, and nothing here needs it", label="securedisplay"),
    Rule("ERREVENT_ATHUB_INTERRUPT", "amdgpu-ras-ue", "fail", "memory",
         "the GPU found an error that it could not correct, and is reset", _REPLACE, label="athub"),
    Rule("RAS poison consumption", "amdgpu-ras-poison", "fail", "memory",
         "a program used GPU memory that holds damaged data", _REPLACE),
    Rule("Poison is created", "amdgpu-ras-poison", "warn", "memory",
         "damaged data was found in GPU memory and marked, and nobody has used it yet", _REPLACE, label="created"),
    Rule("RAS records:", "amdgpu-ras-bad-pages", "fail", "memory",
         "the GPU has more bad pages than it may have", ("replace the card",),
         Rx(r"RAS records:\d{1,9} exceed threshold")),
    Rule("PCI error: detected callback", "amdgpu-pci-error", "warn", "signal",
         "the kernel told the driver of a PCIe error of the GPU", _GONE[1:],
         Rx(r"(?:amdgpu: |amdgpu [0-9a-f:.]{7,16}: |\[drm\] )PCI error: detected callback")),
    Rule("via module parameter is deprecated", "deprecated-param", "info", "config",
         "amdgpu.gttsize is on its way out", _TTM, Rx(r"Configuring (?P<label>gttsize) via module parameter")),
    Rule("but TTM size has been set as", "gtt-size", "warn", "config",
         "amdgpu.gttsize and ttm.pages_limit disagree, and the smaller one holds", _TTM,
         Rx(r"GTT size has been set as \d{1,20} but TTM size has been set as \d{1,20}")),
    Rule("verdrive is enabled", "taint", "info", None,
         "overclocking of the GPU is switched on (overdrive), which by itself changes nothing", (), label="overdrive"),
    Rule("firmware load for", "firmware-load-fail", "warn", "firmware",
         "the firmware file {label} was not found or not readable",
         ("install or update linux-firmware, then rebuild the initramfs",),
         Rx(r"Direct firmware load for (?P<label>amdgpu/[\w./-]{1,80}) failed")),
    Rule("firmware load for", "firmware-load-fail", "info", "firmware",
         "the firmware file {label} was not found; often an optional or newer one",
         (), Rx(r"Direct firmware load for (?P<label>[\w./-]{1,80}) failed")),
)
