"""Judgements on main memory: how much there is and how it is spread over channels.

Size, part and speed of the single modules: checks/memory_modules.py; errors: checks/memory_errors.py.

One dead module trips several of these. They name it alike (`memory-dimm:<label>`), so that it makes one problem.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boxcheck.checks.wording import GIB, broken_bound, decided, judged, listed, not_read, size, wish_of
from boxcheck.model import BOX, Finding, Limit, Outcome, Quantity, Subject, Unread
from boxcheck.probes.memory import Channel, Memory, Module
from boxcheck.profile import Profile
from boxcheck.registry import check, limit, outcome_of, passed, skipped

TOTAL = limit(
    "memory.total_gib", float, "ge", "GiB", "Memory fitted. The kernel may show 5 % less.",
    low=1, high=1 << 17,
)
CHANNELS = limit("memory.channels", int, "ge", "channels", "Memory channels with at least one module.", low=1, high=96)
KERNEL_SHARE = 0.95
"""MemTotal may fall this far below what is fitted: struct pages take 1/64, firmware and the kernel a little more. One
module of the largest box (24 of 16 GiB) is 4.2 %, on top of that 1.6 %, so its loss still shows."""
TABLES = "/sys/firmware/dmi/tables/DMI"
MEMINFO = "/proc/meminfo"
RESEAT = "power off, reseat the module {0}, power on; not cured: swap it with a neighbour and see which goes missing"


def dimm(module: Module) -> Subject:
    return Subject("dimm", module.label)


def dimm_cause(label: str) -> str:
    return f"memory-dimm:{label}"


def _suspects(memory: Memory) -> tuple[Module, ...]:
    """Empty sockets that should not be: those of empty channels or, when all channels have something, the sockets that
    are empty where the other channels' are filled. Empty when nothing stands out or nothing is known."""
    if isinstance(memory.channels, Unread):
        return ()
    empty = [channel for channel in memory.channels if channel.populated is False]
    if empty:
        return tuple(_first_to_fill(channel, memory.channels) for channel in empty)
    counts = [sum(module.installed is True for module in channel.modules) for channel in memory.channels]
    return tuple(
        module for channel, count in zip(memory.channels, counts, strict=True) if count < max(counts)
        for module in channel.modules if module.installed is False
    )


def _first_to_fill(channel: Channel, channels: Sequence[Channel]) -> Module:
    """The socket of a channel that boards fill first: the place that is filled in the other channels."""
    for other in channels:
        for place, module in enumerate(other.modules):
            if module.installed is True and place < len(channel.modules):
                return channel.modules[place]
    return channel.modules[0]


def _cause(memory: Memory) -> str:
    suspects = _suspects(memory)
    return dimm_cause(suspects[0].label) if len(suspects) == 1 else "memory-population:"


def _total_help(memory: Memory) -> tuple[str, ...]:
    suspects = _suspects(memory)
    if len(suspects) == 1:
        return (RESEAT.format(suspects[0].label),)
    return ("compare sudo dmidecode -t 17 with what is fitted; reseat the modules that it does not list",
            "look for mem= in /proc/cmdline, and in the BMC's event log for a module that failed training")


@check("memory.total", reads=[Memory], limits=[TOTAL])
def total(memory: Memory, want: Profile) -> Iterator[Finding]:
    """The box has less memory than it should.

    Why it matters: a module that failed training is left out without a word; besides the size, a channel's bandwidth is
    gone. Loading a model then swaps or dies where the same box worked before.
    What to do: see which socket memory.channels names, reseat that module; read the BMC's event log.
    Not a fault: the kernel shows 2 to 5 % less than is fitted; and what the firmware gave to a GPU inside the processor
    is counted in.
    By hand: sudo dmidecode -t 17 | grep -E 'Size|Locator'; grep MemTotal /proc/meminfo
    """
    bound = want.limit(TOTAL)
    if bound is None:
        yield skipped(BOX, f"the profile sets no {TOTAL}")
        return
    if isinstance(memory.installed_bytes, Unread):
        yield _total_by_kernel(memory, memory.installed_bytes, bound)
        return
    fitted = memory.installed_bytes / GIB
    if outcome_of(fitted, bound) is not Outcome.PASS:
        yield judged(
            BOX, fitted, bound, f"{size(memory.installed_bytes)} fitted, {broken_bound(fitted, bound)} GiB",
            evidence=(TABLES,), cause=_cause(memory), title=_title(memory, memory.installed_bytes),
            help=_total_help(memory),
        )
        return
    yield _total_mapped(memory, memory.installed_bytes, fitted, bound)


def _title(memory: Memory, fitted_bytes: int) -> str:
    suspects = _suspects(memory)
    if len(suspects) == 1:
        return f"memory socket {suspects[0].label} is empty or its module is dead"
    return f"only {size(fitted_bytes)} of memory"


def _total_mapped(memory: Memory, fitted_bytes: int, fitted: float, bound: Limit) -> Finding:
    """The modules add up; whether the kernel has them too."""
    says = f"{size(fitted_bytes)} fitted, {broken_bound(fitted, bound)} GiB"
    measured = Quantity(fitted, "GiB")
    if isinstance(memory.total_bytes, Unread):
        return not_read(BOX, Unread(f"{says}, but whether the kernel has all of it: {memory.total_bytes.why}",
                                    memory.total_bytes.kind), evidence=(TABLES, MEMINFO))
    carve_out = memory.carve_out_bytes
    usable = memory.total_bytes + (carve_out if isinstance(carve_out, int) else 0)
    if isinstance(carve_out, Unread) and usable < fitted_bytes * KERNEL_SHARE:
        return not_read(BOX, Unread(
            f"{says}, and the kernel has {size(usable)}; {carve_out.why}", carve_out.kind), evidence=(TABLES, MEMINFO))
    if usable < fitted_bytes * KERNEL_SHARE and outcome_of(usable / GIB / KERNEL_SHARE, bound) is not Outcome.PASS:
        return judged(
            BOX, usable / GIB / KERNEL_SHARE, bound,
            f"{size(fitted_bytes)} fitted, the kernel has {size(usable)}; at least {KERNEL_SHARE:.0%} of "
            f"{wish_of(bound):g} GiB expected", evidence=(TABLES, MEMINFO), cause="memory-mapped-out:",
            title=f"the kernel has {size(usable)} of {size(fitted_bytes)} of memory",
            help=("read the BMC's event log for a module that the firmware mapped out",
                  "look for mem= and memmap= in /proc/cmdline"),
        )
    return passed(
        BOX, f"{says}; the kernel has {size(usable)}", measured=measured, limit=bound, evidence=(TABLES, MEMINFO))


def _total_by_kernel(memory: Memory, why: Unread, bound: Limit) -> Finding:
    if isinstance(memory.total_bytes, Unread):
        return not_read(BOX, memory.total_bytes, evidence=(TABLES, MEMINFO))
    carve_out = memory.carve_out_bytes
    usable = memory.total_bytes + (carve_out if isinstance(carve_out, int) else 0)
    outcome = outcome_of(usable / GIB / KERNEL_SHARE, bound)
    if outcome is not Outcome.PASS and isinstance(carve_out, Unread):
        return not_read(BOX, Unread(
            f"the kernel has {size(usable)} of {wish_of(bound):g} GiB; {carve_out.why}", why.kind),
            evidence=(TABLES, MEMINFO))
    shared = f" and its GPU {size(carve_out)}" if isinstance(carve_out, int) else ""
    return decided(
        outcome, BOX, f"the kernel has {size(memory.total_bytes)}{shared}; "
        f"at least {KERNEL_SHARE:.0%} of {wish_of(bound):g} GiB expected",
        measured=Quantity(usable / GIB, "GiB"), limit=bound, evidence=(MEMINFO,), cause=_cause(memory),
        title=f"the kernel has {size(usable)} of memory", notes=(f"the modules were not read: {why.why}",),
        help=_total_help(memory),
    )


def _edac_channels(memory: Memory) -> int | None:
    """Channels with memory by EDAC's locations; None when it does not say for each module."""
    if isinstance(memory.edac, Unread) or not memory.edac:
        return None
    found: set[tuple[str, str]] = set()
    for controller in memory.edac:
        for module in controller.modules:
            parts = (module.location or "").split()
            if "channel" not in parts[:-1]:
                return None
            found.add((controller.name, parts[parts.index("channel") + 1]))
    return len(found) or None


@check("memory.channels", reads=[Memory], limits=[CHANNELS])
def channels(memory: Memory, want: Profile) -> Iterator[Finding]:
    """A memory channel has no module, or one that was not found.

    Why it matters: bandwidth is channels times speed; each empty one of eight costs an eighth, and an uneven population
    can switch interleaving off and cost half.
    What to do: power off and reseat the module in the socket named here. Not cured: swap it with a neighbour; where the
    fault stays with the socket, look at the processor's seating and mounting torque.
    Not a fault: of the modules that are found.
    By hand: sudo dmidecode -t 17 | grep -E 'Size|Locator'
    """
    bound = want.limit(CHANNELS)
    if bound is None:
        yield skipped(BOX, f"the profile sets no {CHANNELS}")
        return
    if isinstance(memory.channels, Unread):
        yield _channels_unknown(memory, memory.channels, bound)
        return
    states = [channel.populated for channel in memory.channels]
    filled = sum(state is True for state in states)
    outcome = outcome_of(filled, bound)
    unsure = next((state for state in states if isinstance(state, Unread)), None)
    if outcome is not Outcome.PASS and unsure is not None:
        yield not_read(BOX, unsure, evidence=(TABLES,))
        return
    suspects = _suspects(memory)
    says = f"{filled} of {len(states)} channels have memory, {broken_bound(filled, bound)}"
    options = {"measured": Quantity(filled, "channels"), "limit": bound, "evidence": (TABLES,)}
    if outcome is Outcome.PASS:
        yield passed(BOX, says, **options)
    elif len(suspects) == 1:
        module = suspects[0]
        yield decided(
            outcome, dimm(module), f"channel {module.channel} has no memory, its socket is {module.label}; {says}",
            cause=dimm_cause(module.label), title=f"memory socket {module.label} is empty or its module is dead",
            where=f"memory channel {module.channel} > socket {module.label}", help=(RESEAT.format(module.label),),
            **options)
    else:
        empty = [f"{channel.name} ({_first_to_fill(channel, memory.channels).label})" for channel in memory.channels
                 if channel.populated is False]
        yield decided(
            outcome, Subject("memory", "memory"), f"{says}; empty: {listed(empty)}" if empty else says,
            cause="memory-population:", title=f"only {filled} memory channels are used",
            help=("fill one socket of each channel first, as the board's manual orders it",), **options)


def _channels_unknown(memory: Memory, why: Unread, bound: Limit) -> Finding:
    by_edac = _edac_channels(memory)
    if by_edac is not None:
        return judged(
            Subject("memory", "memory"), by_edac, bound,
            f"{by_edac} channels have memory by EDAC, {broken_bound(by_edac, bound)}",
            evidence=("/sys/devices/system/edac/mc",), cause="memory-population:",
            notes=(f"the sockets' names were not read: {why.why}",), help=("sudo dmidecode -t 17 names the sockets",))
    if isinstance(memory.modules, tuple):
        fitted = sum(module.installed is True for module in memory.modules)
        unsure = any(isinstance(module.installed, Unread) for module in memory.modules)
        # However they are spread: fewer modules than channels cannot fill them.
        if not unsure and outcome_of(fitted, bound) is not Outcome.PASS:
            return judged(
                Subject("memory", "memory"), fitted, bound,
                f"{fitted} modules fill at most {fitted} channels, {broken_bound(fitted, bound)}",
                evidence=(TABLES,), cause="memory-population:", help=("sudo dmidecode -t 17 shows what was found",))
    return not_read(BOX, why, evidence=(TABLES,))
