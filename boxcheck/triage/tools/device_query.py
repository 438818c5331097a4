"""deviceQuery of NVIDIA's CUDA samples: the GPUs as CUDA sees them, and why it sees none."""

from __future__ import annotations

import re
from collections.abc import Iterator

from boxcheck.decode.klog.events import Cause, Event, Severity
from boxcheck.decode.klog.words import packed_bdf
from boxcheck.decode.text import clean_text
from boxcheck.triage.evidence import Device, Evidence, Section, at_line, fields_of
from boxcheck.triage.tools.listing import listing
from boxcheck.triage.tools.matrix_cards import CLASS, NVIDIA
from boxcheck.triage.tools.steps import NVIDIA_LOG, NVIDIA_ON_BUS, P2P_REASON

VARIANT = "deviceQuery"
MOST_GPUS = 256
_DEVICE = re.compile(r"Device (\d{1,3}): \"([^\"]{1,96})\"$")
_PLACE = re.compile(r"Device PCI Domain ID / Bus ID / location ID: *(\d{1,6}) / (\d{1,3}) / (\d{1,2})$")
_MEMORY = re.compile(r"Total amount of global memory: .{1,40}\((\d{1,16}) bytes\)$")
_CAPABILITY = re.compile(r"CUDA Capability Major/Minor version number: *(\d{1,2}\.\d)$")
_DRIVER = re.compile(r"CUDA Driver Version / Runtime Version *(\d{1,2}\.\d{1,2}) / (\d{1,2}\.\d{1,2})$")
_FAILED = re.compile(r"cudaGetDeviceCount returned (\d{1,5})$")
_PEER = re.compile(r"(?:> )?Peer access from .{1,96} \(GPU(\d{1,3})\) -> .{1,96} \(GPU(\d{1,3})\) : (Yes|No)$")
_ASIDE = ("deviceQuery", "CUDA Device Query", "Detected ", "-> ", "Result = ", "< Default", "< Exclusive",
          "< Prohibited", "CUDA Driver Version /", "CUDA Capability Major", "Total amount of ", "GPU Max Clock rate",
          "Memory Clock rate", "Memory Bus Width", "L2 Cache Size", "Maximum ", "Total shared memory",
          "Total number of",
          "Warp size", "Max dimension size", "Texture alignment", "Concurrent copy and", "Run time limit on",
          "Integrated GPU sharing", "Support host page", "Alignment requirement", "Device has ECC", "Device supports ",
          "Device PCI Domain", "Supports ", "Compute Mode:")
_MULTIPROCESSORS = re.compile(r"\( ?\d{1,4}\) Multiprocessors, \(")
_MEANINGS: dict[int, tuple[str, Severity, Cause | None, str, tuple[str, ...]]] = {
    35: ("driver-mismatch", "fail", "driver", "the driver is older than this CUDA program needs",
         ("install a newer driver, or a CUDA that the driver supports (nvidia-smi shows which)",)),
    100: ("gpu-missing", "fail", None, "CUDA finds no GPU",
          (NVIDIA_ON_BUS, NVIDIA_LOG, "CUDA_VISIBLE_DEVICES may hide them")),
    802: ("cuda-not-ready", "fail", "driver", "CUDA waits for the NVLink switches",
          ("systemctl status nvidia-fabricmanager: it must run, in the driver's own version",)),
    999: ("cuda-failed", "fail", None, "CUDA cannot start (unknown error)",
          (NVIDIA_LOG, "sudo modprobe nvidia_uvm; ls -l /dev/nvidia-uvm")),
}


def begins(line: str) -> str | None:
    """The variant, when this line begins an output of deviceQuery."""
    text = line[:200].strip()
    return VARIANT if text.endswith("deviceQuery Starting...") or text.startswith("CUDA Device Query (") or (
        _FAILED.match(text) is not None) else None


def belongs(variant: str, line: str) -> bool:
    """Whether the line is one of its rows."""
    text = line[:400].strip()
    if text.endswith("deviceQuery Starting..."):
        return False
    return text.startswith(_ASIDE) or any(
        pattern.match(text) is not None for pattern in (_DEVICE, _PEER, _FAILED, _MULTIPROCESSORS))


def read(section: Section) -> Evidence:
    """The GPUs, pairs that may not reach each other, and failures. Never raises."""
    devices: list[Device] = []
    values: dict[str, str] = {}
    open_: tuple[int, int, str] | None = None
    box: dict[str, str] = {}

    def close() -> None:
        if open_ is None or len(devices) >= MOST_GPUS:
            return
        bdf = None
        if "bus" in values:
            bdf = packed_bdf(int(values["bus"]) << 8 & 0xFF00 | int(values["device"]) << 3 & 0xF8,
                             f"{int(values['domain']):04x}")
        devices.append(Device(
            line=at_line(section, open_[0]), name=clean_text(open_[2]), vendor=NVIDIA, bdf=bdf, class_code=CLASS,
            driver="nvidia", vram_bytes=int(values["memory"]) if "memory" in values else None,
            more=fields_of((("cuda_index", open_[1]), ("compute_capability", values.get("capability"))))))

    for offset, line in enumerate(section.lines):
        text = line.strip()[:400]
        if (head := _DEVICE.match(text)) is not None:
            close()
            open_, values = (offset, int(head[1]), head[2]), {}
        elif (place := _PLACE.match(text)) is not None:
            values.update({"domain": place[1], "bus": place[2], "device": place[3]})
        elif (memory := _MEMORY.match(text)) is not None:
            values["memory"] = memory[1]
        elif (capability := _CAPABILITY.match(text)) is not None:
            values["capability"] = capability[1]
        elif (driver := _DRIVER.match(text)) is not None:
            box["cuda"] = driver[1]
    close()
    return Evidence(
        tool=VARIANT, devices=tuple(devices), events=tuple(_events(section)), box=box, readings=listing(devices),
        notes=("deviceQuery runs no computation: it shows that CUDA has the GPU, not that it works",)
        if devices else ())


def _events(section: Section) -> Iterator[Event]:
    refused: list[tuple[str, str]] = []
    at = 0
    for offset, line in enumerate(section.lines):
        text = line.strip()[:400]
        failed = _FAILED.match(text)
        if failed is not None:
            code = int(failed[1])
            kind, severity, cause, says, help_ = _MEANINGS.get(
                code, ("cuda-failed", "fail", None, f"CUDA cannot start (error {code})",
                       (NVIDIA_LOG,)))
            yield Event(kind=kind, severity=severity, cause=cause, labels=(str(code),), says=says, help=help_,
                        line=at_line(section, offset), text=clean_text(text))
        elif (peer := _PEER.match(text)) is not None and peer[3] == "No":
            refused.append((peer[1], peer[2]))
            at = at or offset
    if refused:
        yield Event(
            kind="p2p-unavailable", severity="info", cause="driver", labels=("CUDA",), count=len(refused),
            line=at_line(section, at), text=clean_text(section.lines[at].strip()),
            says=f"CUDA allows no direct access between {len(refused)} pairs of GPUs",
            help=("the stock driver allows none between GeForce cards of the 40 and 50 series",
                  P2P_REASON))
