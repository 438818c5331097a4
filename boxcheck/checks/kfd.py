"""Whether AMD's compute driver sees every GPU, with atomics and a direct way to the others."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.driver import unbound_cause
from boxcheck.checks.places import wanted_gpus
from boxcheck.checks.steps import AMDGPU_LOG, BIOS_ROOM, GRUB_FILE, P2P_KERNEL
from boxcheck.checks.wording import a, counted, listed, not_read
from boxcheck.model import BOX, Finding, Unread
from boxcheck.probes.amdgpu import Amdgpu
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.kfd import NO_PEER_TO_PEER, NODES, Kfd, KfdNode
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, passed, skipped, unknown


def _asked(gpus: Gpus, want: Profile) -> tuple[Gpu, ...]:
    """The GPUs of which ROCm is expected: AMD ones of the profile, or any with goal rocm."""
    if want.goal in ("tinygrad", "vm"):
        return ()
    if "1002" not in want.gpus.vendors and want.goal != "rocm":
        return ()
    return tuple(gpu for gpu in wanted_gpus(gpus, want) if gpu.vendor == "1002")


def _none(gpus: Gpus, want: Profile) -> Finding:
    if gpus.unreadable is not None:
        return not_read(BOX, gpus.unreadable)
    if "1002" in want.gpus.vendors and want.goal not in ("tinygrad", "vm"):
        return unknown(BOX, "none of the profile's GPUs answers, so KFD has nothing to show")
    return skipped(BOX, "nothing here computes with ROCm")


def _missing_cause(gpu: Gpu, gpus: Gpus, amdgpu: Amdgpu) -> str:
    """A GPU without driver, or gone, has no node for that reason."""
    if gpu.gone:
        return f"gpu-lost:{gpu.bdf}"
    if gpu.driver != "amdgpu":
        return unbound_cause(gpu, gpus, amdgpu.loaded)
    return f"kfd:{gpu.bdf}"


def _evidence(node: KfdNode | None) -> tuple[str, ...]:
    return (NODES,) if node is None else (f"{NODES}/{node.index}/properties",)


@check("kfd.nodes", reads=[Gpus, Kfd, Amdgpu])
def nodes(gpus: Gpus, kfd: Kfd, amdgpu: Amdgpu, want: Profile) -> Iterator[Finding]:
    """A GPU is missing from the compute driver, or is shown as another model than it is.

    Why it matters: what KFD does not show, ROCm does not see: hipGetDeviceCount is one less.
    What to do: read why it was left out: `sudo dmesg | grep kfd`. `PCI rejects atomics`: another slot. Nothing at
    all: the driver did not start on it, see log.amdgpu-init.
    Not a fault: in a container to which the device was not handed.
    By hand: grep -H . /sys/class/kfd/kfd/topology/nodes/*/gpu_id; rocminfo
    """
    asked = _asked(gpus, want)
    if not asked:
        yield _none(gpus, want)
        return
    if isinstance(kfd.nodes, Unread):
        if kfd.nodes.kind != "absent":
            yield not_read(BOX, kfd.nodes, evidence=(NODES,))
            return
        cause = "driver:amdgpu" if amdgpu.loaded is False else "kfd:"
        yield failed(
            BOX, f"/sys/class/kfd is missing, {counted(len(asked), 'GPU')} should be in it", evidence=(NODES,),
            cause=cause, title="the compute driver (KFD) is not there",
            help=("sudo modprobe amdgpu; the kernel needs CONFIG_HSA_AMD (grep HSA_AMD /boot/config-$(uname -r))",))
        return
    hidden = [node.unread for node in kfd.nodes if node.unread is not None and node.gpu_id != 0]
    for gpu in asked:
        node = kfd.of(gpu.bdf)
        if node is None and hidden:
            yield not_read(gpu.subject, hidden[0], evidence=(NODES,))
        else:
            yield _judge_node(gpu, gpus, node, amdgpu)


def _judge_node(gpu: Gpu, gpus: Gpus, node: KfdNode | None, amdgpu: Amdgpu) -> Finding:
    if node is None:
        return failed(
            gpu.subject, "KFD has no node for it, so ROCm does not see it", evidence=(NODES,),
            cause=_missing_cause(gpu, gpus, amdgpu),
            title=f"ROCm does not see {gpu.subject.name}" + (f" in slot {gpu.slot}" if gpu.slot else ""),
            help=(AMDGPU_LOG,))
    wanted = gpu.part.arch if gpu.part is not None and gpu.part.arch.startswith("gfx") else None
    if node.gfx_target is None:
        return passed(gpu.subject, f"node {node.index}; this kernel does not name its architecture",
                      evidence=_evidence(node))
    if wanted is not None and node.gfx_target != wanted:
        return failed(
            gpu.subject, f"KFD shows {node.gfx_target}, {a(gpu.name)} is {wanted}", evidence=_evidence(node),
            cause=f"kfd:{gpu.bdf}", title=f"{gpu.subject.name} is shown as {node.gfx_target}",
            help=("update kernel and linux-firmware; if it stays, the card is not what it claims to be",))
    return passed(gpu.subject, f"node {node.index} is {node.gfx_target}", evidence=_evidence(node))


@check("atomics.kfd", reads=[Gpus, Kfd])
def atomics(gpus: Gpus, kfd: Kfd, want: Profile) -> Iterator[Finding]:
    """KFD says that atomic operations do not get from a GPU to the processor.

    Why it matters: ROCm's queues and signals are atomic operations over PCIe; without them the GPU is left out or
    hangs. KFD knows it for the way of this very card, and says so without root.
    What to do: move the card to a slot of the processor; switches and chipset slots often do not route atomics.
    Not a fault: of the card.
    By hand: grep flags /sys/class/kfd/kfd/topology/nodes/*/io_links/*/properties   (4 and 8: no atomics)
    """
    asked = _asked(gpus, want)
    if not asked:
        yield _none(gpus, want)
        return
    if isinstance(kfd.nodes, Unread):
        yield not_read(BOX, kfd.nodes, evidence=(NODES,))
        return
    cpus = {node.index for node in kfd.nodes if not node.is_gpu and node.unread is None}
    for gpu in asked:
        node = kfd.of(gpu.bdf)
        if node is None:
            yield unknown(gpu.subject, "KFD has no node for it, so it says nothing of its atomics", evidence=(NODES,))
        elif isinstance(node.links, Unread):
            yield not_read(gpu.subject, node.links, evidence=_evidence(node))
        else:
            ways = [link for link in node.links if link.target in cpus and not link.peer]
            evidence = (f"{NODES}/{node.index}/io_links",)
            if not ways:
                yield unknown(gpu.subject, "KFD shows no way from it to the processor", evidence=evidence)
            elif all(link.atomics for link in ways):
                yield passed(gpu.subject, "atomic operations reach the processor", evidence=evidence)
            else:
                flags = listed(sorted({f"{link.flags:#x}" for link in ways if not link.atomics}))
                yield failed(
                    gpu.subject, f"no atomic operations to the processor (link flags {flags}, bits 2 and 3 must be 0)",
                    evidence=evidence, cause=f"atomics:{gpu.bdf}",
                    title=f"PCIe atomics do not reach {gpu.subject.name}",
                    help=("move the card to a slot of the processor, without a switch between",))


@check("kfd.p2p", reads=[Gpus, Kfd, Amdgpu])
def p2p(gpus: Gpus, kfd: Kfd, amdgpu: Amdgpu, want: Profile) -> Iterator[Finding]:
    """KFD opened no direct way between two AMD GPUs.

    Why it matters: hipDeviceCanAccessPeer says no, and every copy between them goes through the host's memory at less
    than half the speed.
    What to do: Resizable BAR on, so that all VRAM is visible; a kernel with CONFIG_HSA_AMD_P2P; amdgpu.pcie_p2p not 0.
    Not a fault: of the riser. That KFD opened a way does not prove that data arrives: only a verified copy does.
    By hand: ls /sys/class/kfd/kfd/topology/nodes/*/p2p_links
    """
    asked = _asked(gpus, want)
    cards = [gpu for gpu in asked if not gpu.integrated]
    if want.goal == "rocm" and len(cards) < 2 and "1002" in want.gpus.vendors and (want.gpus.count or 0) > 1:
        yield unknown(BOX, f"{len(cards)} of {want.gpus.count} GPUs answer, so there is no pair to judge")
        return
    if want.goal != "rocm" or len(cards) < 2:
        yield skipped(BOX, "no copies between AMD GPUs are asked for")
        return
    if isinstance(kfd.nodes, Unread):
        yield not_read(BOX, kfd.nodes, evidence=(NODES,))
        return
    places = {node.index: gpu for gpu in cards if (node := kfd.of(gpu.bdf)) is not None}
    for gpu in cards:
        node = kfd.of(gpu.bdf)
        if node is None:
            yield unknown(gpu.subject, "KFD has no node for it", evidence=(NODES,))
        elif isinstance(node.links, Unread):
            yield not_read(gpu.subject, node.links, evidence=_evidence(node))
        elif len(places) < 2:
            yield unknown(gpu.subject, "KFD shows no other GPU", evidence=(NODES,))
        else:
            reached = {link.target for link in node.links if not link.flags & NO_PEER_TO_PEER}
            yield _judge_peers(gpu, node, [other for index, other in places.items()
                                           if other is not gpu and index not in reached], len(places) - 1, amdgpu,
                               cards)


def _judge_peers(
    gpu: Gpu, node: KfdNode, closed: list[Gpu], others: int, amdgpu: Amdgpu, cards: list[Gpu]
) -> Finding:
    evidence = (f"{NODES}/{node.index}/p2p_links",)
    if not closed:
        return passed(gpu.subject, f"a direct way to {others} of {others} other GPUs", evidence=evidence)
    small = [one for one in (gpu, *closed) if _small_bar(one, amdgpu)]
    names = listed(one.subject.name for one in closed)
    says = f"a direct way to {others - len(closed)} of {others} other GPUs, none to {names}"
    if small and all(one in small or gpu in small for one in closed):
        everywhere = len(small) > 1 and all(_small_bar(one, amdgpu) for one in cards)
        return failed(
            gpu.subject, f"{says}: {small[0].subject.name} does not show all of its VRAM", evidence=evidence,
            cause="bar-small:" if everywhere else f"bar:{small[0].bdf}",
            help=(BIOS_ROOM,))
    parameter = None if isinstance(amdgpu.parameters, Unread) else amdgpu.parameters.get("pcie_p2p")
    steps = (f"take amdgpu.pcie_p2p=0 out of {GRUB_FILE} or /etc/modprobe.d",) if parameter in ("N", "0") else ()
    return failed(
        gpu.subject, says, evidence=evidence, cause="kfd-p2p:", title="AMD GPUs cannot copy to each other directly",
        help=(*steps, P2P_KERNEL, BIOS_ROOM))


def _small_bar(gpu: Gpu, amdgpu: Amdgpu) -> bool:
    card = amdgpu.cards.get(gpu.bdf)
    if card is None or isinstance(card.vram_bytes, Unread) or isinstance(card.visible_vram_bytes, Unread):
        return False
    return card.visible_vram_bytes < card.vram_bytes
