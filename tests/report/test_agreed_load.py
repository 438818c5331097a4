"""An attempt that is judged by another profile passes only where it was under the load which that one asks for."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from boxcheck.certify.acceptance import Identity
from boxcheck.certify.attempts import FILES, Asked
from boxcheck.certify.folder import write_folder
from boxcheck.certify.run import accept
from boxcheck.commands.burn import Options
from boxcheck.commands.report import Outputs, report
from boxcheck.commands.runs import judge_run
from boxcheck.engine.agreed_load import short_of
from boxcheck.profile import load_profile
from boxcheck.store.reader import RunReader
from tests.golden.runs import stored

SHIPPED = (Path(__file__).parents[2] / "profiles" / "wopr-7x4090.toml").read_text()
LONG = "the load was planned for 28 s, and wopr-7x4090 asks for 4 h"


@pytest.fixture(scope="module")
def attempt(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a profile that was cut to 28 s: else the same, down to its name, revision and limits."""
    path, place = stored("one"), tmp_path_factory.mktemp("attempt")
    with RunReader(path) as reader:
        began = reader.run().started
    made = accept(Asked(id="one", identity=Identity(serial="W-1", serial_from="operator"), attempt=1, began=began, run=path),
                  (), now=began + 60, clock_trusted=True, machine={})
    assert made.told.disposition == "PASS"
    write_folder(str(place), path, made.told, made.want, made.verdict_json)
    shutil.move(place / FILES, place / "whole")
    return str(place / "whole")


def burn_table(text: str, table: str) -> str:
    head, _, rest = text.partition("[burn]")
    after = rest.partition("\n[")[2]
    return f"{head}[burn]\n{table}\n" + (f"[{after}" if after else "")


def test_the_agreed_profile_does_not_pass_what_ran_shorter(
    attempt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    agreed = tmp_path / "agreed.toml"
    agreed.write_text(burn_table(SHIPPED, 'acceptance = "4h"\nacceptance_from = "the contract"'))
    assert judge_run(attempt, None, Options()) == 0
    capsys.readouterr()
    assert judge_run(attempt, str(agreed), Options(json=str(tmp_path / "j"))) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert LONG in said
    assert json.loads((tmp_path / "j").read_text())["verdict"]["outcome"] == "unknown"
    assert report(attempt, str(agreed), Outputs(
        junit=str(tmp_path / "x"), openmetrics=str(tmp_path / "m"), ocptv=str(tmp_path / "o"), html=str(tmp_path / "h"))) == 0
    root = ElementTree.parse(tmp_path / "x").getroot()
    assert [LONG in one.attrib["message"] for one in (*root.iter("failure"), *root.iter("error"))] == [True]
    assert 'boxcheck_exit_code{source="burn"} 3\n' in (tmp_path / "m").read_text()
    end = json.loads((tmp_path / "o").read_text().splitlines()[-1])["testRunArtifact"]["testRunEnd"]
    assert end["result"] != "PASS"
    assert LONG in (tmp_path / "h").read_text()


@pytest.mark.parametrize(("table", "says"), [
    ('acceptance = "28s"\nacceptance_from = "x"', ""),
    ('acceptance = "1h"\nacceptance_from = "x"\nacceptance_least = "20s"', ""),
    ('acceptance = "28s"\nacceptance_from = "x"\nshares = { matmul = 0.9 }', "other shares or options"),
    ('acceptance = "28s"\nacceptance_from = "x"\n[burn.options]\nvram = { rest = "120" }', "other shares or options"),
    ("", "asks for 1 h"),
])
def test_what_a_load_lacks_by_a_profile(tmp_path: Path, table: str, says: str) -> None:
    path = tmp_path / "agreed.toml"
    path.write_text(burn_table(SHIPPED, table))
    with RunReader(stored("one")) as reader:
        found = "; ".join(short_of(reader, load_profile(str(path))))
    assert says in found if says else not found
