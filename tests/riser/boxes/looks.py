"""One boot as the command would have read it: each link as it is used, then under what the box allows to hold."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.riser.evidence import Boot, Conditions, Look, Place, Retrains, Step, Way
from tests.riser.boxes.box import Box
from tests.riser.boxes.chance import poisson
from tests.riser.boxes.counters import Hits, counted, hit
from tests.riser.boxes.faults import Toward
from tests.riser.boxes.margins import lane_margins
from tests.riser.boxes.physics import (
    BACKGROUND,
    GENERATION,
    GTS,
    Trained,
    bit_error_rate,
    dose,
    live,
    train,
)

SECONDS = 60.0
RETRAINS = 20
LINK_UP_ERROR = 0.1
"""How often a link gives a receiver error once, when it leaves its idle speed for the first time."""
LOADED_SHARE = 0.75
"""Of a link's traffic, where all links share the host's memory."""
WAYS: tuple[Toward, Toward] = ("card", "host")
RECEIVER = {"card": "card", "host": "port"}
SENDER = {"card": "port", "host": "card"}


def boot(box: Box, asked: Step | None = None, wanted: dict[str, str | None] | None = None) -> Boot:
    """Starts the box and looks at everything that may be looked at. `wanted`: slot -> card as it was asked for."""
    box.lost.clear()
    trained = {slot: train(box, slot, box.source) for slot in box.slots}
    places = tuple(
        Place(slot=slot, riser=box.labels[slot], supply=box.supplies[slot] if box.supply_known else "",
              card=seat.card if trained[slot].active else None)
        for slot, seat in box.seats.items())
    looks = tuple(_looks(box, trained, _watched(box, asked)))
    meant = {card: slot for slot, card in (wanted or {}).items() if card is not None}
    strayed = tuple(
        f"card {place.card} sits in {place.slot} and not in {meant[place.card]}" for place in places
        if place.card in meant and meant[place.card] != place.slot)
    return Boot(
        id=f"boot-{box.seed}-{box.index}-{box.boot}", started=1_800_000_000.0 + 3600 * box.boot, places=places,
        looks=looks, asked=asked, strayed=strayed)


def _watched(box: Box, asked: Step | None) -> list[str]:
    """Slots whose links are experimented with: the one in question and those where parts were moved to."""
    named = [move.to for move in asked.moves] if asked is not None else []
    return [slot for slot in box.slots if slot == box.reported or slot in named]


def _looks(box: Box, trained: dict[str, Trained], watched: list[str]) -> Iterator[Look]:
    for slot in box.slots:
        yield look(box, slot, trained[slot], Conditions(), first=True)
    held = [Conditions(neighbours="loaded", hot=False if box.takes_time else None)]
    if box.takes_time:
        held.append(Conditions(neighbours="loaded", hot=True))
    if box.caps_power:
        held.append(Conditions(neighbours="loaded", power_capped=True))
    for conditions in held:
        for slot in box.slots:
            if trained[slot].active:
                yield look(box, slot, trained[slot], conditions)
    for slot in watched if box.writes else ():
        yield from _experiments(box, slot, trained[slot])
    if box.margining:
        siblings = [slot for slot in box.slots if slot not in watched][:2]
        for slot in (*watched, *siblings):
            if trained[slot].active and trained[slot].generation >= 4 and slot not in box.lost:
                yield Look(
                    slot=slot, active=True, present=_felt(box, trained[slot]), width=trained[slot].width,
                    speed_gts=trained[slot].speed_gts, full_width=box.lanes, full_speed_gts=box.speed_gts,
                    margins=lane_margins(box, slot, trained[slot]))


def _experiments(box: Box, slot: str, trained: Trained) -> Iterator[Look]:
    if not trained.active or slot in box.lost:
        return
    lower = [generation for generation in (trained.generation - 1, 3, 2) if 0 < generation < trained.generation]
    for generation in dict.fromkeys(lower[:2]):
        yield look(box, slot, trained, Conditions(speed_gts=GTS[generation]))
    yield look(box, slot, trained, Conditions(aspm_off=True))
    tally = [train(box, slot, box.source) for _ in range(RETRAINS)]
    came = [one for one in tally if one.active]
    yield Look(
        slot=slot, present=_felt(box, trained), active=True, width=trained.width, speed_gts=trained.speed_gts,
        full_width=box.lanes, full_speed_gts=box.speed_gts,
        retrains=Retrains(
            tried=RETRAINS, full=sum(one.width == box.lanes and one.generation == box.generation for one in came),
            narrow=sum(one.width < box.lanes for one in came),
            slow=sum(one.generation < box.generation for one in came), down=RETRAINS - len(came),
            longest_seconds=round(box.source.uniform(0.01, 0.2), 3),
            incomplete_equalisation=sum(one.generation < box.generation for one in came)))


def _felt(box: Box, trained: Trained) -> bool | None:
    return trained.present if box.presence else None


def look(box: Box, slot: str, trained: Trained, conditions: Conditions, *, first: bool = False) -> Look:
    """A minute of traffic in both directions."""
    source, felt = box.source, _felt(box, trained)
    if not trained.active or slot in box.lost:
        return Look(slot=slot, conditions=conditions, present=felt, active=False, full_width=box.lanes,
                    full_speed_gts=box.speed_gts)
    generation = trained.generation
    if conditions.speed_gts is not None:
        generation = min(generation, GENERATION[conditions.speed_gts])
    seconds, dropped = _dropped(box, slot, conditions)
    raw = GTS[generation] * 1e9 * trained.width * seconds
    payload = box.efficiency * (LOADED_SHARE if conditions.neighbours == "loaded" else 1.0)
    hits = {toward: _hits(box, slot, toward, conditions, trained, generation, raw, payload, seconds) for toward in WAYS}
    late: dict[Toward, Hits] = {"card": Hits(), "host": Hits()}
    if not conditions.aspm_off:
        for fault in live(box, slot):
            if fault.symptom == "timeouts":
                number = poisson(source, fault.per_minute * seconds / 60)
                late[fault.sender].unacknowledged += [source.uniform(0, seconds) for _ in range(number)]
                if number and box.counts in ("both", SENDER[fault.sender]):
                    fault.traced_in.add(box.boot)
    if first and source.random() < LINK_UP_ERROR:
        hits[source.choice(WAYS)].rx.append(source.uniform(0.0, min(seconds, 0.5)))
    ways = tuple(
        _way(box, toward, hits[toward], hits[_other(toward)], late[toward], raw, payload, seconds) for toward in WAYS)
    replays = None
    if box.replay_counter:  # the card's own: packets that it sent again
        replays = round(len(hits["host"].tlp) * hits["host"].scale) + len(late["host"].unacknowledged)
        if replays:
            for number in hits["host"].of:
                box.faults[number].traced_in.add(box.boot)
    lost: dict[str, int] = {}
    if dropped and box.counts != "card" and source.random() < 0.5:
        lost["fatal SDES at the port"] = dropped
    warm = {None: 52.0, False: 41.0, True: 74.0}[conditions.hot]
    return Look(
        slot=slot, conditions=conditions, present=felt, active=True, width=trained.width, speed_gts=GTS[generation],
        full_width=box.lanes, full_speed_gts=box.speed_gts, ways=ways, replays=replays, dropped=dropped,
        uncorrectable=lost, celsius=round(source.gauss(warm, 3.0), 1))


def _dropped(box: Box, slot: str, conditions: Conditions) -> tuple[float, int]:
    """Seconds of traffic, and how often the link went down. In half of the cases it does not come back."""
    for fault in live(box, slot):
        if fault.symptom != "drops":
            continue
        weaker = 10 ** -fault.shares.get(slot, 0.0)
        if number := poisson(box.source, fault.per_minute * weaker * dose(fault, conditions)):
            fault.traced_in.add(box.boot)
            if box.source.random() < 0.5:
                box.lost.add(slot)
                return box.source.uniform(1.0, SECONDS), 1
            return SECONDS, number
    return SECONDS, 0


def _hits(
    box: Box, slot: str, toward: Toward, conditions: Conditions, trained: Trained, generation: int, raw: float,
    payload: float, seconds: float,
) -> Hits:
    hits = Hits()
    readable = box.counts in ("both", RECEIVER[toward])
    here = live(box, slot)
    for number, fault in enumerate(box.faults):
        if fault not in here:
            continue
        rate = bit_error_rate(box, fault, slot, toward, conditions, trained, generation)
        if rate and hit(box.source, hits, rate * raw, fault.burst, payload, generation, seconds):
            hits.of.add(number)
            if readable:
                fault.traced_in.add(box.boot)
    background = 10 ** box.source.uniform(*BACKGROUND)
    hit(box.source, hits, background * raw, 1.0, payload, generation, seconds)
    return hits


def _way(
    box: Box, toward: Toward, hits: Hits, back: Hits, late: Hits, raw: float, payload: float, seconds: float,
) -> Way:
    """`back`: the other direction, whose damaged acknowledgements this one's sender waits for."""
    received: dict[str, int] = {}
    unanswered: dict[str, int] = {}
    at_least: list[str] = []
    receives, sends = (box.counts in ("both", end) for end in (RECEIVER[toward], SENDER[toward]))
    classes = []
    if receives:
        classes += [("RxErr", hits.rx, hits.scale, received), ("BadTLP", hits.tlp, hits.scale, received),
                    ("BadDLLP", hits.dllp, hits.scale, received)]
    if sends:
        classes += [("Timeout", back.unacknowledged + late.unacknowledged, back.scale, unanswered),
                    ("Rollover", hits.rollover, 1.0, unanswered)]
    for name, moments, scale, into in classes:
        count, most = counted(moments, scale, box.dead_seconds)
        more = most >= 3 or (count > 1 and count >= 0.5 * seconds)  # what the reader says when it comes often
        if count:
            into[name] = count
        if more:
            at_least.append(f"{name} came in bursts, of which the kernel counts a part")
    unread = None if receives else f"the {RECEIVER[toward]} end counts no errors"
    if box.plain_user and receives and not received:
        unread = f"whether the {RECEIVER[toward]} end reports errors was not read: it needs root"
    lanes = {box.faults[number].lane for number in hits.of if box.faults[number].one_lane} if box.notes_lanes else set()
    return Way(
        lanes=tuple(sorted(lanes)) if receives else (), toward=toward, bits=raw * payload, most_bits=raw, seconds=seconds, received=received, unanswered=unanswered,
        at_least=tuple(at_least), unread=unread)


def _other(toward: Toward) -> Toward:
    return "host" if toward == "card" else "card"
