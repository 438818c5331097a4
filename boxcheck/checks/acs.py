"""Whether ports send peer-to-peer packets the long way round, and whether PCIe atomics reach the processor."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from boxcheck.checks.places import link_subject, short, slot_links, unjudged, wanted_gpus, where
from boxcheck.checks.wording import counted, listed
from boxcheck.model import BOX, Bdf, Finding, Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.links import Link, Links
from boxcheck.probes.pci import PciFunction, PciInventory
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, marginal, passed, skipped, unknown

REDIRECT = limit(
    "acs.redirect", bool, "eq", "", "Whether ACS may redirect peer-to-peer packets to the root (false: it must not)."
)

P2P_GOALS = ("cuda-p2p", "rocm", "tinygrad")


def _redirects(function: PciFunction) -> tuple[str, ...] | None | Unread:
    """Names of the redirect bits that are set; None when the port has no ACS, and so cannot redirect."""
    config = function.config
    if isinstance(config, Unread):
        return config
    if isinstance(config.acs, Unread):
        return config.acs
    if config.acs is None:
        return None
    enabled = config.acs.enabled
    bits = (("ReqRedir", enabled.request_redirect), ("CmpltRedir", enabled.completion_redirect),
            ("UpstreamFwd", enabled.upstream_forwarding))
    return tuple(name for name, is_set in bits if is_set)


@check("acs.redirect", reads=[Gpus, Links, PciInventory], limits=[REDIRECT], needs=["root"])
def redirect(gpus: Gpus, links: Links, pci: PciInventory, want: Profile) -> Iterator[Finding]:
    """ACS redirects peer-to-peer packets of GPUs to the root complex.

    Why it matters: packets between two cards go up to the processor and back instead of across the switch; on some
    machines peer copies become slow, hang, or deliver wrong data.
    What to do: BIOS setup: ACS off (on AMD servers under NBIO). Else clear the bits at every boot:
    `sudo setpci -s <port> ECAP_ACS+6.w=0000`, for root ports and switch ports alike.
    Not a fault: on a machine for virtual machines, where ACS keeps guests apart: `--goal vm`.
    By hand: sudo lspci -vv -s <port> | grep ACSCtl
    """
    judged = [gpu for gpu in wanted_gpus(gpus, want) if gpu.slot_link is not None]
    if gpus.unreadable is not None:
        yield unknown(BOX, f"not read: {gpus.unreadable.why}")
        return
    if want.goal != "vm" and len(judged) < sum(not gpu.integrated for gpu in wanted_gpus(gpus, want)):
        yield unknown(BOX, "not read: the port above a GPU")
        return
    if want.goal == "vm":
        yield skipped(BOX, "goal vm: guests are kept apart by ACS")
        return
    bound = want.limit(REDIRECT)
    if len(judged) < 2 or (bound is None and want.goal not in P2P_GOALS):
        yield skipped(BOX, "no peer-to-peer between GPUs is asked of this machine")
        return
    ports: dict[Bdf, tuple[str, ...]] = {}
    hidden: Unread | None = None
    looked = 0
    for port in dict.fromkeys(link.id for gpu in judged for link in links.chain(gpu.bdf)):
        bits = _redirects(pci.functions[port])
        if isinstance(bits, Unread):
            hidden = bits
            continue
        looked += 1
        if bits:
            ports[port] = bits
    evidence = tuple(f"/sys/bus/pci/devices/{port}/config" for port in ports)
    if ports:
        names = listed(sorted({name for bits in ports.values() for name in bits}))
        verb = "redirects" if len(ports) == 1 else "redirect"
        says = f"{len(ports)} of {counted(looked, 'port')} above GPUs {verb} peer-to-peer packets ({names})"
        options = {
            "limit": bound, "evidence": evidence, "cause": "acs:",
            "title": "ACS sends peer-to-peer traffic through the root",
            "where": listed([f"port {short(port)}" for port in ports]),
            "help": (
                "BIOS setup: ACS off (AMD servers: AMD CBS > NBIO Common Options > ACS Enable > Disable)",
                "no such setting: clear it at every boot: "
                f"for port in {' '.join(map(short, ports))}; do sudo setpci -s $port ECAP_ACS+6.w=0000; done",
            ),
        }
        if bound is not None and bound.must is False:
            yield failed(BOX, says, **options)
        else:
            yield marginal(BOX, says, **options)
    elif hidden is not None:
        yield unknown(BOX, f"not read: {hidden.why}", needs_root=hidden.kind == "permission")
    else:
        yield passed(BOX, f"none of {counted(looked, 'port')} above GPUs redirects peer-to-peer packets", limit=bound)


@check("atomics.route", reads=[Gpus, Links, PciInventory], needs=["root"])
def route(gpus: Gpus, links: Links, pci: PciInventory, want: Profile) -> Iterator[Finding]:
    """A port between an AMD GPU and the processor does not pass PCIe atomics on.

    Why it matters: ROCm refuses a card whose atomics do not reach memory (`PCIE atomic ops is not supported`).
    What to do: move the card to a slot that hangs on the processor, not on the chipset or an old switch.
    Not a fault: NVIDIA cards and tinygrad's own driver do not need them.
    By hand: sudo lspci -vv -s <port> | grep AtomicOps
    """
    judged = False
    for gpu, link in slot_links(gpus, links, want):
        if gpu.vendor != "1002":
            continue
        judged = True
        subject = link_subject(link, gpu)
        chain = links.chain(gpu.bdf)
        blocker = next((found for step in chain if (found := _stops_atomics(step, chain, pci)) is not None), None)
        evidence = tuple(f"/sys/bus/pci/devices/{step.id}/config" for step in chain)
        if isinstance(blocker, Unread):
            yield unknown(subject, f"not read: {blocker.why}", needs_root=blocker.kind == "permission",
                          evidence=evidence)
        elif blocker is not None:
            yield failed(
                subject, f"{blocker}, so atomics of the GPU do not reach memory", evidence=evidence,
                cause=f"atomics:{gpu.bdf}", where=where(link, gpu, links, want),
                title=f"PCIe atomics do not reach {subject.slot or subject.name}",
                help=("move the card to a slot that hangs on the processor, not on the chipset",),
            )
        else:
            yield passed(subject, "every port on the way passes atomics on", evidence=evidence)
    amd = msgspec.structs.replace(gpus, gpus=gpus.of_vendor("1002"))
    yield from unjudged(amd, want, judged, "no AMD GPU sits in a slot of this machine")


def _stops_atomics(step: Link, chain: tuple[Link, ...], pci: PciInventory) -> str | Unread | None:
    """Why atomics end at this port. A root port must complete them, every port in between route them
    (PCI Express Base Specification, section 6.15)."""
    for bdf in (step.downstream.bdf, step.upstream.bdf if step.upstream and step is not chain[-1] else None):
        if bdf is None:
            continue
        config = pci.functions[bdf].config
        if isinstance(config, Unread):
            return config
        if isinstance(config.express, Unread):
            return config.express
        express = config.express
        if express is None or express.dev_cap2 is None:
            return f"port {short(bdf)} knows no atomics"
        if express.dev_ctl2 is not None and express.dev_ctl2.atomic_egress_blocked:
            return f"port {short(bdf)} blocks atomics (DevCtl2)"
        if step is chain[0] and bdf == step.downstream.bdf:
            if not (express.dev_cap2.atomic_32bit and express.dev_cap2.atomic_64bit):
                return f"root port {short(bdf)} completes no 32 and 64 bit atomics"
        elif not express.dev_cap2.atomic_routing:
            return f"port {short(bdf)} does not route atomics"
    return None
