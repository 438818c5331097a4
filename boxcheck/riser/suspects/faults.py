"""How bad parts behave, and how often they are bad: all that the weighing of suspects believes beforehand. Pure data.

Sources: "who logs which error" and the AER table (Linux drivers/pci/pcie/aer.c; PCI Express Base Specification), build
logs of boxes with risers (mov-axbx.com/wopr, level1techs 190742, op-build issue 678, open-gpu-kernel-modules issues
1151 and 1010). Nobody publishes how often which part fails: the shares are judgement, each with its reason, and mild,
so that what is measured outweighs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from boxcheck.riser.evidence import PartKind

Family = Literal["signal", "contact", "power", "latency", "setting"]


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """One way of being bad. Rates are those at full speed, neighbours loaded, uncapped and hot; each condition that is
    milder takes off so many decades. Symptoms are probabilities that a boot shows them."""

    family: Family
    says: str
    """What it is, as a clause."""
    slower: float = 0.0
    """Decades for each halving of the speed."""
    quiet: float = 0.0
    capped: float = 0.0
    cold: float = 0.0
    aspm_off: float = 0.0
    absent: float = 0.01
    narrow: float = 0.02
    slow: float = 0.02
    dropped: float = 0.03
    errors: Literal["always", "maybe", "seldom", "none"] = "always"
    """Whether it damages bits."""
    every_time: bool = False
    """What it does to lanes or speed it does in every training of a boot."""
    late_only: bool = False
    """Packets are late, and none is damaged: Timeout at the sender alone."""
    one_lane: float = 0.3
    """Probability that lanes, where they are told apart, show one or two bad ones and not many."""
    spares: float = 0.4
    """Of a supply: that a card on it stays clean, since it draws less, its regulators make good what sags, or the lead
    to one card alone is bad."""
    by_setting: bool = False
    """The link can do more, and was told not to."""


BEHAVIOURS: Mapping[str, Behaviour] = {
    # Loss, reflections: the eye closes. The bit error rate falls by decades for each halving of the speed, since a
    # Gaussian tail does; how many depends on how far the eye is closed.
    "loss": Behaviour(family="signal", slower=3.0, says="too much loss at this speed"),
    "loss-steep": Behaviour(family="signal", slower=7.0, says="too much loss at this speed"),
    "loss-mild": Behaviour(family="signal", slower=1.3, says="too much loss at this speed"),
    "crosstalk": Behaviour(family="signal", slower=3.0, quiet=1.5, says="crosstalk from its neighbours"),
    "crosstalk-steep": Behaviour(family="signal", slower=4.0, quiet=4.0, says="crosstalk from its neighbours"),
    "warm": Behaviour(family="signal", slower=3.0, cold=1.2, says="a margin that heat uses up"),
    "warm-steep": Behaviour(family="signal", slower=4.0, cold=3.5, says="a margin that heat uses up"),
    "breaks-off": Behaviour(family="signal", slower=2.0, dropped=0.5, absent=0.1, errors="maybe",
                            says="the link breaks off"),
    "trains-slow": Behaviour(family="signal", slower=3.0, slow=0.65, errors="maybe", says="training falls back"),
    "trains-narrow": Behaviour(family="signal", slower=3.0, narrow=0.55, errors="maybe", says="lanes are lost"),
    "trains-not": Behaviour(family="signal", absent=0.85, narrow=0.05, slow=0.1, errors="maybe",
                            says="the link does not train"),
    "carries-less": Behaviour(family="signal", slow=0.95, errors="none", says="it is made for a lower speed"),
    # A contact is bad at every speed, and often one lane's alone (bent or dirty finger).
    "contact": Behaviour(family="contact", slower=0.3, one_lane=0.75, says="a bad contact"),
    "contact-warm": Behaviour(family="contact", slower=0.3, cold=1.2, one_lane=0.75, says="a contact that heat opens"),
    "contact-hot": Behaviour(family="contact", slower=0.3, cold=3.5, one_lane=0.75, says="a contact that heat opens"),
    "lanes-open": Behaviour(family="contact", slower=0.3, narrow=0.97, one_lane=0.75, errors="seldom",
                            every_time=True, says="contacts of some lanes are open"),
    "lanes-lost": Behaviour(family="contact", slower=0.3, narrow=0.75, one_lane=0.75, errors="maybe",
                            says="contacts of some lanes are open"),
    "loose": Behaviour(family="contact", slower=0.1, absent=0.12, narrow=0.2, dropped=0.55, errors="maybe",
                       says="a loose contact"),
    "open": Behaviour(family="contact", absent=0.9, errors="none", says="an open contact: presence, clock or reset"),
    # A sagging supply closes both eyes of all its links, at any speed, when current flows; the weakest lane goes first.
    "sag-shared": Behaviour(family="power", quiet=2.0, capped=1.0, dropped=0.1, one_lane=0.2,
                            says="voltage sags when its cards draw power together"),
    "sag-steep": Behaviour(family="power", quiet=4.5, capped=0.2, dropped=0.1, one_lane=0.2,
                           says="voltage sags when its cards draw power together"),
    "sag-all": Behaviour(family="power", quiet=3.5, capped=3.5, dropped=0.1, one_lane=0.2,
                         says="voltage sags when its cards draw power together"),
    "sag-own": Behaviour(family="power", quiet=0.2, capped=2.0, dropped=0.1, one_lane=0.2,
                         says="voltage sags when the card draws power"),
    "sag-own-steep": Behaviour(family="power", quiet=0.2, capped=4.5, dropped=0.1, one_lane=0.2,
                               says="voltage sags when the card draws power"),
    # Noise is there for all of them, and so is no voltage at all.
    "ripple": Behaviour(family="power", quiet=0.7, capped=0.4, one_lane=0.2, spares=0.3, says="noise on the supply"),
    "hum": Behaviour(family="power", one_lane=0.2, spares=0.3, says="noise on the supply whatever its load"),
    "power-drops": Behaviour(family="power", quiet=1.5, capped=1.5, dropped=0.65, one_lane=0.2, errors="maybe",
                             says="cards lose power under load"),
    "power-dead": Behaviour(family="power", absent=0.9, errors="none", spares=0.1, says="no power"),
    # Latency: nothing is damaged.
    "aspm": Behaviour(family="latency", aspm_off=6.0, late_only=True, says="the link wakes up too late (ASPM)"),
    "late": Behaviour(family="latency", quiet=0.5, late_only=True, says="acknowledgements come too late"),
    # Settings: constant, exact, and without errors.
    "capped": Behaviour(family="setting", slow=0.98, errors="none", every_time=True, by_setting=True,
                        says="its speed is capped by a setting"),
    "split": Behaviour(family="setting", narrow=0.98, errors="none", every_time=True, by_setting=True,
                       says="its lanes are shared out by a setting"),
    "switched-off": Behaviour(family="setting", absent=0.97, errors="none", by_setting=True,
                              says="the slot is switched off, or its card gets no address space"),
}

SHARES: Mapping[PartKind, Mapping[str, float]] = {
    # A riser is mostly a loss problem ("all fine at Gen3, not at Gen4"), then its connectors, then its own power lead.
    "riser": {
        "loss": 18, "loss-steep": 12, "loss-mild": 8, "crosstalk": 3, "crosstalk-steep": 3, "warm": 3, "warm-steep": 3,
        "breaks-off": 7, "lanes-open": 4, "trains-slow": 8, "trains-narrow": 4, "trains-not": 5, "carries-less": 4,
        "contact": 10, "contact-warm": 2,
        "lanes-lost": 5, "loose": 4, "open": 5, "sag-own": 1, "sag-own-steep": 1, "late": 3},
    # Pins of a slot bend and collect dirt, its traces do not change: what worked once goes bad at the contacts; the
    # longest traces of a board are short of margin from the start.
    "slot": {
        "loss": 16, "loss-steep": 9, "loss-mild": 7, "crosstalk": 3, "crosstalk-steep": 3, "warm": 2, "warm-steep": 2,
        "breaks-off": 5, "lanes-open": 9, "trains-slow": 7, "trains-narrow": 5, "trains-not": 4, "carries-less": 3,
        "contact": 22, "contact-warm": 2,
        "lanes-lost": 9, "loose": 3, "open": 5, "ripple": 2, "late": 2},
    # A card has a receiver, a transmitter, gold fingers and a power stage of its own.
    "card": {
        "loss": 16, "loss-steep": 9, "loss-mild": 7, "crosstalk": 2, "crosstalk-steep": 2, "warm": 4, "warm-steep": 4,
        "breaks-off": 5, "lanes-open": 4,
        "trains-slow": 7, "trains-narrow": 5, "trains-not": 4, "carries-less": 2, "contact": 12, "contact-warm": 2,
        "lanes-lost": 5, "loose": 3, "open": 4, "sag-own": 4, "sag-own-steep": 3, "sag-steep": 1, "ripple": 2,
        "power-drops": 2, "late": 2},
    "seat": {
        "loss": 7, "loss-mild": 4, "loss-steep": 3, "crosstalk": 1, "crosstalk-steep": 1, "warm-steep": 1,
        "trains-slow": 4, "trains-narrow": 3, "breaks-off": 3, "contact": 28, "contact-warm": 3, "contact-hot": 3,
        "lanes-lost": 12, "lanes-open": 10, "loose": 12, "open": 10},
    "supply": {
        "sag-shared": 18, "sag-steep": 14, "sag-all": 10, "sag-own": 9, "sag-own-steep": 8, "ripple": 9, "hum": 7,
        "power-drops": 18, "power-dead": 7},
    "setting": {"aspm": 40, "capped": 22, "split": 14, "switched-off": 6},
}
"""How the faults of a kind of part share out, in parts of their sum."""
ALSO = {"slot": 0.8, "riser": 0.8, "card": 0.8, "seat": 0.8}
"""What a slot, riser, card or contact may be like beside: any behaviour but settings. None is told from another by a
behaviour that this table forgot."""

WEIGHTS: Mapping[PartKind, float] = {
    "riser": 2.5,  # convention among builders, and most stories in the build logs, end at the riser
    "seat": 1.6,  # "reseat" is what helps often; two connectors for each riser
    "card": 1.1,  # new cards seldom fail, used ones do
    "slot": 1.0,
    "setting": 1.2,  # firmware that splits or caps a slot, ASPM
    "supply": 1.8,  # for each supply, of which there are few
}
"""How often a part of this kind is the bad one, against the others of its link. Risers and contacts come first by all
accounts; by how much nobody knows, and whoever gets here has mostly reseated and replaced what was at hand."""

HEALTHY = 0.15
"""Nobody starts this without a reason, and some reasons are software."""
TWO_BAD = 0.1
"""Of boxes with a bad part: a second one is bad too."""
ASKED = 2.5
"""How much likelier a part is for being on the link that the operator was led to."""
SPARE = 0.2
"""A spare that is believed to be good, against a riser of the box."""
SPOILT = 0.03
"""A mating that was good is bad after plugging anew."""

CURED = 0.9
"""Bad contacts are good after they were plugged anew. A riser has two: a card that is moved renews one of them."""
NOT_DONE = 0.1
"""Steps that are not done as they were asked: labels read wrongly, two risers exchanged back, a reseat left out."""
NOT_DONE_STRAYED = 0.5
"""The same for risers where the cards show that the step went wrong."""
TOOK_ALONG = 0.05
"""Cards that were to be moved alone and took their risers along: they are mostly screwed to one bracket, and who was
asked for the card alone mostly heeds it."""
TOOK_ALONG_STRAYED = 0.2
"""The same where cards are not where they were asked to be."""
TOOK_ALONG_UNASKED = 0.5
"""The same where nobody was asked to move cards: one is as likely as the other."""
TOOK_ALONG_AGAIN = 0.8
"""The same of who did it before: it is a habit, or a matter of screws, and no slip."""

DECADES_BETWEEN_BOOTS: Mapping[float, float] = {
    0.0: 0.15, **{sign * decades: share for sign in (-1, 1) for decades, share in (
        (0.5, 0.14), (1.0, 0.115), (1.5, 0.085), (2.0, 0.05), (2.5, 0.022), (3.0, 0.01), (3.5, 0.003))}}
"""A rate is another after each cold boot (training picks other equaliser settings), up to 100-fold; over several boots
it may wander further, and no second part need be bad for that."""
DECADES_BETWEEN_LINKS: Mapping[float, float] = {-1.0: 0.14, -0.5: 0.22, 0.0: 0.28, 0.5: 0.22, 1.0: 0.14}
"""Links of one bad supply in one boot: it sags for all of them at once, and some stand it better."""
RESPONDS = 0.3
"""A bad part that cares for how it is plugged: a crack, a worn finger. Most have the same fault every time."""
ASLEEP = 0.33
"""One that cares and shows nothing after it was plugged anew, until it is plugged again: pressure on a crack, or margin
enough with its new partners."""
FED_BY_ANOTHER = 0.5
"""A card that stays clean where nobody said which supply feeds what: there may be several."""
OTHER_DIRECTION = (0.25, 2.0)
"""Where one direction is damaged: probability that the other one is too, and how many decades less."""
TURNED = 0.5
"""One that cares damages other lanes, so maybe the other direction, after it was plugged anew."""
TURNED_TOGETHER = 0.25
"""A supply harms another direction of its links in another boot."""
OWN_DIRECTION = 0.5
"""A supply harms the receivers of one card more at this end, of another more at that."""
CHANGED = 0.6
"""One that cares has another rate after it was plugged anew, as far from the old one as two boots are."""

HEALTHY_RATES: Mapping[float, float] = {1e-18: 0.45, 1e-17: 0.2, 1e-16: 0.17, 3e-16: 0.08, 1e-15: 0.06, 1e-14: 0.04}
"""Errors per bit of a link with nothing wrong. The specification allows 1e-12; good links are far below it."""
STRAY = 0.012
"""A count of a healthy direction that comes from elsewhere: one RxErr at link-up, a driver that was loaded anew."""
SYMPTOM_OF_HEALTHY: Mapping[str, float] = {"absent": 5e-4, "narrow": 5e-4, "slow": 1e-3, "dropped": 5e-4}

DIRECTIONS: Mapping[Family, tuple[float, float, float]] = {
    # bits toward the card alone, toward the host alone, both
    "signal": (0.38, 0.38, 0.24), "contact": (0.35, 0.35, 0.3), "power": (0.15, 0.15, 0.7),
    "latency": (0.0, 0.0, 1.0), "setting": (0.0, 0.0, 1.0)}
"""A slot sends toward the card and receives from it, as a card does, and a riser carries both: which direction is bad
tells a lane pair from a supply, and not a slot from a riser. A contact may be one of ground or clock, which harms
both."""

TRUST = 0.7
"""Exponent on the odds of what the model holds for likelier than not. Chosen by calibration in made-up boxes
(tests.bench.riser_swaps, 200 boxes of seed 909090): the likeliest of 0.4 to 1.05 by the guilt of 172 first suspects."""
FOUND = 0.905
"""From this probability on, after TRUST, a suspect is accused: about 96 % before it."""
NO_FINDING = 0.4
"""A setting at fault of which doctor says nothing, against a part of which it could say nothing; where doctor did say
something of another setting, so that it was asked:"""
NO_FINDING_WHEN_ASKED = 0.3
FINDING = 15.0
"""A setting of which doctor says something, against one of which it does not: what it says it has from registers."""
EXCLUDED = 0.03
"""A setting that doctor excludes by what registers hold: they can be read at a bad moment, and a firmware may lie."""
LANE_LEFT_OUT = 0.6
"""A link that trained with fewer lanes left out the bad one, and is clean."""
CLEARED = 0.95
"""From this probability that nothing is at fault, the box is called healthy."""
