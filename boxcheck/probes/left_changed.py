"""What an experiment of boxcheck changed in this boot and has not put back: links, power limits.

Reads   /run/boxcheck, which tells of all users' experiments                                 (any user)
        ~/.local/state/boxcheck/links/*.link.json and riser/*.power.json of whoever asks     (any user: one's own)
Absent  where no experiment was cut off; in captures of other tools and of older versions.
By hand ls /run/boxcheck ~/.local/state/boxcheck/links ~/.local/state/boxcheck/riser
"""

from __future__ import annotations

from typing import Any

import msgspec

from boxcheck.host import Host
from boxcheck.host.left_changed import LeftChanged, left_changed
from boxcheck.host.state import state_and_owner
from boxcheck.model import Unread
from boxcheck.registry import probe

BOOT_ID = "/proc/sys/kernel/random/boot_id"


class LeftBehind(msgspec.Struct, frozen=True):
    changed: tuple[LeftChanged, ...] | Unread


@probe("left_changed", LeftBehind)
def left_behind(host: Host) -> LeftBehind:
    def ask() -> Any:
        boot = host.text(BOOT_ID)
        return [msgspec.to_builtins(one) for one in left_changed(
            state_and_owner(host)[0], boot if isinstance(boot, str) else "")]

    answer = host.answer("boxcheck", "left-changed", ask)
    if isinstance(answer, Unread):
        return LeftBehind(answer)
    try:
        return LeftBehind(msgspec.convert(answer, tuple[LeftChanged, ...]))
    except (msgspec.ValidationError, RecursionError):
        return LeftBehind(Unread("what experiments left changed cannot be read", "malformed"))
