"""What `burn` and `stress run` say where no device can be driven: what the bus holds, then what the runtimes lack."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator

from boxcheck.checks.wording import counted, listed
from boxcheck.engine.inspect import Facts
from boxcheck.judge import ExitCode
from boxcheck.model import Unread
from boxcheck.probes.gpus import DISPLAY_CLASSES, Gpus
from boxcheck.probes.pci import PciInventory
from boxcheck.report import Shown, style_for
from boxcheck.report.command import runnable
from boxcheck.report.text import Style, wrap
from boxcheck.stress.runtime import RUNTIMES, RuntimeGpus

UNASKED = frozenset(("stuck-opening", "crashed-opening"))
"""Kinds of trouble of a runtime that gave no answer."""

NO_GPU_HELP = (
    "--backend cpu tries the same load on the processor; boxcheck demo shows boxes with GPUs; a GPU that is plugged in "
    "and not on the bus: boxcheck doctor pcie inventory")
DRIVER_HELP = "boxcheck doctor driver says what the box lacks; --backend cpu tries the same load on the processor"


def no_device(runtime: RuntimeGpus, facts: Facts, options: Shown) -> int:
    """Nothing was stressed, so nothing passes: exit code 3."""
    print(*_lines(runtime, facts, style_for(options, sys.stderr)), sep="\n", file=sys.stderr)
    return int(ExitCode.INCOMPLETE)


def _lines(runtime: RuntimeGpus, facts: Facts, style: Style) -> Iterator[str]:
    gpus, pci = facts.of(Gpus), facts.of(PciInventory)
    unasked = [name for name, trouble in runtime.troubles.items() if trouble.kind in UNASKED]
    read = isinstance(gpus, Gpus) and gpus.unreadable is None
    cards = gpus.gpus if isinstance(gpus, Gpus) else ()
    bare = read and not cards
    found = "no GPU is on the PCI bus" if bare else "no GPU that can be driven was found"
    if unasked:
        found += f", and {listed(unasked)} could not be asked"
    yield from wrap(f"error: {found}, so nothing was run", style, "", "  ")
    yield from wrap(f"PCI bus: {_bus(gpus, pci)}", style, "  ", "    ")
    vendors = {gpu.vendor for gpu in cards}
    for name, trouble in runtime.troubles.items():
        drives = any(name in RUNTIMES.get(vendor, ()) for vendor in vendors)
        if read and not drives and name not in unasked and len(runtime.asked) > 1:
            continue  # what it lacks is of no use to a machine that has no such GPU
        says = f"could not be asked: {trouble.says}" if name in unasked else trouble.says
        yield from wrap(f"{name}: {says}", style, "  ", "    ")
        if trouble.help:
            yield from wrap(runnable(trouble.help), style, "    help: ", "          ")
    yield from wrap(runnable(NO_GPU_HELP if bare else DRIVER_HELP), style, "help: ", "      ")


def _bus(gpus: Gpus | Unread, pci: PciInventory | Unread) -> str:
    """What it holds, in one clause."""
    if isinstance(gpus, Unread) or isinstance(pci, Unread):
        return f"not read: {gpus.why if isinstance(gpus, Unread) else pci.why}"  # type: ignore[union-attr]
    if gpus.gpus:
        bound = Counter((gpu.name, _driver(gpu.driver)) for gpu in gpus.gpus)
        here = listed(f"{number} x {name} ({driver})" for (name, driver), number in bound.items())
        return here if gpus.unreadable is None else f"{here}; {gpus.unreadable.why}"
    if gpus.unreadable is not None:
        return f"not read: {gpus.unreadable.why}"
    screens = [
        f"{function.pci_id} at {function.bdf}" for function in pci.functions.values()
        if function.class_code >> 8 in DISPLAY_CLASSES]
    functions = counted(len(pci.functions), "function")
    if screens:
        return f"{functions}, for a display only {listed(screens)}, which does not compute"
    return f"{functions}, none of them for a display, for 3D or an accelerator (class 03 or 12)"


def _driver(name: str | None | Unread) -> str:
    return "driver not read" if isinstance(name, Unread) else f"driver {name}" if name else "no driver"
