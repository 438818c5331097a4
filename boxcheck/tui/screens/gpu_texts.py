"""What the screen of a GPU says beside its curves."""

from __future__ import annotations

from textual.content import Content

from boxcheck.checks.wording import clock
from boxcheck.tui.frame import GONE_SECONDS, OLD_SECONDS, SILENT_SECONDS, Frame, GpuRow
from boxcheck.tui.look import OF_OUTCOME, OF_STATE, STATE_WORD, Glyphs, figure, filled, plain
from boxcheck.tui.widgets.panes import link_errors, link_state


def head(row: GpuRow, frame: Frame, glyphs: Glyphs, width: int) -> Content:
    places = plain("  ".join(filter(None, (row.slot, row.bdf, row.name, row.arch))))
    if row.serial and len(places) + len(row.serial) + 28 <= width:  # it stands below once more
        places += plain(f"  serial {row.serial}")
    now = []
    if not row.is_stale:
        heat = (("core", row.core_celsius), ("junction", row.junction_celsius), ("memory", row.memory_celsius))
        for name, value in heat:
            if value is not None:
                now.append(f"{name} {value:.0f} {glyphs.degree}")
        if row.watts is not None:
            now.append(f"{row.watts:.0f}{f' of {row.limit_watts:.0f}' if row.limit_watts else ''} W")
        if row.clock_mhz is not None:
            now.append(f"{row.clock_mhz:.0f} MHz")
        if row.fan:
            now.append(f"fan {plain(row.fan)}")
        if row.held is not None:
            now.append(f"held by {plain(', '.join(one.says for one in row.held)) or 'nothing'}")
        if frame.as_of:
            now.append(f"({frame.as_of})")
    elif not row.is_gpu:
        now.append("a processor: its heat and power are the host's")
    else:
        now.append("no reading" if row.told_seconds is None else f"no reading for {row.told_seconds:.0f} s")
    age = (row.rate_age_seconds or 0.0) if frame.ages_count else 0.0
    ago = f" {age:.0f} s ago" if age > (SILENT_SECONDS if row.state == "silent" else OLD_SECONDS) else ""
    rate = plain(f"{row.what} {figure(row.rate)} {row.unit}{ago}")
    if row.rate is None or row.state == "lost" or age > GONE_SECONDS:
        gone = "no rate: it is lost" if row.state == "lost" else f"no rate for {age:.0f} s"
        rate = "no rate yet" if row.rate is None else gone
    if row.percent is not None and age <= GONE_SECONDS:
        rate += f", {row.percent:.0f} % of {figure(row.expected)}"
    return Content.assemble(
        (f" {row.title}  ", "bold"), (f"{STATE_WORD[row.state]}", f"bold {OF_STATE[row.state]}"), f"  {places}\n",
        "\n".join(filled("   ".join(now), width, " ")), "\n",
        "\n".join(filled(f"{rate}   {row.wrong} wrong", width, " ")),
        (f"\n{chr(10).join(filled(row.why, width, ' '))}" if row.why else "", OF_STATE[row.state]))


def link(row: GpuRow, frame: Frame, glyphs: Glyphs) -> Content:
    if not row.chain:
        why = "it is not on PCIe" if row.bdf is None else "none that is read"
        return Content.styled(f"\n link: {why}", "$quiet")
    lines = [Content.styled("\n link, from the root down", "bold")]
    for depth, one in enumerate(row.chain):
        lead = "  " + ("" if depth == 0 else "   " * (depth - 1) + glyphs.tree[1])
        last = "  (the card)" if depth == len(row.chain) - 1 else ""
        blames = frame.blaming(one.bdf)
        blamed = (f"  blamed, {blames[0].outcome.value}", f"bold {OF_OUTCOME[blames[0].outcome]}") if blames else ""
        lines.append(Content.assemble(
            f"{lead}{one.bdf:<14} {link_state(one):<9} errors ", *link_errors(one), blamed, (last, "$quiet")))
    return Content("\n").join(lines)


def findings(row: GpuRow, frame: Frame, width: int) -> Content:
    mine = [one for one in frame.problems if one.is_of(row)]
    ways = {row.key, row.bdf, *(one.bdf for one in row.chain)}
    events = [one for one in frame.events if one.subject in ways]
    lines = [Content.styled("\n found", "bold")] if mine or events else []
    for one in mine:
        first, *rest = filled(one.says, width - 11)
        lines += [
            Content.assemble((f"  {one.outcome.value:<9}", OF_OUTCOME[one.outcome]), first),
            *(Content(f"{'':<11}{line}") for line in rest), Content.styled(f"{'':<11}{plain(one.check)}", "$quiet")]
    lines += [Content.assemble((f"  {clock(one.seconds)}  ", "$quiet"), plain(one.says)) for one in events[-8:]]
    return Content("\n").join(lines)


def numbers(row: GpuRow) -> Content:
    """Which card it is, wherever it sits."""
    if row.bdf is None:
        return Content("")
    lines = [Content.styled("\n card", "bold")]
    for name, value in (("serial", row.serial), ("UUID", row.uuid)):
        told = (plain(value), "") if value else ("not told by its driver", "$quiet")
        lines.append(Content.assemble((f"  {name:<8}", "$quiet"), told))
    return Content("\n").join(lines)


def by_hand(row: GpuRow) -> Content:
    if row.bdf is None:
        return Content("")
    lines = [f"lspci -vvs {row.bdf}", f"grep . /sys/bus/pci/devices/{row.bdf}/{{current_link_*,aer_dev_*}}"]
    if row.key.startswith("cuda"):
        lines.insert(0, f"nvidia-smi -i {row.bdf} -q")
    elif row.key.startswith("hip"):
        lines.insert(0, "amd-smi metric")
    return Content.styled("\n by hand\n" + "\n".join(f"  {line}" for line in lines), "$quiet")
