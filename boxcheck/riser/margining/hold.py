"""What margining changes on a link beforehand, and its exact restoration.

ASPM off at both ends, hardware forbidden to change width and speed by itself (LnkCtl.9, LnkCtl2.5), runtime power
management on hold: a link that leaves L0 ends margining. Words are read, changed in those bits alone, and read back.

`kept` is the least that gives these back on any exit that Python sees. Whoever runs this for a person brings a holder
with a journal (`boxcheck.riser.links.hold.holding`), which holds signals as well, gives back all settings of the link,
and outlives the death of the program.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager

import msgspec

from boxcheck.model import Bdf, Unread
from boxcheck.riser.links.ports import End, LinkPair, Ports, Refused
from boxcheck.riser.margining.ready import Obstacle

LINK_CONTROL, LINK_CONTROL_2 = 0x10, 0x30
ASPM, RETRAIN, WIDTH_DISABLE, SPEED_DISABLE = 0x3, 0x20, 0x200, 0x20
TRIES = 5
GONE_SECONDS = 5.0
"""How long an end that left is waited for before its registers are given up."""


Hold = Callable[[Ports, LinkPair], AbstractContextManager[Ports]]
"""What gives a link back as it was, and what it is written through meanwhile."""


class NotGivenBack(Exception):
    """Something stayed changed, in a sentence that says what."""


def control_path(bdf: Bdf) -> str:
    return f"/sys/bus/pci/devices/{bdf}/power/control"


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """Bits of a register as they were."""

    bdf: Bdf
    offset: int
    mask: int
    value: int
    name: str


def insist(actions: Sequence[Callable[[], None]]) -> None:
    """Does every action, whatever interrupts it: an interrupted one is done again, and the interruption is raised when
    all are done. Refused and NotGivenBack are raised then as well, the first of them."""
    interruption: BaseException | None = None
    failure: Exception | None = None
    for action in actions:
        for _ in range(TRIES):
            try:
                action()
                break
            except (KeyboardInterrupt, SystemExit, GeneratorExit) as raised:
                interruption = interruption or raised
            except (Refused, NotGivenBack) as raised:
                failure = failure or raised
                break
    if failure is not None:
        raise failure from interruption
    if interruption is not None:
        raise interruption


def _word(ports: Ports, bdf: Bdf, offset: int) -> int | None:
    word = ports.read(bdf, offset, 2)
    return None if isinstance(word, Unread) or word == 0xFFFF else word


def _put(ports: Ports, bdf: Bdf, offset: int, mask: int, value: int, clear: int = 0) -> bool:
    """Sets bits of a 16-bit register; `clear`: bits that are written as 0. Whether they read back so."""
    word = _word(ports, bdf, offset)
    if word is None:
        return False
    if word & mask != value:
        ports.write(bdf, offset, 2, (word & ~mask & ~clear) | value)
        word = _word(ports, bdf, offset)
    return word is not None and word & mask == value


def ends(pair: LinkPair) -> tuple[End, ...]:
    return (pair.port,) if pair.card is None else (pair.port, pair.card)


@contextmanager
def kept(ports: Ports, pair: LinkPair) -> Generator[Ports]:
    """Gives back what `settle` changes, however the block is left. NotGivenBack with what did not come back."""
    fields = []
    for end in ends(pair):
        for offset, mask, name in ((LINK_CONTROL_2, SPEED_DISABLE, "LnkCtl2"), (LINK_CONTROL, WIDTH_DISABLE, "LnkCtl")):
            word = _word(ports, end.bdf, end.express + offset)
            if word is not None:
                fields.append(Field(bdf=end.bdf, offset=end.express + offset, mask=mask, value=word & mask, name=name))
    # ASPM comes last, the port before the card (5.0, section 5.4.1.3: enable upstream first, disable downstream first).
    for end in ends(pair):
        word = _word(ports, end.bdf, end.express + LINK_CONTROL)
        if word is not None:
            fields.append(Field(bdf=end.bdf, offset=end.express + LINK_CONTROL, mask=ASPM, value=word & ASPM,
                                name="LnkCtl"))
    power = [(end.bdf, text) for end in ends(pair)
             if not isinstance(text := ports.attribute(control_path(end.bdf)), Unread)]
    try:
        yield ports
    finally:
        insist([*(_giving_back(ports, field) for field in fields),
                *(_giving_power_back(ports, bdf, text) for bdf, text in power)])


def _giving_back(ports: Ports, field: Field) -> Callable[[], None]:
    def give_back() -> None:
        until = ports.seconds() + GONE_SECONDS
        while True:
            clear = RETRAIN if field.name == "LnkCtl" else 0
            if _put(ports, field.bdf, field.offset, field.mask, field.value, clear):
                return
            if ports.seconds() >= until:
                break
            ports.sleep(0.05)
        raise NotGivenBack(f"{field.name} of {field.bdf} could not be set back to {field.value:#x} in its bits "
                          f"{field.mask:#x}: a cold boot does it")

    return give_back


def _giving_power_back(ports: Ports, bdf: Bdf, text: str) -> Callable[[], None]:
    def give_back() -> None:
        if ports.attribute(control_path(bdf)) != text:
            ports.set_attribute(control_path(bdf), text)

    return give_back


def settle(ports: Ports, pair: LinkPair) -> Obstacle | None:
    """Makes the link stay as it is. What stands against it is returned; what was changed by then is for the holder
    to give back."""
    try:
        for end in ends(pair):
            path = control_path(end.bdf)
            if ports.attribute(path) == "auto":
                ports.set_attribute(path, "on")
        # Downstream first: see `kept`.
        for end in reversed(ends(pair)):
            if not _put(ports, end.bdf, end.express + LINK_CONTROL, ASPM, 0, RETRAIN):
                return Obstacle(kind="power-saving", end=None,
                                says=f"ASPM of {end.bdf} cannot be switched off: LnkCtl keeps it on",
                                help="switch ASPM off in the firmware, or boot with pcie_aspm=off")
        # Both bits may be wired to 0 (7.5.3.7, 7.5.3.19): what changes all the same is seen, as speed and width are
        # watched.
        for end in ends(pair):
            _put(ports, end.bdf, end.express + LINK_CONTROL, WIDTH_DISABLE, WIDTH_DISABLE, RETRAIN)
            _put(ports, end.bdf, end.express + LINK_CONTROL_2, SPEED_DISABLE, SPEED_DISABLE)
    except Refused as refused:
        return Obstacle(kind="lockdown" if refused.kind == "lockdown" else "refused", says=refused.says,
                        help=refused.help)
    return None
