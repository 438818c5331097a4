"""Memory devices by socket and channel, so that "channel C of socket 0 is empty" can be said.

SMBIOS has no field for the channel that boards fill in (type 37 is never there): it stands in the two locator strings,
in either of them, in the board vendor's own spelling. Spellings known here, from linuxhw/DMI's captures and manuals:

| locator                      | bank locator            | boards                                      |
|------------------------------|-------------------------|---------------------------------------------|
| `DIMM_A1`, `DIMMA1`          | `NODE 1`, `BANK 0`      | ASUS KRPA-U16, ESC4000A; Supermicro, 1 CPU  |
| `P1-DIMMA1`                  | `P0_Node0_Channel0_Dimm0` | Supermicro, 2 CPUs                        |
| `DIMM 0`                     | `P0 CHANNEL A`          | ASRock Rack ROMED8-2T, ASUS WRX80E, AM5     |
| `CPU1_DIMM_A1`               | any                     | ASRock Rack, ASUS, 2 CPUs                   |
| `DIMM_P0_A0`                 | any                     | Gigabyte                                    |
| `Controller0-ChannelA-DIMM0` | `BANK 0`                | Intel's reference code                      |

The letter on the silk screen wins over a number, for it is what a person looks for. Numbers that start at 1 (`P1`,
`CPU1`) and such that start at 0 (`P0`) both exist, so the socket's number is taken relative to the lowest one in use.
A spelling that is not known gives None, never a guess: Dell's `A1` means CPU A, slot 1, and no channel.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence

import msgspec

from boxcheck.decode.smbios_facts import MemoryDevice, Smbios, missing
from boxcheck.decode.text import meaningful
from boxcheck.model import Unread


class ChannelKey(msgspec.Struct, frozen=True, order=True):
    """A memory channel: `socket` counts from 0, `channel` is the letter on the board, else the firmware's number."""

    socket: int
    channel: str

    def __str__(self) -> str:
        return f"channel {self.channel} of socket {self.socket}"


class _Spelled(msgspec.Struct, frozen=True):
    """What a locator says; each part is None where it says nothing."""

    channel: str | None = None
    socket: int | None = None
    from_zero: bool = False
    """Whether socket numbers of this spelling are known to start at 0."""


@functools.cache
def _printed() -> tuple[re.Pattern[str], ...]:
    """Spellings that follow what is printed on the board; sockets count from 0 or 1."""
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in (
        r"CPU(?P<socket>\d)[-_ ]?DIMM[-_ ]?(?P<channel>[A-Z])\d?",
        r"P(?P<socket>\d)[-_ ]DIMM[-_ ]?(?P<channel>[A-Z])\d?",
        r"DIMM[-_ ]P(?P<socket>\d)[-_ ](?P<channel>[A-Z])\d?",
        r"(?:CPU(?P<socket>\d)[-_ ])?(?:Controller(?P<controller>\d)-)?Channel(?P<channel>[A-Z])-DIMM\d",
        r"DIMM[-_ ]?(?P<channel>[A-Z])\d?",
    ))


@functools.cache
def _amd() -> tuple[re.Pattern[str], ...]:
    """Spellings of AMD's reference code; sockets count from 0."""
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in (
        r"P(?P<socket>\d) CHANNEL (?P<channel>[A-Z])",
        r"P(?P<socket>\d)_Node(?P<node>\d)_Channel(?P<number>\d{1,2})_Dimm\d",
    ))


def _spelled(texts: Sequence[str], patterns: Sequence[re.Pattern[str]], from_zero: bool) -> _Spelled:
    """What the first text that fits one of the patterns says."""
    for match in (pattern.fullmatch(text) for text in texts for pattern in patterns):
        if match is None:
            continue
        parts = match.groupdict()
        if parts.get("number") is not None:
            # Naples counts channels per node; later EPYCs have node 0 alone in NPS1.
            node, number = int(parts["node"]), int(parts["number"])
            channel = f"{number}" if node == 0 else f"{node}.{number}"
        else:
            controller = parts.get("controller")
            channel = ("" if controller is None else f"{int(controller)}") + parts["channel"].upper()
        socket = parts.get("socket")
        return _Spelled(channel, int(socket) if socket is not None else None, from_zero)
    return _Spelled()


def _read(device: MemoryDevice) -> _Spelled:
    """Channel and socket of one device from both strings: the channel as printed on the board, where that is there; the
    socket by AMD's own counting, where that is there."""
    texts = [text for text in (meaningful(device.locator), meaningful(device.bank_locator)) if text is not None]
    printed = _spelled(texts, _printed(), from_zero=False)
    amd = _spelled(texts, _amd(), from_zero=True)
    number = amd if amd.socket is not None else printed
    return _Spelled(printed.channel or amd.channel, number.socket, number.from_zero)


def memory_channels(smbios: Smbios) -> Mapping[ChannelKey | None, tuple[MemoryDevice, ...]]:
    """The sockets of main memory by channel, in the table's order. None holds those whose spelling is not known.

    A spelling without a socket number counts as socket 0 when the table shows at most one processor socket, else it is
    not known.
    """
    devices = smbios.system_memory_devices
    spelled = [_read(device) for device in devices]
    # Where the spelling leaves open whether sockets count from 0 or 1, the lowest number in use is the first socket.
    lowest = min((each.socket for each in spelled if each.socket is not None and not each.from_zero), default=0)
    one_socket = len(smbios.processors) <= 1
    groups: dict[ChannelKey | None, list[MemoryDevice]] = {}
    for device, each in zip(devices, spelled, strict=True):
        key = None
        if each.channel is not None and each.socket is not None:
            key = ChannelKey(each.socket - (0 if each.from_zero else lowest), each.channel)
        elif each.channel is not None and one_socket:
            key = ChannelKey(0, each.channel)
        groups.setdefault(key, []).append(device)
    return {key: tuple(members) for key, members in groups.items()}


def channel_of(device: MemoryDevice, smbios: Smbios) -> ChannelKey | None:
    """The channel of one device of `smbios`; None when its spelling is not known, or it is no main memory."""
    for key, members in memory_channels(smbios).items():
        if device in members:
            return key
    return None


def empty_channels(smbios: Smbios) -> tuple[ChannelKey, ...] | Unread:
    """The channels that have no memory in any socket, sorted; () when each has some.

    Unread when that cannot be known: the table is incomplete or has no memory devices, a spelling is unknown, or a
    socket of a channel that looks empty does not say whether it is.
    """
    if smbios.truncated is not None:
        return Unread(f"the SMBIOS table is incomplete: {smbios.truncated}", "malformed")
    groups = memory_channels(smbios)
    if not groups:
        return missing("memory device", 17, None)
    strangers = groups.get(None, ())
    if strangers:
        first = strangers[0]
        return Unread(f"the memory channel is not known from locator {first.locator!r} and bank "
                      f"{first.bank_locator!r} ({len(strangers)} of {len(smbios.system_memory_devices)} sockets)",
                      "unsupported")
    empty = []
    for key, members in groups.items():
        states = [member.installed for member in members]
        if any(state is True for state in states):
            continue
        for state in states:
            if isinstance(state, Unread):
                return state
        if key is not None:
            empty.append(key)
    return tuple(sorted(empty))
