"""The quick ways to what doctor needs of the profiles and the cards give what the full ways give."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from boxcheck import profile, profile_resolve
from boxcheck.model import Outcome
from boxcheck.profile import Profile, ProfileError, load_gpus, load_profile, profiles_directory, shipped_profiles
from boxcheck.profile_file import tables_of
from boxcheck.profile_gpus import Cards, parse_gpus
from boxcheck.profile_resolve import outline
from boxcheck.registry import CHECKS, discover

CARD = '[a]\nname = "A"\npci_ids = ["10de:1111"]\n'
OTHER = '[b]\nname = "B"\npci_ids = ["10de:2222", "10de:3333"]\n'


@pytest.mark.parametrize("name", shipped_profiles())
def test_an_outline_says_what_the_whole_profile_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_profile(name)
    monkeypatch.setattr(profile_resolve, "load", lambda name: pytest.fail("the quick way was not taken"))
    quick = outline(name)
    assert (quick.name, quick.match, quick.gpus) == (whole.name, whole.match, whole.gpus)


def test_cards_asked_for_singly_are_those_of_the_whole_file() -> None:
    path = profiles_directory() / "gpus.toml"
    whole, cards = parse_gpus(path.read_text(), path.name), Cards(path)
    assert "_all" not in vars(cards)
    assert list(cards) == list(whole)
    assert dict(cards) == dict(whole)
    for pci_id in {pci_id for part in whole.values() for pci_id in part.pci_ids} | {"", "10de:", "10de:0000"}:
        assert cards.of_id(pci_id) == tuple(part for part in whole.values() if pci_id in part.pci_ids)
    assert "_all" not in vars(cards), "the quick way was not taken"
    assert "rtx9999" not in cards
    assert "" not in cards


@pytest.mark.parametrize("text", [
    CARD.replace("[", "[ ", 1).replace("]", " ]", 1) + OTHER,
    CARD + OTHER.replace('["10de:2222", ', '[\n"10de:2222",\n'),
    CARD + OTHER.replace("[b]", '["b"]'),
    CARD + OTHER.replace("pci_ids", " pci_ids"),
    CARD + OTHER.replace("\n", "\r\n"),
    CARD + OTHER + 'source = """\n[c]\nname = "C"\n"""\n',
    "\n  " + CARD + "  " + OTHER,
    'b.name = "B"\nb.pci_ids = ["10de:2222", "10de:3333"]\n' + CARD,
])
def test_a_database_that_is_laid_out_otherwise_says_the_same(text: str, tmp_path: Path) -> None:
    path = tmp_path / "gpus.toml"
    path.write_bytes(text.encode())
    assert {key: part.name for key, part in Cards(path).items()} == {"a": "A", "b": "B"}
    assert dict(Cards(path)) == dict(parse_gpus(text, path.name))
    assert [part.key for part in Cards(path).of_id("10de:3333")] == ["b"]


@pytest.mark.parametrize("text", [
    CARD + OTHER + "link_width = \n", CARD + OTHER + 'link_width = "x16"\n', CARD + OTHER + "lanes = 16\n",
    CARD + OTHER + OTHER, CARD + OTHER + "[c]\n", CARD + OTHER + '[[c]]\nname = "C"\n', "x = 1\n" + CARD + OTHER,
    "[b\n" + CARD,
])
def test_a_damaged_card_is_named_as_the_whole_file_names_it(text: str, tmp_path: Path) -> None:
    path = tmp_path / "gpus.toml"
    path.write_text(text)
    with pytest.raises(ProfileError) as whole:
        parse_gpus(text, path.name)
    with pytest.raises(ProfileError) as quick:
        Cards(path).of_id("10de:2222")
    assert str(quick.value) == str(whole.value)


@pytest.mark.parametrize("text", [
    'x = """\n[match]\n"""\n', "x = '''\n[match]\n'''\n", '["match"]\n', "[ match ]\n", "[a]\n[a]\n", "[a]\n [match]\n",
    "[a]\nx = [\n [1],\n]\n",
])
def test_tables_that_only_a_parser_can_tell_apart_are_left_to_it(text: str) -> None:
    assert tables_of(text) is None


@pytest.mark.parametrize("path", sorted(profiles_directory().rglob("*.toml")), ids=lambda path: path.stem)
def test_tables_cut_out_of_a_file_are_those_of_the_file(path: Path) -> None:
    text = path.read_text()
    whole, tables = tomllib.loads(text), tables_of(text)
    assert tables is not None
    top = tomllib.loads(tables.pop(""))
    assert {key: value for key, value in whole.items() if key in top} == top
    for name, table in tables.items():
        if "." not in name:
            assert tomllib.loads(table)[name] == whole[name]
    lists = {key for key, value in whole.items() if isinstance(value, list)}
    assert {*top, *lists, *(name.split(".")[0] for name in tables)} == {*whole}


def write(folder: Path, text: str, part: str = "") -> None:
    (folder / "parts").mkdir()
    (folder / "gpus.toml").write_text(CARD + OTHER)
    (folder / "box.toml").write_text(text)
    if part:
        (folder / "parts" / "board.toml").write_text(part)


HEAD = 'name = "box"\nrevision = 1\ntitle = "a box"\n'
GPUS = '[gpus]\npart = "a"\ncount = 2\n'


@pytest.mark.parametrize(("text", "part"), [
    (HEAD + '[match]\nboard = "X*"\n' + GPUS, ""),
    (HEAD + '[ match ]\nboard = "X*"\n' + GPUS, ""),
    (HEAD + '  [match]\nboard = "X*"\n' + GPUS, ""),
    (HEAD + 'match.board = "X*"\n' + GPUS, ""),
    (HEAD + 'parts = ["board"]\n' + GPUS, 'part = "board"\ntitle = "b"\n[match]\nboard = "X*"\n'),
    (HEAD + 'parts = ["board"]\n' + GPUS, 'part = "board"\ntitle = "b"\n["match"]\nboard = "X*"\n'),
    (HEAD + 'parts = ["board"]\n' + GPUS, 'part = "board"\ntitle = "b"\nmatch = { board = "X*" }\n'),
    (HEAD + 'parts = ["board"]\n[match]\nboard = "X*"\n' + GPUS,
     'part = "board"\ntitle = "b"\n[match]\nboard = "Y*"\n'),
    (HEAD + 'notes = ["""\n[match]\nboard = "Y*"\n"""]\n[match]\nboard = "X*"\n' + GPUS, ""),
])
def test_an_outline_of_a_profile_that_is_laid_out_otherwise(
    text: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, text, part)
    for module in (profile, profile_resolve):
        monkeypatch.setattr(module, "profiles_directory", lambda: tmp_path)
    monkeypatch.setattr(profile_resolve, "shipped_profiles", lambda: ("box",))
    load_gpus.cache_clear()
    try:
        whole, quick = load_profile("box"), outline("box")
    finally:
        load_gpus.cache_clear()
    assert quick.match == whole.match == {"board": ("X*",)}
    assert (quick.name, quick.gpus) == (whole.name, whole.gpus)


@pytest.mark.parametrize("text", [
    HEAD + '[match]\nbord = "X*"\n' + GPUS, HEAD + "[match]\nboard = \n" + GPUS, GPUS, HEAD + '[gpus]\npart = "c"\n',
    HEAD + 'parts = ["board"]\n' + GPUS,
])
def test_a_damaged_outline_is_named_as_the_whole_profile_names_it(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, text)
    for module in (profile, profile_resolve):
        monkeypatch.setattr(module, "profiles_directory", lambda: tmp_path)
    monkeypatch.setattr(profile_resolve, "shipped_profiles", lambda: ("box",))
    load_gpus.cache_clear()
    try:
        with pytest.raises(ProfileError) as whole:
            load_profile("box")
        with pytest.raises(ProfileError) as quick:
            outline("box")
    finally:
        load_gpus.cache_clear()
    assert str(quick.value) == str(whole.value)


@pytest.mark.parametrize("patterns", [
    (), ("aer.*",), ("aer",), ("*",), ("pcie.link-*", "bar"), ("*.gpu-?ost*",), ("pcie.[a-l]*",), ("pcie.link-width",),
    ("a*r.*",), ("?er.*",), ("aer.**",), ("",), ("[",), ("aer.",), ("pcie*",),
])
def test_patterns_name_the_checks_that_their_globs_match(patterns: tuple[str, ...]) -> None:
    from fnmatch import fnmatchcase

    from boxcheck.registry import selected

    discover()
    for id in CHECKS:
        plainly = any(pattern in (id, id.split(".", 1)[0]) or fnmatchcase(id, pattern) for pattern in patterns)
        assert selected(patterns, id) == selected(list(patterns), id) == plainly


def test_a_profile_of_no_file_has_no_sum() -> None:
    bare = Profile(name="x", revision=1, title="x", faults=("aer",))
    assert bare.sha256 == ""
    assert bare.blocks("aer.fatal", Outcome.FAIL)
