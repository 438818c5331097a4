"""How often a link trained with all lanes at full speed, over the cold boots of a notebook. Pure.

A hundred retrainings in one boot do not stand for that: a cold start trains from nothing, with power supplies and
clocks that come up with it.
"""

from __future__ import annotations

from boxcheck.riser.evidence import Boot, Look, Notebook, Retrains


def cold_boots(notebook: Notebook) -> Retrains | None:
    """The tally of the link in question; None where no boot shows what it trained to. A speed that nobody read under
    load is no full speed, so such a boot is left out."""
    every = [found for boot in notebook.boots if (found := _trained(boot, notebook.slot)) is not None]
    if not every:
        return None
    return Retrains(
        tried=len(every), full=every.count("full"), narrow=every.count("narrow"), slow=every.count("slow"),
        down=every.count("down"))


def _trained(boot: Boot, slot: str) -> str | None:
    """By the first look under load as the box is used: later ones may be of a link that something changed since."""
    for look in boot.looks:
        held = look.conditions
        if look.slot == slot and held.speed_gts is None and not held.aspm_off and not held.power_capped and (
                found := _of(look)) is not None:
            return found
    return None


def _of(look: Look) -> str | None:
    if look.active is False and not look.dropped:
        return "down"
    if look.width is None or look.full_width is None:
        return None
    if look.width < look.full_width:
        return "narrow"
    if look.speed_gts is None or look.full_speed_gts is None:
        return None
    return "slow" if look.speed_gts < look.full_speed_gts else "full"


def in_words(tally: Retrains) -> str:
    """`2 of 3 cold boots full; 1 with fewer lanes`."""
    parts = [f"{count} {what}" for count, what in (
        (tally.narrow, "with fewer lanes"), (tally.slow, "at a lower speed"), (tally.down, "without a link")) if count]
    return "; ".join((f"{tally.full} of {tally.tried} cold boot{'' if tally.tried == 1 else 's'} full", *parts))
