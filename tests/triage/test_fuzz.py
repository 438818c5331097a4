"""Whatever is thrown at triage: an account, no exception, no control character, in time.

    BOXCHECK_FUZZ_EXAMPLES=20000 python -m pytest tests/triage/test_fuzz.py
"""

from __future__ import annotations

import json
import os
import random
import time
from functools import cache
from pathlib import Path

import jsonschema
import pytest

from boxcheck.report.text import Style
from boxcheck.report.triage import plain, triage_text
from boxcheck.report.triage_json import triage_json
from boxcheck.triage.account import triage
from tests.report.schemas import published

CORPUS = Path(__file__).parents[1] / "corpus"
FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"
EXAMPLES = int(os.environ.get("BOXCHECK_FUZZ_EXAMPLES", "120"))
BATCH = 40
SECONDS = 20.0
"""For one text of at most some hundred kilobytes, on a busy machine. The usual is 10 ms."""
JUNK = (b"\0", b"\xff\xfe", b"\x1b[31m", b"\r", b"\n", b"\n\n\n\n\n", b"> ", b"\t", b"[", b"]", b"{", b"}", b"99999999999999999999",
        b"-1", b"nan", "\u202e".encode(), b"0x" + b"f" * 40, b" " * 300, b"0000:41:00.0", b"]]>", b"<!ENTITY a 'b'>")


@cache
def texts() -> tuple[bytes, ...]:
    """All texts of our own corpus, and those of other people where they are at hand."""
    places = sorted(place for place in CORPUS.rglob("*") if place.is_file() and ".expected." not in place.name)
    if FIXTURES.is_dir():
        places += sorted(place for place in FIXTURES.rglob("*") if place.suffix in (".log", ".txt", ".out", ".lspci"))
    return tuple(place.read_bytes()[:60_000] for place in places)


def mutated(chance: random.Random) -> bytes:
    """One to three texts, damaged and mixed."""
    parts = []
    for _ in range(chance.randint(1, 3)):
        lines = chance.choice(texts()).split(b"\n")
        if len(lines) > 400:
            start = chance.randrange(len(lines) - 300)
            lines = lines[start:start + 300]
        for _ in range(chance.randint(0, 12)):
            at = chance.randrange(len(lines))
            match chance.randint(0, 7):
                case 0:
                    lines[at] = lines[at][:chance.randint(0, len(lines[at]))]
                case 1:
                    lines[at:at + 1] = []
                case 2:
                    lines.insert(at, chance.choice(lines))
                case 3:
                    cut = chance.randint(0, len(lines[at]))
                    lines[at] = lines[at][:cut] + chance.choice(JUNK) + lines[at][cut:]
                case 4:
                    lines[at] = lines[at].replace(b" ", b"", 3)
                case 5:
                    lines[at] = bytes(chance.choice(b"0123456789abcdef:.-+x") if chance.random() < 0.1 else byte
                                      for byte in lines[at])
                case 6:
                    lines[at] = b"> " + lines[at]
                case 7:
                    lines[at] = lines[at] * chance.randint(2, 30)
            lines = lines or [b""]
        parts.append(b"\n".join(lines))
    return chance.choice((b"\n", b"", b"\n\n"))[:2].join(parts)


@pytest.mark.parametrize("seed", range(max(EXAMPLES // BATCH, 1)))
def test_any_mix_of_damaged_evidence_gives_an_account(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    schema = published("triage.schema.json")
    validator = jsonschema.Draft202012Validator(schema)
    for number in range(BATCH):
        place = tmp_path / f"{number}.txt"
        place.write_bytes(mutated(chance))
        began = time.process_time()
        found = triage([str(place)])
        assert time.process_time() - began < SECONDS, f"seed {seed}, text {number}"
        for text in (triage_text(found, Style(columns=80)), triage_text(found, Style(columns=40, verbose=1, ascii=True)),
                     plain(found)):
            assert all(character.isprintable() or character == "\n" for character in text), f"seed {seed}, text {number}"
        validator.validate(json.loads(triage_json(found)))
        lines = place.read_bytes().count(b"\n") + 1
        assert all(0 <= sighting.event.line <= lines for sighting in found.events), f"seed {seed}, text {number}"
