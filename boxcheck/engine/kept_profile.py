"""The profile that a run was begun with, as a document of its store: judged again, the run is judged by that, wherever
its file is by now and whatever it says. Older stores have none.
"""

from __future__ import annotations

import os

import msgspec

from boxcheck.profile import Profile, ProfileError, load_profile
from boxcheck.profile_resolve import digest
from boxcheck.store.reader import RunReader
from boxcheck.store.texts import plain_line
from boxcheck.store.writer import RunWriter
from boxcheck.usage import UsageError

PROFILE = "profile.json"
RUN = "run.sqlite"
"""The store in the folder of an attempt."""
MAGIC = b"SQLite format 3\0"
_NAME_ONE = "boxcheck judge RUN --profile FILE  judges it by one that you name"


def keep_profile(store: RunWriter, want: Profile) -> None:
    """Puts it into a store, with all limits resolved."""
    store.attach(PROFILE, msgspec.json.encode(want))


def profile_of(reader: RunReader) -> tuple[Profile, str]:
    """The profile that a run is judged by, and what is to be said of that, empty where nothing is. UsageError where it
    is not there, or not the one that the run names."""
    known = reader.run().info.profile
    if (kept := kept_profile(reader)) is not None:
        if known is not None and known.sha256 and digest(kept) != known.sha256:
            raise UsageError(f"the profile in the store is not the one that the run names ({known.name})", _NAME_ONE)
        return kept, ""
    if known is None:
        return load_profile("generic"), "the run names none"
    if (file := _file_of(reader)) is not None:
        return _by_file(file, known.name, known.sha256)
    try:
        want = load_profile(known.name)
    except ProfileError:
        raise UsageError(
            f"the run was judged by profile {known.name!r}, which is not here", _NAME_ONE) from None
    if known.sha256 and want.sha256 != known.sha256:
        return want, f"it is not what it was when the run was made (r{known.revision})"
    return want, ""


def kept_profile(reader: RunReader) -> Profile | None:
    """The profile that a store keeps; None where it keeps none."""
    packed = reader.attachment(PROFILE)
    if packed is None:
        return None
    with reader.guarded(PROFILE):
        return _with_tuples(msgspec.json.decode(packed, type=Profile))


def profile_named(word: str) -> Profile:
    """The profile that a word names: a shipped one, `NAME@REVISION` of one, a file, or a stored run and the folder of
    an attempt, which keep the profile that they were judged by. UsageError, StoreError or ProfileError."""
    store = os.path.join(word, RUN) if os.path.isdir(word) else word
    if os.path.isfile(store) and _is_store(store):
        with RunReader(store) as reader:
            if reader.attachment(PROFILE) is None:
                raise UsageError(f"{plain_line(store)} keeps no profile", "name the file of that profile")
            return profile_of(reader)[0]
    name, at, revision = word.rpartition("@")
    if not at or not revision.isdecimal() or os.path.exists(word):
        return load_profile(word)
    want = load_profile(name)
    if want.revision != int(revision):
        raise UsageError(
            f"profile {want.name} is r{want.revision} here, not r{int(revision)}",
            f"name what keeps r{int(revision)}: its file, a run that was judged by it, or the folder of an attempt")
    return want


def _is_store(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _with_tuples(want: Profile) -> Profile:
    """JSON has lists alone; what is several values is a tuple in a profile."""
    def one(value: object) -> object:
        return tuple(map(one, value)) if isinstance(value, list) else value

    return msgspec.structs.replace(want, limits={
        name: msgspec.structs.replace(limit, must=one(limit.must), should=one(limit.should))
        for name, limit in want.limits.items()}, match={name: one(value) for name, value in want.match.items()})


def _file_of(reader: RunReader) -> str | None:
    """The file that the run's profile was read from; None where it was a shipped one."""
    plan = reader.run().info.plan
    job = plan.get("job") if isinstance(plan, dict) else None
    name = job.get("profile") if isinstance(job, dict) else None
    return name if isinstance(name, str) and ("/" in name or name.endswith(".toml")) else None


def _by_file(file: str, name: str, sha256: str) -> tuple[Profile, str]:
    """A shipped profile of the same name is another, so it is this file or none."""
    try:
        want = load_profile(file)
    except ProfileError as error:
        raise UsageError(f"the run was judged by profile {name!r} of {file}: {error}", _NAME_ONE) from None
    if sha256 and want.sha256 != sha256:
        raise UsageError(f"profile {file} is not what it was when the run was made", _NAME_ONE)
    return want, ""
