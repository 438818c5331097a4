"""Judgements on variables that hide GPUs or switch off ways to copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from boxcheck.checks.wording import counted, not_read
from boxcheck.model import BOX, Finding, Quantity, Unread
from boxcheck.probes.environment import SYSTEM_FILE, Environment
from boxcheck.probes.gpus import Gpus
from boxcheck.profile import Profile
from boxcheck.registry import check, marginal, passed

EFFECTS: Mapping[str, str] = {
    "HSA_OVERRIDE_GFX_VERSION": "makes ROCm run code for another GPU",
    "HSA_ENABLE_SDMA": "says whether copies use the GPUs' copy engines (0: kernels copy instead)",
    "HSA_ENABLE_PEER_SDMA": "says whether copies between GPUs use their copy engines (0: kernels copy instead)",
    "HSA_XNACK": "changes how page faults are handled",
    "HIP_VISIBLE_DEVICES": "hides GPUs from HIP",
    "ROCR_VISIBLE_DEVICES": "hides GPUs from ROCm",
    "GPU_DEVICE_ORDINAL": "hides GPUs from OpenCL and HIP",
    "GPU_MAX_HW_QUEUES": "limits the hardware queues of a process",
    "AMD_SERIALIZE_KERNEL": "runs one kernel after the other",
    "CUDA_VISIBLE_DEVICES": "hides or reorders GPUs for CUDA",
    "NVIDIA_VISIBLE_DEVICES": "hides GPUs from containers",
    "CUDA_LAUNCH_BLOCKING": "makes every kernel launch wait",
    "NCCL_P2P_DISABLE": "makes NCCL copy through host memory",
    "NCCL_P2P_LEVEL": "limits between which GPUs NCCL copies directly",
    "NCCL_SHM_DISABLE": "makes NCCL copy over the network stack",
    "NCCL_IB_DISABLE": "switches InfiniBand off for NCCL",
    "RCCL_MSCCL_ENABLE": "changes RCCL's algorithms",
    "LD_PRELOAD": "puts another library before all others",
}
"""Variable -> what it does; each changes results or figures when somebody forgot it."""


def _recommended(want: Profile) -> dict[str, tuple[str, str]]:
    """Variable -> value and source that the profile recommends."""
    return {item.name: (str(item.value), item.source) for item in want.recommend if item.group == "env"}


@check("env.override", reads=[Environment, Gpus])
def override(environment: Environment, gpus: Gpus, want: Profile) -> Iterator[Finding]:
    """A variable is set that hides GPUs, or changes how runtimes work.

    Why it matters: HIP_VISIBLE_DEVICES left from an experiment hides GPUs, HSA_OVERRIDE_GFX_VERSION runs another card's
    code, NCCL_P2P_DISABLE costs half of the bandwidth; all of them look like broken hardware.
    What to do: unset it, and find who sets it: ~/.bashrc, ~/.profile, /etc/environment, /etc/profile.d, a service file.
    Not a fault: a value that the profile recommends; a 0 that switches nothing, a list of all GPUs in their order.
    By hand: env | grep -E 'HSA|HIP|ROCR|CUDA|NCCL'
    """
    recommended = _recommended(want)
    found = False
    for variables, place in ((environment.variables, "this process's environment"), (environment.system, SYSTEM_FILE)):
        if isinstance(variables, Unread):
            found = True
            yield not_read(BOX, variables, evidence=(place,))
            continue
        for name, value in sorted(variables.items()):
            if name not in EFFECTS or (place == SYSTEM_FILE and _same_as_ours(environment, name, value)):
                continue
            wish = recommended.get(name)
            if (wish[0] == value) if wish is not None else _changes_nothing(name, value, gpus):
                continue
            found = True
            yield _set(name, value, place, wish)
    if not found:
        note = ("sudo clears the login's own variables; boxcheck doctor env, without sudo, reads these",)
        yield passed(
            BOX, f"none of {counted(len(EFFECTS), 'variable')} is set other than the profile recommends",
            measured=Quantity(0, "variables"), evidence=(SYSTEM_FILE,), notes=note if environment.under_sudo else ())


SWITCHES = frozenset({
    "NCCL_P2P_DISABLE", "NCCL_SHM_DISABLE", "NCCL_IB_DISABLE", "CUDA_LAUNCH_BLOCKING", "AMD_SERIALIZE_KERNEL",
    "HSA_XNACK",
})
"""Variables whose 0 is what holds without them."""
LISTS = {"CUDA_VISIBLE_DEVICES": "10de", "HIP_VISIBLE_DEVICES": "1002", "ROCR_VISIBLE_DEVICES": "1002",
         "GPU_DEVICE_ORDINAL": "1002"}
"""Variables that list GPUs by number, with the vendor whose GPUs they number. Empty, they hide all of them, and so does
a -1 at the front."""
ON_BY_DEFAULT = frozenset({"HSA_ENABLE_SDMA", "RCCL_MSCCL_ENABLE"})


def _changes_nothing(name: str, value: str, gpus: Gpus) -> bool:
    """Whether the value says what holds without it: a switch that is off, or a list of all GPUs in their order."""
    value = value.strip()
    if name in SWITCHES:
        return value in ("", "0")
    if name in ON_BY_DEFAULT:
        return value in ("", "1")
    if name == "NVIDIA_VISIBLE_DEVICES":
        return value == "all"
    if name in LISTS:
        count = len(gpus.of_vendor(LISTS[name]))
        return gpus.unreadable is None and count > 0 and [one.strip() for one in value.split(",")] == [
            str(index) for index in range(count)]
    return value == ""


def _effect(name: str, value: str) -> str:
    if name in LISTS and value.strip() in ("", "-1"):
        return EFFECTS[name].replace("hides GPUs", "hides all GPUs").replace("hides or reorders", "hides all")
    return EFFECTS[name]


def _same_as_ours(environment: Environment, name: str, value: str) -> bool:
    """The variable came from the file into this environment, where it is judged already."""
    return not isinstance(environment.variables, Unread) and environment.variables.get(name) == value


def _set(name: str, value: str, place: str, wish: tuple[str, str] | None) -> Finding:
    demand = f"profile recommends {wish[0]}" if wish is not None else "should not be set"
    return marginal(
        BOX, f"{name}={value or '(empty)'} in {place}, {demand}; it {_effect(name, value)}", measured=Quantity(value),
        evidence=(place,), cause=f"env:{name}",
        title=f"{name} is set to {value}" if value else f"{name} is set to nothing",
        help=((f"export {name}={wish[0]}",) if wish is not None else (f"unset {name}",))
        + ("find who sets it: ~/.bashrc, ~/.profile, /etc/environment, /etc/profile.d, a service file",))
