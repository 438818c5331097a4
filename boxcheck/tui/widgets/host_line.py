"""The line of the host: processor, memory, drives, mains, fans, and what the host's own modules measure."""

from __future__ import annotations

import msgspec
from textual.content import Content
from textual.widgets import Static

from boxcheck.tui.frame import GONE_SECONDS, OLD_SECONDS, Frame, HostRow
from boxcheck.tui.look import Glyphs, Style, cut, plain

LEAD, GAP = " host   ", "   "
EXTRA = 7
"""Parts of this weight and more are left out before any other is made short."""


class Part(msgspec.Struct, frozen=True):
    """One part of the line."""

    weight: int
    """Shortened, and then left out, the sooner the higher it is."""
    forms: tuple[str, ...]
    """The longest first."""
    style: Style = ""


class HostLine(Static):
    def show(self, frame: Frame, glyphs: Glyphs) -> None:
        host = frame.host
        if host is None:
            self.update(Content.styled(f"{LEAD}nothing was read of it yet", "$quiet"), layout=False)
            return
        width = self.size.width or 80
        parts = fitting(parts_of(host, frame, glyphs), width)
        pieces: list[tuple[str, str] | str] = [LEAD]
        for at, (text, style) in enumerate(parts):
            pieces += [GAP if at else "", (text, style)]
        self.update(Content.assemble(*pieces), layout=False)


def fitting(parts: list[Part], width: int) -> list[tuple[str, Style]]:
    """The parts in their order, as long as they can be. The least weighty alone is cut where even it is too long."""
    shown = [(part, list(part.forms)) for part in parts]
    while len(shown) > 1 and len(LEAD) + len(GAP.join(forms[0] for _, forms in shown)) > width:
        longest = [pair for pair in shown if len(pair[1]) > 1]
        last = max(shown, key=lambda pair: pair[0].weight)
        if longest and last[0].weight < EXTRA:  # first all are made short, and then some left out
            max(longest, key=lambda pair: pair[0].weight)[1].pop(0)
        else:
            shown.remove(last)
    # A part that was made short for the sake of one that was left out in the end is long again where there is room.
    for at, (part, forms) in sorted(enumerate(shown), key=lambda pair: pair[1][0].weight):
        for form in part.forms:
            others = [one[0] for place, (_, one) in enumerate(shown) if place != at]
            if len(LEAD) + len(GAP.join((*others, form))) <= width:
                forms[:] = [form]
                break
    return [(cut(forms[0], max(8, width - len(LEAD))), part.style) for part, forms in shown]


def parts_of(host: HostRow, frame: Frame, glyphs: Glyphs) -> list[Part]:
    rates = [
        Part(1, (f"{plain(what)} {value:.1f} {plain(unit)}"
                 f"{f', {age:.0f} s ago' if frame.ages_count and age > OLD_SECONDS else ''}",))
        for what, value, unit, age in host.rates if not frame.ages_count or age <= GONE_SECONDS]
    if host.told_seconds is not None and host.is_stale:
        return [Part(0, (f"no reading for {host.told_seconds:.0f} s",), "$unknown"), *rates]
    found = [*_processor(host, glyphs)]
    if host.memory_used_bytes is not None and host.memory_total_bytes:
        used, total = host.memory_used_bytes / 2**30, host.memory_total_bytes / 2**30
        found.append(Part(2, (f"memory {used:.0f} of {total:.0f} GiB", f"mem {used:.0f}/{total:.0f} GiB")))
    found += [*_around(host, glyphs), *rates]
    if host.clock_mhz is not None:
        found.append(Part(7, (f"{host.clock_mhz / 1000:.2f} GHz",)))
    found = found or [Part(0, ("nothing was read of it",), "$quiet")]
    # What is not of now says so, before there is room for another figure.
    return found if frame.live else [*found, Part(1, (frame.as_of, frame.as_of.removeprefix("as it was ")))]


def _processor(host: HostRow, glyphs: Glyphs) -> list[Part]:
    heat = "" if host.celsius is None else f"{host.celsius:.0f} {glyphs.degree}"
    told = [
        "" if host.busy_percent is None else f"cpu {host.busy_percent:.0f} %",
        f"{plain(host.sensor)} {heat}" if heat else "", "" if host.watts is None else f"{host.watts:.0f} W"]
    short = [told[0], heat, told[2]]
    if not any(told):
        return []
    lead = "" if told[0] else "cpu "
    return [Part(0, (lead + GAP.join(filter(None, told)), lead + ", ".join(filter(None, short))))]


def _around(host: HostRow, glyphs: Glyphs) -> list[Part]:
    """Drives, mains, fans; in a word those that were not read, which is no zero."""
    if host.box_is_stale:
        since = "" if host.box_seconds is None else f" for {host.box_seconds:.0f} s"
        return [Part(8, (f"nvme, mains, fans not read{since}",), "$quiet")]
    found, drives, fans = list[Part](), host.drives, host.fans
    if drives is not None:
        heat = "" if drives.celsius is None else f"{drives.celsius:.0f} {glyphs.degree}"
        busy = "" if drives.busy_percent is None else f"{drives.busy_percent:.0f} % busy"
        some = f"{drives.unread} not read" if drives.unread and heat else ""
        short = ", ".join(filter(None, (heat or busy, some)))
        found.append(Part(4, (f"nvme {', '.join(filter(None, (heat, busy, some)))}", f"nvme {short}")))
    if host.mains_watts is not None:
        found.append(Part(3, (f"mains {host.mains_watts:.0f} W",)))
    if fans is not None and fans.least_rpm is not None and fans.most_rpm is not None:
        one = f"{fans.least_rpm:.0f}"
        most = "" if fans.most_rpm == fans.least_rpm else f"-{fans.most_rpm:.0f}"
        some = f", {fans.unread} not read" if fans.unread else ""
        found.append(Part(5, (f"fans {one}{most} rpm{some}",)))
    if fans is not None and fans.standing:
        more = f" and {len(fans.standing) - 1} more" if len(fans.standing) > 1 else ""
        found.append(Part(0, (
            f"fan {plain(fans.standing[0])}{more} has stopped",
            f"{len(fans.standing)} fan{'s' if more else ''} stopped"), "$marginal"))
    unread = [name for name, told in (("nvme", drives), ("mains", host.mains_watts), ("fans", fans)) if told is None]
    return [*found, *([Part(8, (f"{', '.join(unread)} not read",), "$quiet")] if unread else [])]
