"""A box that passes by the profile of another one, taken by --force-profile, says so wherever it says that it passed."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tests.certify.test_certify import Bench
from tests.report.ocp import read


def test_a_profile_that_was_forced_is_said_on_every_page(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    other = tmp_path / "other.toml"
    other.write_text(Path(bench.profile()).read_text() + '[match]\ncpu = ["Some Processor 9*"]\n')
    words = ("certify", "--profile", str(other), "--backend", "cpu", "--serial", "W-1", "--operator", "A")
    assert bench.call(*words).returncode == 2
    done = bench.call(*words, "--force-profile")
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "profile OF ANOTHER BOX, taken by --force-profile: the " in text
    assert "chosen with --profile, by --force-profile, although the " in text
    folder, says = bench.certified / "W-1" / "attempt-01", bench.told("W-1", 1).forced
    assert says.endswith("not Some Processor 9*")
    assert says in json.loads((folder / "verdict.json").read_text())["profile_why"]
    page = " ".join((folder / "report.html").read_text().split())
    assert page.count(f"It was taken by --force-profile: {says}.") == 1
    assert f"quick is the profile of another box: {says}." in page
    properties = {one.attrib["name"]: one.attrib["value"] for one in ElementTree.parse(folder / "junit.xml").iter("property")}
    assert properties["profile-forced"] == says
    started = read((folder / "run.ocptv.jsonl").read_text())[1]["testRunArtifact"]["testRunStart"]
    assert started["parameters"]["profile_forced"] == says
    kept = bench.call("judge", bench.told("W-1", 1).run)
    assert f"although {says}" in " ".join(kept.stdout.split())


def test_a_profile_that_is_this_boxs_needs_no_force(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    done = bench.certify("--serial", "W-1", "--operator", "A", "--force-profile")
    assert done.returncode == 0
    assert "--force-profile" not in done.stdout
    assert bench.told("W-1", 1).forced == ""
