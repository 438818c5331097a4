"""`boxcheck profile draft`: a profile of the machine as it is. Facts in, TOML text out.

Every limit in it is what was measured, which proves nothing about what the box should be: a box that lost a card or a
memory module drafts a profile without it. So each limit is marked, and its source says that nobody agreed to it yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from boxcheck.engine.inspect import Facts
from boxcheck.model import Unread
from boxcheck.probes.cpu import Cpu
from boxcheck.probes.dmi import Dmi
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.links import Link, Links
from boxcheck.probes.memory import Memory
from boxcheck.probes.nvme import Nvme
from boxcheck.registry import CHECKS, LIMITS, discover

MARK = "# measured, not agreed"
SOURCE = "measured on this machine, not agreed"
GIB = 1 << 30

Measure = Callable[[Facts], Any]


def quoted(text: str, longest: int = 200) -> str:
    """A TOML string of what a machine said about itself, at most so many characters of it."""
    import json

    return json.dumps("".join(filter(str.isprintable, text))[:longest], ensure_ascii=False)


def literal(value: object) -> str:
    """A TOML value."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return quoted(value)
        case list() | tuple():
            return f"[{', '.join(literal(item) for item in value)}]"
        case float():
            return f"{value:.10g}"
        case _:
            return str(value)


def cards(facts: Facts) -> tuple[Gpu, ...]:
    """The GPUs that the profile would be about: cards, or those of the processor where there are no cards."""
    gpus = facts.of(Gpus)
    if isinstance(gpus, Unread):
        return ()
    return tuple(gpu for gpu in gpus.gpus if not gpu.integrated) or gpus.gpus


def slot_links(facts: Facts) -> tuple[Link, ...]:
    links = facts.of(Links)
    if isinstance(links, Unread):
        return ()
    found = (links.slot_link(gpu.bdf) for gpu in cards(facts) if not gpu.integrated)
    return tuple(dict.fromkeys(link for link in found if link is not None))


def _least(values: Iterator[Any]) -> Any:
    """The smallest, None when there is none or when any was not read."""
    found = list(values)
    return None if not found or any(value is None or isinstance(value, Unread) for value in found) else min(found)


def _of(kind: type, field: str) -> Measure:
    def measure(facts: Facts) -> Any:
        fact = facts.of(kind)
        return fact if isinstance(fact, Unread) else getattr(fact, field)

    return measure


def _memory_gib(facts: Facts) -> Any:
    memory = facts.of(Memory)
    if isinstance(memory, Unread) or isinstance(memory.installed_bytes, Unread):
        return None
    return memory.installed_bytes // GIB or None


def _channels(facts: Facts) -> Any:
    memory = facts.of(Memory)
    if isinstance(memory, Unread) or isinstance(memory.channels, Unread):
        return None
    filled = [channel.populated for channel in memory.channels]
    if any(isinstance(state, Unread) for state in filled):
        return None
    return sum(state is True for state in filled) or None


def _memory_speed(facts: Facts) -> Any:
    memory = facts.of(Memory)
    if isinstance(memory, Unread) or isinstance(memory.modules, Unread):
        return None
    return _least(module.configured_mts for module in memory.modules if module.installed is True)


def _ecc(facts: Facts) -> Any:
    memory = facts.of(Memory)
    # A box without ECC would draft a limit that forbids it.
    return True if not isinstance(memory, Unread) and memory.ecc is True else None


def _drives(facts: Facts) -> Any:
    nvme = facts.of(Nvme)
    if isinstance(nvme, Unread) or nvme.unreadable is not None:
        return None
    return sum(drive.transport == "pcie" for drive in nvme.drives) or None


MEASURES: Mapping[str, Measure] = {
    "link.width": lambda facts: _least(link.capable_width for link in slot_links(facts)),
    "link.speed_gts": lambda facts: _least(link.capable_speed_gts for link in slot_links(facts)),
    "cpu.model": lambda facts: None if (model := _of(Cpu, "model")(facts)) is None else [model],
    "cpu.cores": _of(Cpu, "cores"),
    "cpu.sockets": _of(Cpu, "sockets"),
    "memory.total_gib": _memory_gib,
    "memory.channels": _channels,
    "memory.speed_mts": _memory_speed,
    "memory.ecc": _ecc,
    "disk.nvme_count": _drives,
}
"""Limit -> what this machine has. Speed and width of a link are what both of its ends can do: an idle link runs slower,
and one that lost lanes would pass a draft of what it has left."""


def measured(facts: Facts) -> dict[str, Any]:
    """The limits that this machine's facts settle, in the order of their names."""
    discover()
    found: dict[str, Any] = {}
    for name, measure in sorted(MEASURES.items()):
        value = measure(facts) if name in LIMITS else None
        if value is None or isinstance(value, Unread) or (
                isinstance(value, list) and any(isinstance(item, Unread) for item in value)):
            continue
        found[name] = value
    return found


def _head(facts: Facts) -> Iterator[str]:
    dmi = facts.of(Dmi)
    board = None if isinstance(dmi, Unread) or isinstance(dmi.board_name, Unread) else dmi.board_name
    yield "# Drafted from one machine. Read every line, correct it, and say in [[source]] where each limit comes from."
    yield 'name = "drafted-box"'
    yield "revision = 1"
    yield f"title = {quoted(f'drafted from a machine with {board}' if board else 'drafted from a machine')}"
    yield 'goal = "any"  # rocm, cuda-p2p, tinygrad or vm say what IOMMU and ACS should be'
    yield ""
    yield "[match]"
    if board:
        yield f"board = [{_glob(board)}]"
    cpu = facts.of(Cpu)
    if not isinstance(cpu, Unread) and isinstance(cpu.model, str):
        yield f"cpu = [{_glob(cpu.model)}]"
    yield from _gpus(cards(facts))


def _glob(name: str) -> str:
    """A glob that stands for this name alone."""
    return quoted("".join(f"[{character}]" if character in "*?[" else character for character in name[:60]))


def _gpus(found: tuple[Gpu, ...]) -> Iterator[str]:
    if not found:
        return
    yield f"gpu_count = [{max(len(found) - 1, 1)}, {len(found)}]"
    keys = dict.fromkeys(gpu.part.key for gpu in found if gpu.part is not None)
    ids = dict.fromkeys(
        gpu.pci_id if gpu.revision is None else f"{gpu.pci_id} rev {gpu.revision:02x}"
        for gpu in found if gpu.part is None)
    yield ""
    yield "[gpus]"
    if keys:
        yield f"part = {literal(list(keys))}  {MARK}"
    if ids:
        yield f"pci_id = {literal(list(ids))}  {MARK}"
    yield f"count = {min(len(found), 64)}  {MARK}"


def draft(facts: Facts) -> str:
    """The TOML text. It loads as it stands; its first line is a comment."""
    lines = list(_head(facts))
    limits = measured(facts)
    for area in dict.fromkeys(name.split(".", 1)[0] for name in limits):
        lines += ["", f"[{area}]"]
        lines += [f"{name.split('.', 1)[1]} = {literal(value)}  {MARK}"
                  for name, value in limits.items() if name.startswith(f"{area}.")]
    lines += ["", "[require]", "inspect = [", *(f"  {quoted(id)}," for id in _blockers(facts, limits)), "]"]
    lines += _slots(slot_links(facts))
    if limits:
        lines += ["", "[[source]]", "limit = [", *(f"  {quoted(name)}," for name in limits), "]",
                  f"from = {quoted(SOURCE)}"]
    return "\n".join(lines) + "\n"


def _slots(links: tuple[Link, ...]) -> Iterator[str]:
    """The slots that hold cards. One that no table names is left to the reader, who can see the print on the board."""
    named: set[str] = set()
    for link in links:
        if link.slot is not None and link.slot not in named:
            named.add(link.slot)
            yield from ("", "[[slot]]", f"label = {quoted(link.slot)}")
            yield '# riser = "R1": the sticker on the riser in this slot'
        elif link.slot is None:
            yield from ("", "# No table names this slot; uncomment, with the name printed on the board:",
                        "# [[slot]]", '# label = "..."', f"# root_port = {quoted(link.id)}")


def _blockers(facts: Facts, limits: Mapping[str, Any]) -> list[str]:
    """What holds for any machine, and the checks that read what was measured here: a number nobody requires is idle."""
    from boxcheck.profile import load_profile

    readers = [id for id, check in CHECKS.items() if set(check.limits) & set(limits)]
    inventory = ["inventory.gpu-count", "inventory.gpu-model"] if cards(facts) else []
    return sorted({*load_profile("generic").inspect, *readers, *inventory})
