"""The two ways to set the speed that a port aims for: the kernel's cooling device, and the port's own register.

Source  drivers/thermal/pcie_cooling.c, drivers/pci/pcie/bwctrl.c (Linux 6.13), PCI Express Base 7.5.3.19 (LnkCtl2)

The cooling device writes the register and retrains under the kernel's own lock, also where the kernel is locked down.
It does nothing when the kernel believes that the link runs at that speed already (pcie_set_target_speed), as it does of
a card that rests at 2.5 GT/s; so the register is read afterwards, and what counts is what it says.
"""

from __future__ import annotations

from boxcheck.decode.pci_link import SPEED_GTS
from boxcheck.model import Unread
from boxcheck.riser.links.link_state import LNKCTL2, TARGET, best_gts, read_register
from boxcheck.riser.links.ports import LinkPair, Ports, Refused


def target_code(ports: Ports, pair: LinkPair) -> int | Unread:
    """What the port aims for, as the code of LnkCtl2."""
    word = read_register(ports, pair.port, pair.port.express + LNKCTL2)
    return word if isinstance(word, Unread) else word & TARGET


def set_by_kernel(ports: Ports, pair: LinkPair, cooling: str, code: int) -> None:
    """Lets the kernel set a target speed and retrain. Refused where the register does not say so afterwards."""
    most = ports.attribute(f"{cooling}/max_state")
    if isinstance(most, Unread) or not most.isdecimal():
        why = most.why if isinstance(most, Unread) else f"{cooling}/max_state is no number"
        raise Refused("unsupported", f"the kernel's control of link speed was not read: {why}")
    fastest = int(most) + 1  # state 0 is the fastest, the last one 2.5 GT/s
    state = fastest - code
    if not 0 <= state <= int(most):
        most_gts = SPEED_GTS.get(fastest, 0)
        raise Refused("unsupported", f"the kernel offers {most_gts:g} GT/s at most below {pair.port.bdf}")
    _ask(ports, cooling, state)
    if target_code(ports, pair) == code:
        return
    # It believed that nothing was to be done. By way of another speed there is.
    _ask(ports, cooling, state + 1 if state < int(most) else max(state - 1, 0))
    _ask(ports, cooling, state)
    now = target_code(ports, pair)
    if now != code:
        shown = now.why if isinstance(now, Unread) else f"{SPEED_GTS.get(now, 0):g} GT/s"
        raise Refused(
            "error", f"the kernel was asked for {SPEED_GTS[code]:g} GT/s, and the target of {pair.port.bdf} is {shown}")


def _ask(ports: Ports, cooling: str, state: int) -> None:
    try:
        ports.set_attribute(f"{cooling}/cur_state", str(state))
    except Refused as refused:
        # EAGAIN: the target is set, and the link trained at another speed. What it reached is read by the caller.
        if refused.kind != "busy":
            raise


def set_by_register(ports: Ports, pair: LinkPair, code: int) -> None:
    """Sets the target speed alone; the caller retrains. Refused for a speed that the ends do not share."""
    if SPEED_GTS.get(code) not in pair.common_gts:
        raise Refused("unsupported", f"{SPEED_GTS.get(code, 0):g} GT/s is no speed of both ends of {pair.name}")
    put_target(ports, pair, code)


def put_target(ports: Ports, pair: LinkPair, code: int) -> None:
    at = pair.port.express + LNKCTL2
    word = read_register(ports, pair.port, at)
    if isinstance(word, Unread):
        raise Refused("gone", f"the target speed of {pair.name} was not set: {word.why}")
    if word & TARGET != code:
        ports.write(pair.port.bdf, at, 2, word & ~TARGET | code)
    back = target_code(ports, pair)
    if back != code:
        gts = SPEED_GTS.get(code, 0)
        raise Refused("unsupported", f"the port {pair.port.bdf} does not take a target speed of {gts:g} GT/s; those of"
                      " a hypervisor take none")


def effective_code(pair: LinkPair, code: int) -> int:
    """The target that the kernel can be asked for: never more than both ends can do."""
    best = best_gts(pair)
    codes = [known for known, gts in SPEED_GTS.items() if best is not None and gts <= best]
    return min(code, max(codes, default=code))
