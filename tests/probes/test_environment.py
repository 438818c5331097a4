from __future__ import annotations

from pathlib import Path

from boxcheck.probes.environment import Environment, parse_environment
from tests.boxes.tree import Login
from tests.probes.reading import HOSTILE, fact, kind_of, live, never_raises, tree

NAMES = frozenset({"HIP_VISIBLE_DEVICES", "NCCL_P2P_DISABLE"})


def test_lines_as_pam_reads_them() -> None:
    text = '# comment\nHIP_VISIBLE_DEVICES="0"\nexport NCCL_P2P_DISABLE=1\nSECRET_TOKEN=abc\nPATH=/bin\n'
    assert parse_environment(text, NAMES) == {"HIP_VISIBLE_DEVICES": "0", "NCCL_P2P_DISABLE": "1"}
    never_raises(lambda hostile: parse_environment(hostile, NAMES), *HOSTILE)


def test_values_are_cleaned_and_other_names_are_not_read(tmp_path: Path) -> None:
    made = tree({"/etc/environment": "HIP_VISIBLE_DEVICES=\x1b[31m0\n"})
    made.environment.update({"HIP_VISIBLE_DEVICES": "\x1b]0;x\x070", "SECRET_TOKEN": "abc"})
    found = fact(Environment, made, tmp_path)
    assert isinstance(found.variables, dict)
    assert list(found.variables) == ["HIP_VISIBLE_DEVICES"]
    assert found.variables["HIP_VISIBLE_DEVICES"].isprintable()
    assert isinstance(found.system, dict)
    assert found.system["HIP_VISIBLE_DEVICES"].isprintable()


def test_sudo_is_noticed(tmp_path: Path) -> None:
    made = tree()
    made.login = Login("root", 0, 0, (0,), 1000)
    assert fact(Environment, made, tmp_path).under_sudo
    assert not fact(Environment, tree(), tmp_path).under_sudo


def test_nobody_looked(tmp_path: Path) -> None:
    assert kind_of(fact(Environment, tree(whole=False), tmp_path).system) == "not-captured"


def test_this_machine() -> None:
    assert isinstance(live(Environment).variables, dict)
