"""Steps that several readers give: in one wording, so that no account shows a step twice in other words."""

from __future__ import annotations

NVIDIA_LOG = "sudo dmesg | grep -E 'NVRM|Xid|AER'  says why"
CUDA_LOG = "sudo dmesg | grep -iE 'NVRM|Xid|AER|io_page_fault'  says why"
LOG_AROUND = "read what happened around it: sudo dmesg | grep -E 'AER|DPC|NVRM|amdgpu'"
AMD_LOG = "sudo dmesg | grep -E 'amdgpu|kfd'  says why"
NVIDIA_ON_BUS = "lspci -nn -d 10de:  shows whether the bus has it"
AMD_ON_BUS = "lspci -nn -d 1002:  shows whether the bus has it"
LOAD_AMDGPU = "lsmod | grep amdgpu; sudo modprobe amdgpu; sudo dmesg | grep -E 'amdgpu|kfd'  says why it does not load"
AMDGPU_BUILT_IN = "with amdgpu built into the kernel these tools may say so too: ls /sys/module/amdgpu"
POWER_CYCLE = "power the machine off and on: a GPU that fell off the bus does not come back without"
CHECK_POWER = "check the card's power cables, its seat and its riser; two GPUs lost at once point to power"
RESEAT = "power off, reseat card and riser; not cured: move the card alone to another slot"
RESEAT_CONTACTS = "power off, reseat the card and both ends of its riser, look at the gold contacts"
RESET_NVIDIA = "stop what uses the GPU, then sudo nvidia-smi -r -i <index>; if that fails, or it says so, reboot"
LARGE_BAR = "BIOS setup: Above 4G Decoding on, Resizable BAR (Smart Access Memory) on, CSM off, then boot again"
P2P_REASON = "`nvidia-smi topo -p2p r` names the reason for each pair"
ROCM_GOAL = "boxcheck doctor --goal rocm  checks Resizable BAR, IOMMU and ACS"
PARTITIONED = "a partitioned card shows a part: amd-smi static --partition"
COMPARE_CARDS = "compare with the other cards, power off and on, then look again"
NVLINK_ERRORS = "nvidia-smi nvlink -e  shows their errors"
NARROW_HELP = (
    "sudo lspci -vvv, whole: LnkCap of the port above the card tells how many lanes its slot has",
    "it has no more: no fault, if that slot was meant; the BIOS may split it (bifurcation), and an M.2 drive may take"
    " half of its lanes. It has more: go on",
    RESEAT_CONTACTS,
)
"""For a link narrower than its card, where the other end was not read."""
MODULE_HELP = (
    "sudo lspci -vvv, whole: LnkCap and LnkSta of the port above the module",
    "power off and on; it stays: the module's seat, its baseboard or its retimer, which are its maker's to look at")
"""For a link narrower than a module on a baseboard."""
SLOW_BY_DESIGN = (
    "not a fault where its slot has fewer lanes by design, where it hangs on the chipset, where it or the host's "
    "memory is on the other socket, or where the others have NVLink: `nvidia-smi topo -m` or `rocm-smi --showtopo`")
