"""Mutations of drivers, device nodes and what the GPUs say of themselves."""

from __future__ import annotations

from tests.boxes.hardware import NodeFile, NvidiaGpu
from tests.boxes.machine import Machine
from tests.boxes.mutations import (
    BOXES_ALL,
    CARDS,
    DEV,
    GREEN,
    GREEN2,
    LAPTOP,
    NVIDIA,
    PRO,
    RADEON,
    RED,
    RED2,
    STRIX,
    WOPR,
    gpu_of,
    mutation,
    port_of,
)
from tests.boxes.smi_text import query
from tests.boxes.tree import Tree

# NVIDIA driver


@mutation("nouveau", *NVIDIA, area="nouveau drives the GPUs")
def nouveau(machine: Machine) -> None:
    machine.nouveau = True
    for gpu in machine.nvidia:
        gpu.function.driver = "nouveau"


@mutation("nvidia-mismatch", *NVIDIA, area="NVIDIA library and kernel module differ in the last digits")
def nvidia_mismatch(machine: Machine) -> None:
    driver = machine.nvidia_driver
    assert driver is not None
    head, _, last = driver.version.rpartition(".")
    driver.library_version = f"{head}.{int(last) + 1:02d}"


@mutation("nvidia-not-held", GREEN, GREEN2, PRO, area="the NVIDIA packages are not held, an upgrade can split them")
def nvidia_not_held(machine: Machine) -> None:
    machine.held.clear()


@mutation("nvidia-proprietary", GREEN, GREEN2, PRO, WOPR, area="the proprietary NVIDIA module: no P2P patch for it")
def nvidia_proprietary(machine: Machine) -> None:
    driver = machine.nvidia_driver
    assert driver is not None
    driver.open_module = driver.peer_patched = False
    machine.kernel.taint |= 1
    renamed = {name: name.removesuffix("-open") for name in machine.packages}
    machine.packages = {renamed[name]: version.replace("-p2p", "") for name, version in machine.packages.items()}
    machine.held = {renamed[name] for name in machine.held}


@mutation("nvidia-not-patched", GREEN, WOPR, PRO, area="the NVIDIA module has no P2P patch")
def nvidia_not_patched(machine: Machine) -> None:
    driver = machine.nvidia_driver
    assert driver is not None
    driver.peer_patched = False
    for name in list(machine.packages):
        machine.packages[name] = machine.packages[name].replace("-p2p", "")


def card_of_slot(machine: Machine) -> NvidiaGpu:
    gpu = gpu_of(machine)
    return next(one for one in machine.nvidia if one.function is gpu)


@mutation("persistence-off", *NVIDIA, area="persistence mode is off")
def persistence_off(machine: Machine) -> None:
    assert machine.nvidia_driver is not None
    machine.nvidia_driver.persistence = False


@mutation("nvidia-hot-idle", *NVIDIA, area="one GPU is hot while idle", slot="PCIE3")
def nvidia_hot(machine: Machine) -> None:
    card_of_slot(machine).core_celsius = 82


@mutation("nvidia-cap-lowered", *NVIDIA, area="one GPU's power limit is below its default", slot="PCIE3")
def nvidia_cap(machine: Machine) -> None:
    card_of_slot(machine).cap_watts = 250


@mutation("nvidia-power-brake", *NVIDIA, area="one GPU's clocks are held down by the power brake", slot="PCIE3")
def nvidia_brake(machine: Machine) -> None:
    card_of_slot(machine).event_reasons = 0x80


@mutation(
    "nvidia-smi-only", *NVIDIA, area="none: nvidia-ml-py is not installed, nvidia-smi says it all", healthy=True)
def nvidia_smi_only(machine: Machine) -> None:
    def edit(tree: Tree) -> None:
        cards = [gpu for gpu in machine.nvidia if gpu.function.known]
        tree.answer("nvml", "gpus", {"error": "no-binding", "says": "nvidia-ml-py is not installed"})
        tree.run(["nvidia-smi", "-q"], query(
            (f"0000{gpu.function.bdf}".upper(), gpu.event_reasons, gpu.replays) for gpu in cards))

    machine.edits.append(edit)


@mutation("nvidia-vbios-mixed", *NVIDIA, area="one GPU has another VBIOS", slot="PCIE3")
def nvidia_vbios(machine: Machine) -> None:
    card_of_slot(machine).vbios = "95.02.18.80.5d"


@mutation("nvidia-replays", *NVIDIA, area="the driver counts PCIe replays on one GPU", slot="PCIE3")
def nvidia_replays(machine: Machine) -> None:
    card_of_slot(machine).replays = 733


@mutation("nvidia-uuid-twice", *NVIDIA, area="two GPUs claim one UUID")
def nvidia_uuid_twice(machine: Machine) -> None:
    machine.nvidia[1].uuid = machine.nvidia[0].uuid


@mutation("cards-of-600-watts", WOPR, GREEN, area="the cards' own limit is 600 W: together more than the supplies give")
def cards_of_600_watts(machine: Machine) -> None:
    for gpu in machine.nvidia:
        gpu.cap_watts = gpu.default_cap_watts = 600


@mutation("row-remap-failed", *NVIDIA, area="one GPU could not remap a faulty memory row", slot="PCIE3")
def row_remap(machine: Machine) -> None:
    card = card_of_slot(machine)
    card.remapped_rows, card.remap_failed = 8, True


@mutation("driver-unbound", *CARDS, area="one GPU has no driver", slot="PCIE3")
def driver_unbound(machine: Machine) -> None:
    gpu = gpu_of(machine)
    gpu.driver = None
    for one in machine.amd:
        if one.function is gpu:
            one.initialised = False


@mutation("vfio-bound", *CARDS, area="one GPU is bound to vfio-pci", slot="PCIE3")
def vfio_bound(machine: Machine) -> None:
    gpu_of(machine).driver = "vfio-pci"


@mutation("uvm-node-missing", *NVIDIA, area="/dev/nvidia-uvm does not exist")
def uvm_missing(machine: Machine) -> None:
    machine.edits.append(lambda tree: tree.remove("/dev/nvidia-uvm"))


# amdgpu, ROCm and KFD


@mutation("amdgpu-cwsr-on", RED, area="amdgpu runs with cwsr_enable=1, which the box's maker switches off")
def amdgpu_cwsr(machine: Machine) -> None:
    machine.amdgpu_parameters["cwsr_enable"] = "1"
    machine.modprobe = {path: text.replace("cwsr_enable=0 ", "") for path, text in machine.modprobe.items()}


def _rocm_packages(machine: Machine, version: str) -> None:
    for name in ("rocm-core", "rocm-hip-runtime"):
        machine.packages[name] = version


@mutation("rocm-old", RED, area="ROCm 6.3.2 is older than what the box was shipped with, 6.3.3")
def rocm_old(machine: Machine) -> None:
    machine.rocm = "6.3.2"
    _rocm_packages(machine, "6.3.2.60302-66~24.04")


@mutation("rocm-missing", RED, RED2, DEV, STRIX, area="ROCm is not installed")
def rocm_missing(machine: Machine) -> None:
    machine.rocm = None
    for name in ("rocm-core", "rocm-hip-runtime"):
        machine.packages.pop(name, None)


@mutation("rocm-twice", RED, RED2, DEV, area="two versions of ROCm are installed")
def rocm_twice(machine: Machine) -> None:
    def second(tree: Tree) -> None:
        tree.put("/opt/rocm-6.2.4/.info/version", "6.2.4-139")
        tree.put("/opt/rocm-6.2.4/lib/libamdhip64.so.6", b"\x7fELF")

    machine.edits.append(second)


@mutation("p2pdma-off", *RADEON, area="the kernel was built without CONFIG_PCI_P2PDMA: no copies between AMD GPUs")
def p2pdma_off(machine: Machine) -> None:
    machine.kernel.config["CONFIG_PCI_P2PDMA"] = "n"


@mutation("amdgpu-init-failure", *RADEON, area="amdgpu gave up on one GPU at boot", slot="PCIE3")
def amdgpu_init_failure(machine: Machine) -> None:
    gpu = gpu_of(machine)
    gpu.driver = None
    next(one for one in machine.amd if one.function is gpu).initialised = False


@mutation("atomics-missing", *RADEON, area="PCIe atomics do not reach one GPU", slot="PCIE3")
def atomics_missing(machine: Machine) -> None:
    port, gpu = port_of(machine), gpu_of(machine)
    port.express.atomic_route = port.express.atomic_32 = port.express.atomic_64 = False
    gpu.express.atomic_request = False
    next(one for one in machine.amd if one.function is gpu).no_atomics = True


@mutation("kfd-atomics-flagged", *RADEON, area="KFD says that the link of one GPU lacks atomics", slot="PCIE3")
def kfd_atomics_flagged(machine: Machine) -> None:
    """As older kernels do it: the device is kept, with the no-atomics flags on its link."""
    gpu = gpu_of(machine)
    port_of(machine).express.atomic_route = False
    gpu.express.atomic_request = False
    number = [one.function for one in machine.amd].index(gpu)

    def flag(tree: Tree) -> None:
        base = "/sys/devices/virtual/kfd/kfd/topology/nodes"
        tree.edit(f"{base}/{number + 1}/io_links/0/properties", "flags 1\n", "flags 13\n")
        tree.edit(f"{base}/0/io_links/{number}/properties", "flags 1\n", "flags 13\n")

    machine.edits.append(flag)


@mutation("kfd-no-p2p", *RADEON, area="the kernel has no peer-to-peer for AMD compute (CONFIG_HSA_AMD_P2P)")
def kfd_no_p2p(machine: Machine) -> None:
    machine.kernel.config["CONFIG_HSA_AMD_P2P"] = "n"


@mutation("vbios-mixed", *RADEON, area="one GPU has another VBIOS", slot="PCIE3")
def vbios_mixed(machine: Machine) -> None:
    gpu = gpu_of(machine)
    next(one for one in machine.amd if one.function is gpu).vbios = "113-D70402XT-002"


@mutation("wrong-revision", RED, DEV, area="one card is a 7900 XT (744c rev cc), not a 7900 XTX", slot="PCIE3")
def wrong_revision(machine: Machine) -> None:
    gpu = gpu_of(machine)
    gpu.revision = 0xCC
    card = next(one for one in machine.amd if one.function is gpu)
    card.vram_mib, card.compute_units, card.memory_width, card.vbios = 20 * 1024 - 16, 84, 320, "113-D7020200-102"


@mutation("wrong-card", WOPR, GREEN, PRO, area="one card is a 4090 D, not a 4090", slot="PCIE3")
def wrong_card(machine: Machine) -> None:
    gpu = gpu_of(machine)
    gpu.device = 0x2685
    next(one for one in machine.nvidia if one.function is gpu).model = "NVIDIA GeForce RTX 4090 D"


@mutation("kfd-plain-file", *RADEON, STRIX, area="/dev/kfd is a plain file")
def kfd_plain_file(machine: Machine) -> None:
    machine.edits.append(lambda tree: tree.stat("/dev/kfd", 0o660, 0, machine.groups["render"], "file", "ok"))


@mutation("nvml-version", *NVIDIA, area="NVML speaks for another version of the driver than the module")
def nvml_version(machine: Machine) -> None:
    assert machine.nvidia_driver is not None
    machine.nvidia_driver.nvml_version = "550.54.14"


@mutation("runtime-error", *CARDS, STRIX, area="the driver failed to wake a GPU up", slot="PCIE3")
def runtime_error(machine: Machine) -> None:
    gpu = gpu_of(machine) if machine.slots else machine.gpu_functions()[0]
    machine.edits.append(lambda tree: tree.put(f"{gpu.path}/power/runtime_status", "error"))


@mutation("card-crippled", RED, DEV, area="a card with the id of a 7900 XTX has 12 GiB and 40 units", slot="PCIE3")
def card_crippled(machine: Machine) -> None:
    card = next(one for one in machine.amd if one.function is gpu_of(machine))
    card.vram_mib, card.compute_units = 12 * 1024 - 16, 40


@mutation("card-units-off", RED, RED2, DEV, area="a card has half of its compute units", slot="PCIE3")
def card_units_off(machine: Machine) -> None:
    next(one for one in machine.amd if one.function is gpu_of(machine)).compute_units //= 2


@mutation("card-memory-short", WOPR, GREEN, PRO, area="a card with the id of a 4090 has 8 GiB", slot="PCIE3")
def card_memory_short(machine: Machine) -> None:
    next(one for one in machine.nvidia if one.function is gpu_of(machine)).memory_mib = 8192


@mutation("card-inline-ecc", WOPR, RED, GREEN, PRO, area="none: inline ECC takes a sixteenth of each card's memory",
          healthy=True)
def card_inline_ecc(machine: Machine) -> None:
    for card in machine.nvidia:
        card.memory_mib = card.memory_mib * 15 // 16
    for other in machine.amd:
        other.vram_mib = other.vram_mib * 15 // 16


@mutation("card-renamed", WOPR, GREEN, PRO, area="a card with the id of a 4090 is a 3060 to its driver", slot="PCIE3")
def card_renamed(machine: Machine) -> None:
    next(one for one in machine.nvidia if one.function is gpu_of(machine)).model = "NVIDIA GeForce RTX 3060"


@mutation("duplicate-serial", *RADEON, area="two GPUs report one unique id")
def duplicate_serial(machine: Machine) -> None:
    machine.amd[1].unique_id = machine.amd[0].unique_id


@mutation("replay-count", *RADEON, area="amdgpu counts PCIe replays", slot="PCIE3")
def replay_count(machine: Machine) -> None:
    gpu = gpu_of(machine)
    next(one for one in machine.amd if one.function is gpu).replay_count = 733


@mutation("gpu-hot-idle", *RADEON, area="one GPU is hot while idle", slot="PCIE3")
def gpu_hot_idle(machine: Machine) -> None:
    gpu = gpu_of(machine)
    card = next(one for one in machine.amd if one.function is gpu)
    card.edge_celsius, card.junction_celsius, card.memory_celsius, card.fan_rpm = 78.0, 94.0, 84.0, 2100


@mutation("power-cap-lowered", *RADEON, area="one GPU's power cap is below its default", slot="PCIE3")
def power_cap(machine: Machine) -> None:
    gpu = gpu_of(machine)
    next(one for one in machine.amd if one.function is gpu).cap_watts = 150


# Nodes and login


@mutation(
    "node-not-openable",
    RED,
    RED2,
    DEV,
    STRIX,
    area="/dev/kfd and the render nodes cannot be opened: not in group render",
)
def node_not_openable(machine: Machine) -> None:
    machine.as_root = False
    machine.user_groups = ["adm", "sudo"]


@mutation("not-in-session", RED, RED2, DEV, STRIX, area="the login is older than the user's membership of group render")
def not_in_session(machine: Machine) -> None:
    machine.as_root = False
    machine.session_groups = ["adm", "sudo"]


@mutation("nvidia-node-not-openable", *NVIDIA, area="/dev/nvidia* cannot be opened by this user")
def nvidia_node(machine: Machine) -> None:
    machine.as_root = False
    count = len([one for one in machine.nvidia if one.function.known])
    machine.nodes += [NodeFile(f"/dev/nvidia{number}", 0o660, "root") for number in range(count)]
    machine.nodes += [
        NodeFile(f"/dev/{name}", 0o660, "root")
        for name in ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
    ]


@mutation("kfd-enomem", RED, DEV, area="/dev/kfd opens with ENOMEM: not a permission")
def kfd_enomem(machine: Machine) -> None:
    machine.nodes.append(NodeFile("/dev/kfd", 0o660, "render", open_error="ENOMEM"))


@mutation("no-udev-rules", RED, RED2, DEV, area="no udev rule gives the GPU nodes to a group, they are root's alone")
def no_udev_rules(machine: Machine) -> None:
    machine.udev_rules.clear()
    machine.nodes.append(NodeFile("/dev/kfd", 0o600))
    machine.nodes += [NodeFile(f"/dev/dri/renderD{128 + number}", 0o600) for number in range(len(machine.amd))]
    rules = "/usr/lib/udev/rules.d/50-udev-default.rules"
    machine.edits.append(lambda tree: tree.put(rules, 'SUBSYSTEM=="graphics", GROUP="video"'))


@mutation("kfd-0666", STRIX, RED, area="/dev/kfd is world-writable")
def kfd_0666(machine: Machine) -> None:
    machine.nodes.append(NodeFile("/dev/kfd", 0o666, "render"))
    machine.udev_rules["/etc/udev/rules.d/99-amd-kfd.rules"] = 'SUBSYSTEM=="kfd", GROUP="render", MODE="0666"\n'


@mutation("not-root", *BOXES_ALL, LAPTOP, area="none: an ordinary user reads, so much is unread", healthy=True)
def not_root(machine: Machine) -> None:
    machine.as_root = False
