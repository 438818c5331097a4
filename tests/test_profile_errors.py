"""Every kind of mistake in a profile is named with its line, and with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.profile import ProfileError, check_profile, load_profile

HEAD = 'name = "box"\nrevision = 1\ntitle = "a box"\n'
WIDTH_SOURCE = '[[source]]\nlimit = "link.width"\nfrom = "the board\'s manual"\n'

GOOD = HEAD + """goal = "cuda-p2p"
notes = ["one", "two"]

[match]
board = "ROMED8-2T*"
cpu = ["*EPYC*"]
gpu_count = [1, 2]
sockets = 1

[gpus]
part = ["rtx4090", "rtx5090"]
count = { now = 1, planned = 2 }

[link]
width = { must = 8, should = 16 }
speed_gts = 16

[require]
inspect = ["pcie.*"]
advisory = ["limits.memlock"]

[[slot]]
label = "PCIE1"
riser = "R1"
width = 8
speed_gts = 16.0

[[source]]
limit = ["link.width", "link.speed_gts"]
from = "the board's manual"

[recommend.env]
HSA_ENABLE_SDMA = { value = "0", from = "the owner", note = "why" }
"""


def write(tmp_path: Path, text: str | bytes, name: str = "box.toml") -> str:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_a_sound_profile_loads_with_all_it_says(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path, GOOD))
    assert (profile.name, profile.revision, profile.goal) == ("box", 1, "cuda-p2p")
    assert [part.key for part in profile.gpus.parts] == ["rtx4090", "rtx5090"]
    assert (profile.gpus.count, profile.gpus.planned) == (1, 2)
    width = profile.limit("link.width")
    assert width is not None
    assert (width.must, width.should, width.unit, width.source) == (8, 16, "lanes", "the board's manual")
    slot = profile.slot("PCIE1")
    assert slot is not None
    assert (slot.riser, slot.width, slot.speed_gts) == ("R1", 8, 16.0)
    assert profile.match == {"board": ("ROMED8-2T*",), "cpu": ("*EPYC*",), "gpu_count": (1, 2), "sockets": 1}
    assert profile.recommend[0].value == "0"
    assert profile.is_blocker("pcie.link-width")
    assert not profile.is_blocker("limits.memlock")


MISTAKES = {
    # name: (text after the head, line, says, help)
    "quoted number": (
        '[link]\nwidth = "16"\n' + WIDTH_SOURCE, 5, 'link.width is "16", expected a number', "remove the quotes"),
    "text for a number": (
        '[link]\nwidth = "many"\n' + WIDTH_SOURCE, 5, 'link.width is "many", expected a number',
        "give the number, in lanes"),
    "list for a number": (
        "[link]\nwidth = [16]\n" + WIDTH_SOURCE, 5, "link.width is [16], expected a number",
        "this limit is one number, not a list"),
    "boolean for a number": (
        "[link]\nwidth = true\n" + WIDTH_SOURCE, 5, "link.width is true, expected a number", ""),
    "fraction": ("[link]\nwidth = 15.5\n" + WIDTH_SOURCE, 5, "link.width is 15.5, expected a whole number", ""),
    "nan": ("[link]\nwidth = nan\n" + WIDTH_SOURCE, 5, "link.width is nan, expected a finite number", ""),
    "infinity": ("[link]\nwidth = -inf\n" + WIDTH_SOURCE, 5, "link.width is -inf, expected a finite number", ""),
    "impossible among": (
        "[link]\nwidth = 63\n" + WIDTH_SOURCE, 5, "link.width is 63, possible are 1, 2, 4, 8, 12, 16, 32", ""),
    "impossible range": (
        '[limits]\nmemlock_gib = -1\n[[source]]\nlimit = "limits.memlock_gib"\nfrom = "x"\n', 5,
        "limits.memlock_gib is -1, possible is 0 to 1.04858e+06 GiB", ""),
    "huge integer": (
        "[link]\nwidth = 0x" + "f" * 1500 + "\n" + WIDTH_SOURCE, 5,
        "link.width is a number of 6000 bits, which is no sane number", ""),
    "date": ("[link]\nwidth = 2026-01-01\n" + WIDTH_SOURCE, 5, "link.width is a date, expected a number", ""),
    "should weaker": (
        "[link]\nwidth = { must = 16, should = 8 }\n" + WIDTH_SOURCE, 5,
        "link.width: should 8 is weaker than must 16", "should is the larger number: it asks for more than must"),
    "empty limit": (
        "[link]\nwidth = {}\n" + WIDTH_SOURCE, 5, "link.width says neither must nor should",
        "give a number, or must = ..."),
    "third key": (
        "[link]\nwidth = { must = 16, may = 8 }\n" + WIDTH_SOURCE, 5, 'link.width has no "may"',
        "a limit has must, should or both"),
    "unknown limit": (
        "[link]\nwidht = 16\n", 5, "link.widht is not a limit that any check reads", "did you mean link.width?"),
    "unknown table": ("[lnik]\nwidth = 16\n", 4, "[lnik] is not a table of a profile", "did you mean [link]?"),
    "unknown key": ('titel = "x"\n', 4, "titel is not a key of a profile", "did you mean title?"),
    "area that is no table": ("link = 16\n", 4, "link is 16, expected a table", "write it as [link]"),
    "limit without source": (
        "[link]\nwidth = 16\n", 5, "link.width has no source",
        'add [[source]] with limit = "link.width" and from = "where the number comes from"'),
    "source without limit": (
        WIDTH_SOURCE, 5, "a source for link.width, which this file does not set", "remove it, or set the limit"),
    "two sources": (
        "[link]\nwidth = 16\n" + WIDTH_SOURCE + WIDTH_SOURCE, 10, "link.width has two sources", "say both in one text"),
    "source that says nothing": (
        '[link]\nwidth = 16\n[[source]]\nlimit = "link.width"\n', 6, "source.from is missing", 'add from = "..."'),
    "source for nothing": ('[[source]]\nfrom = "x"\n', 4, "a source that names no limit", 'add limit = "area.name"'),
    "source is a table": ('[source]\nfrom = "x"\n', 4, "source is a table, expected a list of tables",
                          "write it as [[source]]"),
    "unknown source key": (
        '[link]\nwidth = 16\n[[source]]\nlimit = "link.width"\nfrom = "x"\nform = "y"\n', 9,
        "form is not known in [[source]]", "did you mean from?"),
    "duplicate key": ("[link]\nwidth = 16\nwidth = 8\n", 6, "not valid TOML: Cannot overwrite a value",
                      "see https://toml.io for the syntax"),
    "duplicate table": ("[link]\n[link]\n", 5, None, "see https://toml.io for the syntax"),
    "syntax": ("[link\nwidth = 16\n", 4, None, "see https://toml.io for the syntax"),
    "unterminated": ('notes = ["one\n', 4, None, "see https://toml.io for the syntax"),
    "deep nesting": ("notes = " + "[" * 1000 + "\n", 1, "nested too deeply", "see https://toml.io for the syntax"),
    "pattern of no check": (
        '[require]\ninspect = [\n  "pcie.*",\n  "pcie.link-widht",\n]\n', 7, '"pcie.link-widht" names no check',
        "did you mean pcie.link-width?"),
    "pattern twice": (
        '[require]\ninspect = ["pcie.*", "pcie.*"]\n', 5, 'require.inspect names "pcie.*" twice', "remove one"),
    "required and advisory": (
        '[require]\ninspect = ["pcie.*"]\nadvisory = ["pcie.*"]\n', 5, '"pcie.*" is both required and advisory',
        "keep it in one list"),
    "patterns no list": (
        '[require]\ninspect = "pcie.*"\n', 5, 'require.inspect is "pcie.*", expected a list', 'write ["...", "..."]'),
    "unknown stage": ("[require]\ninspekt = []\n", 5, "inspekt is not known in [require]", "did you mean inspect?"),
    "unknown card": (
        '[gpus]\npart = "rtx4091"\n', 5, 'gpus.part is "rtx4091", which gpus.toml does not hold',
        "did you mean rtx4090?"),
    "no card": ("[gpus]\ncount = 1\n", 4, "[gpus] names no card", 'add part = "..." with a name of gpus.toml'),
    "bad id": (
        '[gpus]\npci_id = "4090"\n', 5, 'gpus.pci_id is "4090", expected an id',
        'write "10de:2684", or "1002:744c rev c8" for one revision'),
    "quoted count": (
        '[gpus]\npart = "rtx4090"\ncount = "7"\n', 6, 'gpus.count is "7", expected a number', "remove the quotes"),
    "no cards": ('[gpus]\npart = "rtx4090"\ncount = 0\n', 6, "gpus.count is 0, possible is 1 to 64", ""),
    "fewer planned": (
        '[gpus]\npart = "rtx4090"\ncount = { now = 6, planned = 2 }\n', 6, "planned are 2 GPUs, now there are 6",
        "planned is the larger number"),
    "unknown goal": ('goal = "rocn"\n', 4, 'goal is "rocn"', "did you mean rocm?"),
    "unknown part": ('parts = ["romed8-2q-does-not-exist"]\n', 4, 'no part is called "romed8-2q-does-not-exist"', None),
    "part as a path": (
        'parts = ["../../etc/passwd"]\n', 4, '"../../etc/passwd" is not the name of a part',
        "a name, without path or .toml"),
    "slot without label": ("[[slot]]\nwidth = 8\n", 4, "slot.label is missing", 'add label = "..."'),
    "slot twice": ('[[slot]]\nlabel = "A"\n[[slot]]\nlabel = "A"\n', 6, 'slot "A" is there twice', "remove one"),
    "slot port": (
        '[[slot]]\nlabel = "A"\nroot_port = "40:01.1"\n', 6, 'slot.root_port is "40:01.1", expected an address',
        'write "0000:40:01.1", as lspci -D prints it'),
    "slot port twice": (
        '[[slot]]\nlabel = "A"\nroot_port = "0000:40:01.1"\n[[slot]]\nlabel = "B"\nroot_port = "0000:40:01.1"\n', 9,
        "two slots hang on port 0000:40:01.1", "one port has one slot"),
    "slot width": (
        '[[slot]]\nlabel = "A"\nwidth = 7\n', 6, "slot.width is 7, possible are 1, 2, 4, 8, 16", ""),
    "match range": (
        "[match]\ngpu_count = [7, 4]\n", 5, "match.gpu_count is [7, 4], expected the fewest and the most",
        "write [4, 6]"),
    "unknown match": ('[match]\nbord = "x"\n', 5, "bord is not known in [match]", "did you mean board?"),
    "recommend no table": (
        '[recommend.env]\nA = "0"\n', 5, 'recommend.env.A is "0", expected a table',
        'write { value = ..., from = "..." }'),
    "recommend no source": (
        '[recommend.env]\nA = { value = "0" }\n', 5, "recommend.env.A.from is missing", 'add from = "..."'),
    "recommend no value": (
        '[recommend.env]\nA = { from = "x" }\n', 5, "recommend.env.A has no value", 'add value = "..."'),
    "control characters": ('notes = ["a\\u001b[31m"]\n', 4, "notes holds a control character", "write plain text"),
    "control characters in a key": ('"a\\u001b[31m" = 1\n', 4, "a?[31m is not a key of a profile", None),
    "long line": ("# " + "x" * 3000 + "\n", 4, "a line longer than 2000 characters", "break it up"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, kind: str) -> None:
    body, line, says, help = MISTAKES[kind]
    path = write(tmp_path, HEAD + body)
    found = check_profile_of(path)
    assert len(found) == 1, [str(one) for one in found]
    assert (found[0].file, found[0].line) == (path, line)
    assert says is None or found[0].says == says
    assert help is None or found[0].help == help
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    assert str(caught.value) == f"profile {path}:{line}: {found[0].says}"
    assert str(caught.value).isprintable()
    assert caught.value.help == found[0].help


def check_profile_of(path: str) -> list[object]:
    try:
        return check_profile(path)
    except ProfileError as error:
        return list(error.mistakes)


@pytest.mark.parametrize(("text", "says"), [
    ('revision = 1\ntitle = "x"\n', "name is missing"),
    ('name = "box"\ntitle = "x"\n', "revision is missing"),
    ('name = "box"\nrevision = 1\n', "title is missing"),
    ('name = "Box!"\nrevision = 1\ntitle = "x"\n', 'name is "Box!"'),
    ('name = "box"\nrevision = "1"\ntitle = "x"\n', 'revision is "1", expected a number'),
    ('name = "box"\nrevision = 0\ntitle = "x"\n', "revision is 0, possible is 1 to 1000000"),
    ('name = "box"\nrevision = 1\ntitle = 5\n', "title is 5, expected text"),
])
def test_the_head_must_be_complete(tmp_path: Path, text: str, says: str) -> None:
    assert [one.says for one in check_profile(write(tmp_path, text))] == [says]


def test_all_mistakes_are_reported_in_the_order_of_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + '[link]\nwidht = 16\nspeed_gts = "16"\n[require]\ninspect = ["nothing.at-all"]\n')
    found = check_profile(path)
    assert [one.line for one in found] == [5, 6, 6, 8] or [one.line for one in found] == [5, 6, 8]
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    assert len(caught.value.mistakes) == len(found)
    assert f"shows all {len(found)} mistakes" in caught.value.help


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD.encode() + b"notes = ['\xff\xfe']\n")
    with pytest.raises(ProfileError, match=r":4: not UTF-8 text$") as caught:
        load_profile(path)
    assert caught.value.help == "save the file as UTF-8"


def test_a_file_beyond_all_measure(tmp_path: Path) -> None:
    path = write(tmp_path, "# comment\n" * 110_000)
    with pytest.raises(ProfileError, match="larger than 1024 KiB"):
        load_profile(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    for name, says in (("pipe.toml", "is not a regular file"), ("folder.toml", "is a directory|not a regular file"),
                       ("missing.toml", "there is no profile file"), ("a\0b.toml", "there is no profile file")):
        with pytest.raises(ProfileError, match=says):
            load_profile(f"{tmp_path}/{name}")


@pytest.mark.parametrize("name", ["wopr-7x490", "worp"])
def test_a_name_that_nobody_knows_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(ProfileError, match=f'^no profile is called "{name}"$') as caught:
        load_profile(name)
    assert caught.value.help.startswith("did you mean wopr-7x4090?")


@pytest.mark.parametrize(("text", "line", "says"), [
    ("[match]\nboard = []\n", 5, "match.board is an empty list, which no box matches"),
    ('[match]\ncpu = []\n', 5, "match.cpu is an empty list"),
    ('[require]\ninspect = ["pcie.*"]\nadvisory = ["*"]\n', 6, "every check is advisory, so that nothing is required"),
    ('[require]\nadvisory = ["*"]\n', 5, "every check is advisory"),
    ('[require]\ninspect = ["pcie.aspm"]\nadvisory = ["pcie.*"]\n', 6, "every check is advisory"),
    ('parts = ["romed8-2t", "tinybox-g4"]\n[cpu]\ncores = 32\n[[source]]\nlimit = "cpu.cores"\nfrom = "x"\n', 4,
     "parts romed8-2t and tinybox-g4 each describe a board"),
])
def test_what_no_box_can_match_or_pass_is_a_mistake(text: str, line: int, says: str, tmp_path: Path) -> None:
    mistakes = check_profile(write(tmp_path, HEAD + text))
    assert [(one.line, one.says[:len(says)]) for one in mistakes if one.says.startswith(says)] == [(line, says)]


@pytest.mark.parametrize("text", [
    '[match]\nboard = ["X*"]\n', '[require]\ninspect = ["pcie.*"]\nadvisory = ["pcie.aspm", "log.*"]\n',
    '[require]\nadvisory = ["log.*"]\n', 'parts = ["gpu-box", "romed8-2t", "amd-rdna3", "p2p"]\n',
])
def test_what_a_box_can_match_and_pass_is_none(text: str, tmp_path: Path) -> None:
    assert check_profile(write(tmp_path, HEAD + text)) == []
