"""What a message of DCGM means: the kind of event, how grave it is, and what to do.

The same fact has the same kind and weight as in nvidia-smi's text. A message that is about a setting is no fault of the
machine, whatever DCGM's result.

Sources: NVIDIA/DCGM, dcgmlib/dcgm_errors.h and src/dcgm_errors.c (v4.6.0): codes, texts, categories.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from boxcheck.decode.dcgm import Status
from boxcheck.decode.klog.events import Cause, Severity
from boxcheck.decode.klog.xids import UNKNOWN, XIDS
from boxcheck.triage.tools.steps import (
    CHECK_POWER,
    NARROW_HELP,
    NVIDIA_LOG,
    POWER_CYCLE,
    RESEAT,
    RESET_NVIDIA,
)

Weight = Literal["grave", "as told", "warns", "setting", "waives", "worth knowing"]
"""`grave` fails whatever the result says; `as told` goes with the result; `warns` at most warns; `setting` is no fault
of the machine; `waives` warns where a test failed by it, since what failed did run; `worth knowing` is none at all."""

_SEVERITIES: dict[Weight, dict[Status, Severity]] = {
    "grave": {"fail": "fail", "warn": "fail", "pass": "fail", "skip": "fail", "not run": "fail"},
    "as told": {"fail": "fail", "warn": "warn", "pass": "warn", "skip": "warn", "not run": "warn"},
    "warns": {"fail": "warn", "warn": "warn", "pass": "warn", "skip": "info", "not run": "info"},
    "setting": {"fail": "warn", "warn": "info", "pass": "info", "skip": "info", "not run": "info"},
    "waives": {"fail": "warn", "warn": "info", "pass": "info", "skip": "info", "not run": "info"},
    "worth knowing": {"fail": "info", "warn": "info", "pass": "info", "skip": "info", "not run": "info"},
}


class Meaning(NamedTuple):
    kind: str
    weight: Weight
    cause: Cause | None
    says: str
    help: tuple[str, ...]
    codes: tuple[int, ...] = ()
    """DCGM_FR_*."""
    words: tuple[str, ...] = ()
    """One of these is in the text, blanks and capitals left out: the table breaks messages within words."""


_AGAIN = "dcgmi diag -r <test> -v -j  names the reason and the GPU; /var/log/nvidia-dcgm/nvvs.log has more"
_VOID = "results of that time are void; reboot, test its memory, have it replaced when more come"
_REMAP = "nvidia-smi -q -d ROW_REMAPPER,ECC  shows what is left; no spare row: have the card replaced"
_COMPUTES = "run it on this GPU alone, then with the card in another slot; what stays is the card's memory or core"
_HEAT = "look at fans, airflow and dust, and at the GPU beside it; nvidia-smi -q -d PERFORMANCE,TEMPERATURE under load"
_LIMIT = "nvidia-smi -q -d POWER,PERFORMANCE  while the test runs: a power limit, heat, or a cable that gives less"
_SLOW = "nvidia-smi -q -d PERFORMANCE,CLOCK  while the test runs tells what holds the clocks down"
_LINK = "sudo lspci -vvv, whole, while the test runs: speed and lanes of the port above the GPU"
_FABRIC = "systemctl status nvidia-fabricmanager; its version must be the driver's"
_NVLINK = "nvidia-smi nvlink -s and -e  show which link; reseat the bridge or module"

MEANINGS: tuple[Meaning, ...] = (
    Meaning("gpu-lost", "grave", "signal", "the GPU no longer answers", (POWER_CYCLE, CHECK_POWER, NVIDIA_LOG),
            (120,), ("fallenoffthebus", "gpuislost", "gpulost")),
    Meaning("gpu-reset-needed", "grave", None, "the GPU waits for a reset or a reboot", (RESET_NVIDIA, NVIDIA_LOG),
            (125, 126, 127, 128), ("requiresreset", "requiresareset", "requiresreboot", "needstobereset")),
    Meaning("wrong-results", "grave", None, "values that it computed or stored are wrong", (_COMPUTES,),
            (52, 58, 79, 111), ("faultymemoryelements", "memorymismatch", "miscompare", "nan-valuememory")),
    Meaning("validation-failed", "grave", None, "a copy between GPUs arrived wrong",
            ("the IOMMU, ACS or a patched driver before the hardware: sudo boxcheck doctor iommu acs",),
            (86, 87, 113, 114, 115, 116), ("peer-to-peertest",)),
    Meaning("ecc-errors", "grave", "memory", "its memory had uncorrectable errors, or cannot be repaired",
            (_VOID, _REMAP), (4, 57, 80, 83, 103, 106, 118, 132),
            ("double-biteccerror", "volatiledouble-bit", "rowremappingfailed", "togetherwithadbe", "dbe_volatile",
             "sramthresholdcountexceeded", "exceededuncorrectablerowremaplimit")),
    Meaning("ecc-errors", "grave", "memory", "bad memory waits to be taken out of use", (RESET_NVIDIA, _REMAP), (6, 85),
            ("pendingretiredpage", "rowremappingsarepending", "pendingpageretirement")),
    Meaning("ecc-errors", "warns", "memory", "rows or pages of its memory were taken out of use",
            (_REMAP,), (7, 8, 84), ("rowswereremapped", "retiredpages")),
    Meaning("ecc-errors", "warns", "memory", "its memory corrects errors more often than DCGM allows", (_REMAP,),
            (5, 102, 105), ("single-biteccerror", "sbe_volatile")),
    Meaning("link-replays", "as told", "signal", "packets had to be sent again over PCIe, more often than DCGM allows",
            (RESEAT, "sudo boxcheck doctor pcie aer  reads the error counters of both ends"), (3, 98, 104, 107),
            ("pciereplay", "pcie_replay", "replaysperminute", "correctableerrorsfrom")),
    Meaning("link-width", "warns", None, "the link is x{}, DCGM wants x{}", NARROW_HELP, (46,), ("pcilinkwidth",)),
    Meaning("link-speed", "warns", None, "the link ran at Gen{} in the test, DCGM wants Gen{}", (_LINK,), (45,),
            ("pcilinkgeneration",)),
    Meaning("copy-slow", "warns", None, "copies to or from the host miss the limit", (_LINK,), (30, 31),
            ("minimumrequiredbandwidth", "maximumallowedlatency")),
    Meaning("slow", "warns", None, "it computes or reads its memory slower than DCGM asks for", (_SLOW,),
            (50, 62, 110), ("desiredstresslevel", "memorybandwidthof", "gflops", "belowthethreshold")),
    Meaning("throttled", "warns", None, "heat held its clocks down during the test", (_HEAT,), (10, 40, 41, 42),
            ("thermalviolation", "maximumallowedtemperature")),
    Meaning("throttled", "warns", "power", "its clocks were held down during the test", (_LIMIT,), (12, 43),
            ("clocksevent", "clocksarebeingthrottled", "clockthrottl", "powerviolation")),
    Meaning("test-failed", "warns", "power", "it did not draw the power that the test aims for", (_LIMIT,), (63, 72),
            ("reachdesiredpower", "enforcedpowerlimit")),
    Meaning("nvlink-down", "as told", "signal", "NVLinks are down", (_NVLINK, NVIDIA_LOG), (14, 99, 100),
            ("iscurrentlydown", "nvlinksareup")),
    Meaning("nvlink-errors", "as told", "signal", "NVLinks counted errors", (_NVLINK,), (13, 70, 71, 119, 121),
            ("nvlinkerrors", "crcerror", "symbolber", "effectiveber")),
    Meaning("xid", "as told", None, "", (), (81, 101, 131), ("detectedxid", "(xid")),
    Meaning("inforom-corrupt", "warns", "firmware", "the GPU's own record (infoROM) is damaged",
            ("it computes all the same; its counts of memory errors and its serial may be wrong",), (9,),
            ("corruptinforom",)),
    Meaning("cuda-not-ready", "as told", "driver", "CUDA waits for the NVLink switches", (_FABRIC,), (108, 112),
            ("systemnotyetinitialized", "fabricmanager")),
    Meaning("cuda-failed", "as told", "driver", "CUDA could not be used",
            ("nvidia-smi, then a program of CUDA: driver and library must be of one version", NVIDIA_LOG),
            (51, 54, 59, 66), ("cudaapi", "cudacontext", "cudadevice", "cudalibrary")),
    Meaning("test-failed", "worth knowing", "config", "persistence mode is off", ("sudo nvidia-smi -pm 1",), (29,),
            ("persistencemode",)),
    Meaning("tool-error", "warns", "config", "too little of its memory was free for the test",
            ("nvidia-smi  shows who holds it; stop that and run the test again",), (56, 73),
            ("couldn'tallocate", "cannotallocate")),
    Meaning("tool-waived", "waives", None, "the test does not run here: {text}", (), (48, 55, 60, 78, 117),
            ("testisskipped", "wasskipped", "eccisnotenabled", "skippingtest", "isunsupported")),
    Meaning("test-failed", "setting", "config", "{text}", (_AGAIN,),
            (18, 20, 23, 25, 28, 68, 74, 82, 89, 90, 91, 96, 122, 123, 124),
            ("denylist", "graphicscontexts", "environmentvariable", "couldnotbeaccessed", "devicesin/dev",
             "cannotopenlibrary", "permission")),
    Meaning("tool-error", "warns", None, "the test was stopped, so it says nothing", (_AGAIN,), (47,),
            ("abortedearly",)),
)
PLAIN = Meaning("test-failed", "as told", None, "{text}", (_AGAIN, NVIDIA_LOG))
"""What is in no list."""
_NUMBERS = re.compile(r"(\d{1,3}) ?X?, ?which ?is ?below.{0,60}?of ?(\d{1,3})", re.IGNORECASE)
_XID = re.compile(r"XID\s?(\d{1,3})", re.IGNORECASE)


class Judged(NamedTuple):
    """A message, weighed."""

    kind: str
    severity: Severity
    cause: Cause | None
    says: str
    help: tuple[str, ...]
    labels: tuple[str, ...] = ()
    width: int | None = None
    capable_width: int | None = None


def judge(text: str, code: int | None, status: Status) -> Judged:
    """What a message of a test with this result says."""
    meaning = _meaning(text, code)
    severity = _SEVERITIES[meaning.weight][status]
    if meaning.kind == "xid":
        return _xid(text, severity)
    says, width, wanted = meaning.says, None, None
    if "{}" in says:
        numbers = _NUMBERS.search(text)
        if numbers is None:
            says = says.partition(",")[0].replace("is x{}", "has fewer lanes than DCGM wants").replace(
                "ran at Gen{} in the test", "was slower in the test than DCGM wants")
        else:
            says = says.format(numbers[1], numbers[2])
            width, wanted = int(numbers[1]), int(numbers[2])
    is_width = meaning.kind == "link-width"
    return Judged(meaning.kind, severity, meaning.cause, says.replace("{text}", text[:240]), meaning.help,
                  width=width if is_width else None, capable_width=wanted if is_width else None)


def _meaning(text: str, code: int | None) -> Meaning:
    if code is not None:
        known = next((one for one in MEANINGS if code in one.codes), None)
        if known is not None:
            return known
    squeezed = "".join(text.lower().split())
    return next((one for one in MEANINGS if any(word in squeezed for word in one.words)), PLAIN)


def _xid(text: str, severity: Severity) -> Judged:
    found = _XID.search(text)
    if found is None:
        return Judged("test-failed", severity, None, text[:240], (NVIDIA_LOG,))
    known = XIDS.get(int(found[1]), UNKNOWN)
    return Judged("xid", known.severity, known.cause, f"Xid {int(found[1])}: {known.says}", (known.help, NVIDIA_LOG),
                  (str(int(found[1])),))
