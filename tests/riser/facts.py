"""Facts of built boxes, for tests of the riser that touch no machine."""

from __future__ import annotations

from functools import cache

from boxcheck.engine.inspect import Facts, name_slots, read_facts
from boxcheck.host.capture import CaptureHost
from boxcheck.profile import Profile, load_profile
from tests.boxes import build


@cache
def facts_of(box: str, profile: str, folder: str) -> tuple[Facts, Profile]:
    """Of a built box, with the slots named by the profile."""
    path = f"{folder}/{box}.tar"
    build(box).write_tar(path)
    facts, want = read_facts(CaptureHost(path)), load_profile(profile)
    name_slots(facts, want)
    return facts, want


