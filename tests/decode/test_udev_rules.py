from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from boxcheck.decode.udev_rules import parse_udev_rules

DEFAULT = '''# DRI
SUBSYSTEM=="drm", KERNEL!="renderD*", GROUP="video"
SUBSYSTEM=="drm", KERNEL=="renderD*", \\
  GROUP="render", MODE="0666"
SUBSYSTEM=="kfd", GROUP="render", MODE="0666"
ACTION=="add", RUN+="/bin/true"
'''


def test_rules_that_set_group_or_mode() -> None:
    rules = parse_udev_rules(DEFAULT, "50-udev-default.rules")
    assert [(rule.subsystem, rule.kernel, rule.kernel_not, rule.group, rule.mode) for rule in rules] == [
        ("drm", None, "renderD*", "video", None), ("drm", "renderD*", None, "render", 0o666),
        ("kfd", None, None, "render", 0o666)]
    assert rules[1].line == 4


def test_which_device_a_rule_is_for() -> None:
    video, render, kfd = parse_udev_rules(DEFAULT, "x")
    assert not video.names("drm", "renderD128")
    assert video.names("drm", "card0")
    assert render.names("drm", "renderD128")
    assert not render.names("drm", "card0")
    assert kfd.names("kfd", "kfd")
    assert not kfd.names("drm", "renderD128")


def test_a_rule_for_cards_alone_is_not_for_render_nodes() -> None:
    (rule,) = parse_udev_rules('SUBSYSTEM=="drm", KERNEL=="card[0-9]*", GROUP="render", MODE="0666"', "x")
    assert rule.names("drm", "card0")
    assert not rule.names("drm", "renderD128")


def test_patterns_may_be_joined_and_a_bare_mode_is_for_nobody() -> None:
    (both,) = parse_udev_rules('KERNEL=="kfd|renderD*", MODE="0660"', "x")
    assert both.names("kfd", "kfd")
    assert both.names("drm", "renderD129")
    (bare,) = parse_udev_rules('MODE="0666"', "x")
    assert not bare.names("kfd", "kfd")


@given(st.text(max_size=400))
def test_any_text_is_a_rules_file(text: str) -> None:
    for rule in parse_udev_rules(text, "x"):
        rule.names("kfd", "kfd")
