"""What a refusal of nvidia-smi means, and what to do."""

from __future__ import annotations

from boxcheck.decode.klog.events import Cause, Event, Severity
from boxcheck.decode.nvidia_smi_messages import Message
from boxcheck.triage.tools.steps import CHECK_POWER, NVIDIA_LOG, NVIDIA_ON_BUS, POWER_CYCLE

_GONE = (POWER_CYCLE, CHECK_POWER, NVIDIA_LOG)

_MEANINGS: dict[str, tuple[str, Severity, Cause | None, str, tuple[str, ...]]] = {
    "no-driver": ("driver-missing", "fail", "driver", "NVIDIA's kernel module is not loaded",
                  ("sudo modprobe nvidia; sudo dmesg | grep -i nvidia  says why it does not load",
                   "after a kernel update: dkms status, then install the driver again", "with Secure Boot: mokutil "
                   "--sb-state")),
    "mismatch": ("driver-mismatch", "fail", "driver",
                 "NVIDIA's kernel module and its library are of different versions",
                 ("reboot, so that the module of the installed driver is loaded", "then hold the driver's packages")),
    "nvml-failed": ("nvml-failed", "fail", None, "NVML could not start: {detail}",
                    (NVIDIA_LOG,
                     "in a container only: restart it (a reload of systemd on the host takes its devices away)")),
    "permissions": ("nvml-failed", "warn", "config", "NVML may not open the devices",
                    ("ls -l /dev/nvidia*; run it as root to compare",)),
    "no-gpu": ("gpu-missing", "fail", None, "the driver runs and has no GPU",
               (NVIDIA_ON_BUS, NVIDIA_LOG)),
    "lost": ("gpu-lost", "fail", "signal", "nvidia-smi can no longer talk to the GPU", _GONE),
    "inforom": ("inforom-corrupt", "warn", "firmware", "the GPU's own record (infoROM) is damaged",
                ("it computes all the same; its counts of memory errors and its serial may be wrong",
                 "a vendor's matter: ask for a replacement where ECC history matters")),
}


def event(said: Message, line: int, text: str) -> Event | None:
    """The event, None for a line that only adds to another."""
    meaning = _MEANINGS.get(said.kind)
    if meaning is None:
        return None
    kind, severity, cause, says, help_ = meaning
    detail = said.detail or "no reason given"
    if said.kind == "lost" and said.detail is not None:
        says = f"{says}: {said.detail}"
    return Event(kind=kind, bdf=said.bdf, severity=severity, cause=cause, says=says.format(detail=detail)
                 if "{detail}" in says else says, help=help_, line=line, text=text)
