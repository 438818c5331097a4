"""Who tests what: the fields of an identity, their patterns, and where their values come from.

Reads   options, an identity file (TOML), a station file (TOML), and of the machine the serial numbers of its SMBIOS
        table: baseboard, else product, else chassis (root reads them)
By hand sudo dmidecode -s baseboard-serial-number; sudo dmidecode -s system-serial-number

An identity file:                       A station file:

    serial = "W-0007"                       [fields.serial]
    operator = "A. Smith"                   pattern = "^W-[0-9]{4}$"
    [risers]                                prompt = "serial, from the label at the back"
    PCIE3 = "R3"                            [fields.station]
                                            default = "bench 3"

A field of another name than the five is one that the factory adds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from boxcheck.certify.acceptance import Identity
from boxcheck.certify.tables import read_table
from boxcheck.decode.text import meaningful
from boxcheck.engine.inspect import Facts
from boxcheck.model import Unread
from boxcheck.probes.dmi import Dmi
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError, nearest

OWN = ("serial", "work_order", "operator", "station", "notes")
"""Fields that every identity has, in the order in which they are asked for."""
RISER = "riser"
"""Field of the label of a riser, asked for once a slot."""
LONGEST = {"notes": 1000}
LONG = 120
"""Characters of any other field: it stands in one line of a cover."""
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
RESERVED = frozenset((
    "acceptance", "attempt", "attempts", "box", "boxserial", "boxcheck", "disposition", "exitcode", "fail", "failed",
    "finished", "forced", "incomplete", "marginal", "marginalpass", "ok", "outcome", "pass", "passed", "profile",
    "profilehash", "profilerevision", "profilesha", "reason", "reportid", "result", "risers", "run", "selfsigned",
    "serialfrom", "shortened", "signature", "signed", "started", "state", "status", "strict", "verdict",
    "verdictstring", "verified", "waiver", "waivers", "withwaivers"))
"""Names that a report has for what was found, whatever stands between their words or behind them: nobody types that."""
_TURNING = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Unicode's categories of controls, of marks that turn the writing round or are not seen, of line ends."""


class Field(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a station file says of one field."""

    pattern: str | None = None
    """A regular expression (Python's) that the whole value must match."""
    prompt: str | None = None
    default: str | None = None
    required: bool | None = None
    ask: bool = True
    """Whether it is asked for on a terminal where nothing gives it."""


class Station(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that are filled here, in the order in which they are asked for."""

    fields: Mapping[str, Field] = {}

    def field(self, name: str) -> Field:
        return self.fields.get(name, Field())

    @property
    def names(self) -> tuple[str, ...]:
        return (*OWN, *(name for name in self.fields if name not in OWN and name != RISER))

    def is_required(self, name: str) -> bool:
        said = self.field(name).required
        return name in ("serial", "operator") if said is None else said

    def prompt(self, name: str) -> str:
        return self.field(name).prompt or name.replace("_", " ")


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """Values as they were given, not yet looked at."""

    values: Mapping[str, str] = {}
    risers: Mapping[str, str] = {}

    def over(self, other: Given) -> Given:
        """These, and where there are none the other's."""
        return Given(values={**other.values, **self.values}, risers={**other.risers, **self.risers})


def read_station(path: str | None) -> Station:
    """The fields of a station file; those of every identity where there is none."""
    if path is None:
        return Station()
    table, where = read_table(path, "station"), f"station file {plain_line(path)}"
    for key in table:
        if key != "fields":
            raise UsageError(f"{where}: {plain_line(key)} is not known", "it has tables [fields.NAME] alone")
    found: dict[str, Field] = {}
    given = table.get("fields", {})
    if not isinstance(given, dict):
        raise UsageError(f"{where}: fields is no table", "write [fields.serial]")
    for name, value in given.items():
        if not _NAME.fullmatch(name):
            raise UsageError(f"{where}: no field can be called {plain_line(name)!r}", "small letters, digits, _ and -")
        if is_reserved(name):
            raise UsageError(f"{where}: a field of your own cannot be called {name}",
                             "a report says by that what was found; take a name that nobody takes for it")
        try:
            field = msgspec.convert(value, Field)
            if field.pattern is not None:
                re.compile(field.pattern)
        except msgspec.ValidationError as error:
            raise UsageError(f"{where}, [fields.{name}]: {plain_line(str(error))}",
                             "known are pattern, prompt, default, required and ask") from None
        except (re.error, RecursionError, OverflowError) as error:
            raise UsageError(
                f"{where}, [fields.{name}]: pattern is no regular expression: {plain_line(str(error))}",
                "write it as Python's re has it, such as ^W-[0-9]{4}$") from None
        if field.prompt is not None and (why := why_not_text(field.prompt, LONG)):
            raise UsageError(f"{where}, [fields.{name}]: prompt {why}", "write one line of text")
        if field.default is not None and (why := why_not(name, field.default, field)):
            raise UsageError(f"{where}, [fields.{name}]: default {why}",
                             "write one that its pattern takes, or leave it out")
        found[name] = field
    return Station(fields=found)


def is_reserved(name: str) -> bool:
    """Whether a reader of a report would take a field of that name for what boxcheck found."""
    return re.sub(r"[^a-z]", "", name.casefold()) in RESERVED


def read_identity(path: str, station: Station) -> Given:
    """The values of an identity file. UsageError for a field that nobody knows."""
    table, where = read_table(path, "identity"), f"identity file {plain_line(path)}"
    risers = table.pop("risers", {})
    if not isinstance(risers, dict):
        raise UsageError(f"{where}: risers is no table", 'write [risers] and PCIE3 = "R3"')
    for name, value in (*table.items(), *risers.items()):
        if not isinstance(value, str):
            raise UsageError(f"{where}: {plain_line(name)} is no text", "put it in quotes")
    given = Given(values=table, risers=risers)
    refuse_unknown(given, station, where)
    return given


def refuse_unknown(given: Given, station: Station, where: str) -> None:
    """UsageError for a field that neither every identity nor the station has."""
    for name in given.values:
        if name not in station.names:
            raise UsageError(f"{where}: no field is called {plain_line(name)!r}",
                             nearest(name, station.names) or "a station file (--station-file) may add fields")


def why_not_text(text: str, longest: int) -> str:
    """Why a text can stand in no report; empty where it can."""
    for character in text:
        if unicodedata.category(character) in _TURNING:
            return f"holds a control character (U+{ord(character):04X})"
    return f"has {len(text)} characters, at most {longest} are kept" if len(text) > longest else ""


def why_not(name: str, text: str, field: Field) -> str:
    """Why a field cannot have this value; empty where it can. Goes on from the field's name."""
    if why := why_not_text(text, LONGEST.get(name, LONG)):
        return why
    if text and field.pattern is not None and not re.fullmatch(field.pattern, text):
        return f"is {text!r}, and must match {field.pattern}"
    return ""


def serial_of(facts: Facts) -> tuple[str, str]:
    """The serial number that the firmware has, and of which part; both empty where there is none. What a vendor leaves
    in where nobody wrote one is none."""
    dmi = facts.of(Dmi)
    if isinstance(dmi, Unread) or isinstance(dmi.smbios, Unread):
        return "", ""
    table = dmi.smbios
    every = [("baseboard", table.baseboard), ("product", table.system), *(("chassis", one) for one in table.chassis)]
    for part, found in every:
        text = None if found is None or isinstance(found, Unread) else meaningful(found.serial)
        if text and not why_not_text(text, LONG):
            return text, part
    return "", ""


Ask = Callable[[str, str, Callable[[str], str]], str]
"""Asks a person: prompt, default, why an answer is refused -> the answer."""


def collect(
    given: Given, station: Station, serial: tuple[str, str], slots: Mapping[str, str], ask: Ask | None,
    asked_slots: Sequence[str] = (),
) -> Identity:
    """The identity, from what was given, the machine's own serial number, the station's defaults, and a person's
    answers. UsageError that names everything that is missing or wrong where there is nobody to ask.

    `slots`: label of each slot -> its riser's by the profile. `asked_slots`: whose riser is asked for.
    """
    values = {name: text.strip() for name, text in given.values.items()}
    wrong: dict[str, str] = {}
    found: dict[str, str] = {}
    read, part = serial
    for name in station.names:
        field, text = station.field(name), values.get(name, "")
        why = why_not(name, text, field)
        default = (read if name == "serial" else "") or field.default or ""
        if default and why_not(name, default, field):
            default = ""  # the board's number is not that of the box, as the station's pattern has it
        if ask is not None and (why or (not text and field.ask)):
            found[name] = ask(_prompt(station, name, why), default, _refuse(station, name))
            continue
        found[name] = text or default
        if why:
            wrong[name] = f"{name} {why}"
        elif not found[name] and station.is_required(name):
            wrong[name] = f"{name} is missing"
    risers, troubles = _risers(given, station, slots, ask, asked_slots)
    if wrong or troubles:
        options = [f"--{name.replace('_', '-')}" if name in OWN else f"--field {name}=TEXT" for name in wrong]
        options += ["--riser SLOT=LABEL"] if troubles else []
        raise UsageError(f"who and what is not told: {'; '.join((*wrong.values(), *troubles))}",
                         f"give {', '.join(options)}, or all in --identity FILE, or run it on a terminal, which asks")
    # A person who takes the number that is offered has read it off the label as well; it is still the machine's.
    said_by_machine = bool(read) and not values.get("serial") and found["serial"] == read
    return Identity(
        serial=found.pop("serial"), serial_from=part if said_by_machine else "operator",
        **{name: found.pop(name) for name in OWN[1:]}, risers=risers, more={k: v for k, v in found.items() if v})


def _prompt(station: Station, name: str, why: str) -> str:
    return f"{name} {why}\n{station.prompt(name)}" if why else station.prompt(name)


def _refuse(station: Station, name: str) -> Callable[[str], str]:
    def why(text: str) -> str:
        if not text and station.is_required(name):
            return "is needed"
        return why_not(name, text, station.field(name))

    return why


def _risers(
    given: Given, station: Station, slots: Mapping[str, str], ask: Ask | None, asked: Iterable[str],
) -> tuple[dict[str, str], list[str]]:
    """The label of the riser of each slot, and what is wrong with those that were given."""
    found, wrong = {slot: label for slot, label in slots.items() if label}, []
    field = station.field(RISER)
    for slot, text in given.risers.items():
        text = text.strip()
        if slots and slot not in slots:
            wrong.append(f"riser: no slot is called {plain_line(slot)!r} ({', '.join(slots)})")
        elif why := why_not_text(slot, 40) or why_not(RISER, text, field):
            wrong.append(f"riser of {plain_line(slot)} {why}")
        else:
            found[slot] = text
    for slot in asked:
        if slot in given.risers:
            continue
        if ask is not None:
            found[slot] = ask(f"{station.prompt(RISER)} of {slot}", found.get(slot, ""), _refuse(station, RISER))
        elif not found.get(slot) and station.is_required(RISER):
            wrong.append(f"riser of {slot} is missing")
    return {slot: label for slot, label in found.items() if label}, wrong


def option_pairs(words: Sequence[str], option: str) -> dict[str, str]:
    """`NAME=VALUE` of an option that may be given several times."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{option} {plain_line(word)!r} is no NAME=VALUE", f"{option} PCIE3=R3")
        found[name.strip()] = value
    return found


def lines_of(identity: Identity) -> list[tuple[str, str]]:
    """Names and values, those that are there, in the order of a cover."""
    pairs: list[tuple[str, Any]] = [
        ("serial", f"{identity.serial}{'' if identity.serial_from == 'operator' else f' ({identity.serial_from})'}")]
    pairs += [(name.replace("_", " "), getattr(identity, name)) for name in OWN[1:]]
    pairs += [("entered", f"{name}: {text}") for name, text in identity.more.items() if text]
    if identity.risers:
        pairs.append(("risers", ", ".join(f"{slot} {label}" for slot, label in identity.risers.items())))
    return [(name, plain_line(text)) for name, text in pairs if text]
