"""How grave `nomodeset` is, which the cards decide: amdgpu, i915 and xe do not start with it, NVIDIA's own driver does.

Source: drivers/gpu/drm/amd/amdgpu/amdgpu_drv.c (amdgpu_init: drm_firmware_drivers_only).
"""

from __future__ import annotations

from collections.abc import Sequence

from boxcheck.decode.klog.events import Severity
from boxcheck.model import Bdf
from boxcheck.probes.gpus import DISPLAY_CLASSES, SERVER_GRAPHICS
from boxcheck.profile import load_gpus
from boxcheck.triage.machine import Machine
from boxcheck.triage.reading import SourceReading
from boxcheck.triage.scene import Sighting

AMD, NVIDIA, INTEL = 0x1002, 0x10DE, 0x8086


def nomodeset_severity(sighting: Sighting, readings: Sequence[SourceReading], machine: Machine) -> Severity:
    """Of an event of that kind: it fails where it keeps the GPUs that are meant to work from starting. The processor's
    own beside NVIDIA's cards is none of them. Where the evidence names no graphics at all, it may."""
    log = next((reading.log for reading in readings if reading.index == sighting.source), None)
    if log is None or sighting.event.boot < log.boots - 1:
        return "info"  # a later boot of the same log is how the machine is now
    if log.facts.amdgpu_memory or any(event.kind.startswith("amdgpu-") and event.boot == sighting.event.boot
                                      for event in log.events):
        return "info"  # amdgpu runs: amdgpu.modeset=1 in /etc/modprobe.d outdoes the word
    held = held_back(machine)
    nvidia = log.facts.nvidia_module is not None or any(machine.vendor(gpu) == NVIDIA for gpu in machine.gpus())
    if nvidia and not any(_is_card(machine, gpu) for gpu in held):
        return "warn" if held else "info"
    return "fail" if held else "info" if _shows_graphics(machine) else "warn"


def held_back(machine: Machine) -> tuple[Bdf, ...]:
    """The GPUs whose driver does not start with the word, as far as the evidence names no driver that holds them."""
    return tuple(gpu for gpu in machine.gpus() if not _has_driver(machine, gpu) and not _is_console(machine, gpu) and (
        machine.vendor(gpu) == AMD or (machine.vendor(gpu) == INTEL and not gpu.endswith(":00:02.0"))))


def _has_driver(machine: Machine, gpu: Bdf) -> bool:
    """Whether a driver holds it, or a tool of its driver lists it."""
    known = machine.devices.get(gpu)
    return machine.driver(gpu) is not None or (known is not None and (
        known.device.index is not None or known.device.vram_bytes is not None))


def _is_card(machine: Machine, gpu: Bdf) -> bool:
    known = machine.devices.get(gpu)
    may_be = load_gpus().of_id(known.pci_id) if known is not None and known.pci_id is not None else ()
    return bool(may_be) and all(part.vram_gib != 0 for part in may_be)


def _is_console(machine: Machine, gpu: Bdf) -> bool:
    """Graphics of a server's board."""
    known = machine.devices.get(gpu)
    return known is not None and (known.device.vendor, known.device.device) in SERVER_GRAPHICS


def _shows_graphics(machine: Machine) -> bool:
    """Whether the evidence names graphics of any maker."""
    return any(known.device.class_code is not None and known.device.class_code >> 8 in DISPLAY_CLASSES
               for known in machine.devices.values())
