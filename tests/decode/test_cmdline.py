from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxcheck.decode.cmdline import parse_cmdline, parse_number
from tests.probes.reading import HOSTILE, never_raises


def test_words_and_values_in_order() -> None:
    line = parse_cmdline("BOOT_IMAGE=/boot/vmlinuz-6.8.0 root=UUID=ab-cd ro quiet iommu=pt\n")
    assert [(one.name, one.value) for one in line.parameters] == [
        ("BOOT_IMAGE", "/boot/vmlinuz-6.8.0"), ("root", "UUID=ab-cd"), ("ro", None), ("quiet", None), ("iommu", "pt")]
    assert line.value("root") == "UUID=ab-cd"
    assert line.has("ro")
    assert not line.has("rw")


@pytest.mark.parametrize("text", ['dyndbg="file a +p"', '"dyndbg=file a +p"', 'dyndbg="file a +p'])
def test_quotes_keep_blanks_wherever_they_stand(text: str) -> None:
    line = parse_cmdline(f"a {text}")
    assert [(one.name, one.value) for one in line.parameters] == [("a", None), ("dyndbg", "file a +p")]


def test_dash_and_underscore_are_one_in_names_only() -> None:
    line = parse_cmdline("amd-iommu=off nvidia-drm.modeset=1 root=a-b")
    assert line.value("amd_iommu") == "off"
    assert line.value("nvidia_drm.modeset") == line.value("nvidia-drm.modeset") == "1"
    assert line.value("root") == "a-b"
    assert [one.parameter for one in line.parameters if one.module == "nvidia_drm"] == ["modeset"]
    assert line.parameters[1].text == "nvidia-drm.modeset=1"


def test_a_parameter_given_twice_counts_twice() -> None:
    line = parse_cmdline("pci=noaer,realloc pci=nommconf ttm.pages_limit=1 ttm.pages_limit=2")
    assert line.words("pci") == ("noaer", "realloc", "nommconf")
    assert line.value("ttm.pages_limit") == "2"
    assert len(line.all("ttm.pages_limit")) == 2


def test_what_follows_two_dashes_is_for_init() -> None:
    line = parse_cmdline("quiet -- --verbose nomodeset")
    assert not line.has("nomodeset")
    assert line.for_init == "--verbose nomodeset"


@pytest.mark.parametrize(("text", "number"), [
    ("131072", 131072), ("0xfff7bfff", 0xFFF7BFFF), ("010", 8), ("-1", -1), ("2G", 2 << 30), ("512k", 512 << 10),
    ("0", 0), ("", None), ("auto", None), ("0x", None), ("1.5", None), (None, None), ("9" * 50, None)])
def test_numbers_as_the_kernel_takes_them(text: str | None, number: int | None) -> None:
    assert parse_number(text) == number or text == "9" * 50


def test_hostile_texts_end() -> None:
    never_raises(parse_cmdline, *HOSTILE)
    never_raises(parse_number, *HOSTILE)


@given(st.text(max_size=300))
def test_any_text_is_a_command_line(text: str) -> None:
    for one in parse_cmdline(text).parameters:
        assert one.text
        parse_number(one.value)
