"""The scripts of the how-to pages for Prometheus, NHC and Slurm run as they are printed."""

from __future__ import annotations

import configparser
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from boxcheck.report.openmetrics import account_openmetrics, run_openmetrics
from tests.boxes import build
from tests.report.stored import stored

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
CODES = (0, 1, 2, 3, 4, 5, 124)


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", (HOW_TO / page).read_text(), re.DOTALL | re.MULTILINE)


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder of stand-ins, each of which writes down how it was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("scontrol", "logger"):
        program(folder, name, f'#!/bin/bash\nprintf "%s\\n" "{name} $*" >> "{tmp_path}/called"\nexit ${{{name}_fails:-0}}\n')
    program(folder, "hostname", "#!/bin/bash\necho node7\n")
    program(folder, "boxcheck", f'#!/bin/bash\nprintf "%s\\n" "$*" >> "{tmp_path}/asked"\nprintf "%s\\n" "${{SAYS-verdict fail '
            '1 required check failed}"\nexit ${CODE:-0}\n')
    return folder


def bash(tools: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", text], capture_output=True, text=True, timeout=20,
        env={"PATH": f"{tools}:/usr/bin:/bin", **environment})


def called(tools: Path) -> str:
    path = tools.parent / "called"
    return path.read_text() if path.exists() else ""


NHC = 'die() {{ echo "die $*"; }}\nlog() {{ echo "log $*"; }}\n{}\ncheck_boxcheck --profile wopr-7x4090\nexit $?'


def nhc(tools: Path, code: int, **environment: str) -> subprocess.CompletedProcess[str]:
    (script,) = [one for one in blocks("slurm-and-nhc.md", "bash") if "function check_boxcheck" in one]
    return bash(tools, NHC.format(script), CODE=str(code), **environment)


@pytest.mark.parametrize("code", CODES)
def test_nhc_fails_where_the_page_says_that_the_node_drains(tools: Path, code: int) -> None:
    done = nhc(tools, code)
    assert done.returncode == int(code in (1, 5))
    assert ("die 1" in done.stdout) == (code in (1, 5))
    assert ("log" in done.stdout) == (code in (2, 3, 4, 124))
    assert done.stderr == ""
    if code:
        assert f"exit {code}: verdict fail 1 required check failed" in done.stdout
    assert (tools.parent / "asked").read_text().split() == [
        "doctor", "--no-wake", "--no-record", "--plain", "--quiet", "--profile", "wopr-7x4090"]


def test_nhc_drains_on_what_was_not_read_where_it_is_told_to(tools: Path) -> None:
    assert nhc(tools, 3, BOXCHECK_DRAIN_ON="1 3 5").returncode == 1
    assert nhc(tools, 1, BOXCHECK_DRAIN_ON="5").returncode == 0


def test_nhc_gets_no_text_that_a_shell_would_run(tools: Path) -> None:
    done = nhc(tools, 1, SAYS="verdict fail '; touch /tmp/x; $(id) `id` \x1b[31m")
    assert done.returncode == 1
    assert not set("'$`;()\x1b") & set(done.stdout.partition("exit 1: ")[2])


def test_a_doctor_that_hangs_is_ended_and_does_not_drain(tools: Path) -> None:
    program(tools, "boxcheck", "#!/bin/bash\nexec sleep 30\n")
    done = nhc(tools, 0, BOXCHECK_SECONDS="0.2")
    assert done.returncode == 0
    assert "not drained, exit 124: no verdict" in done.stdout


def slurm(tools: Path, code: int, **environment: str) -> subprocess.CompletedProcess[str]:
    (script,) = [one for one in blocks("slurm-and-nhc.md", "bash") if "scontrol update" in one]
    return bash(tools, script, CODE=str(code), **environment)


@pytest.mark.parametrize("code", CODES)
def test_slurm_drains_where_the_page_says_so_and_hears_of_the_rest(tools: Path, code: int) -> None:
    assert slurm(tools, code).returncode == 0
    said = called(tools)
    drained = "scontrol update NodeName=node7 State=DRAIN Reason=boxcheck: exit"
    assert (drained in said) == (code in (1, 5))
    assert ("logger" in said) == (code in (2, 3, 4, 124))
    assert code != 0 or said == ""


def test_slurm_hears_where_the_node_could_not_be_drained(tools: Path) -> None:
    assert slurm(tools, 1, scontrol_fails="1").returncode == 1


def test_slurm_is_told_the_name_that_it_knows_and_metrics_go_where_they_are_served(tools: Path) -> None:
    slurm(tools, 3, SLURMD_NODENAME="gpu-n4", BOXCHECK_DRAIN_ON="1 3 5", BOXCHECK_METRICS=str(tools))
    assert "NodeName=gpu-n4 State=DRAIN" in called(tools)
    assert f"--openmetrics {tools}/boxcheck-doctor.prom" in (tools.parent / "asked").read_text()


@pytest.mark.parametrize("code", CODES)
def test_a_prolog_holds_a_job_back_on_a_failure_alone(tools: Path, code: int) -> None:
    (script,) = [one for one in blocks("slurm-and-nhc.md", "bash") if "A prolog" in one]
    assert bash(tools, script, CODE=str(code)).returncode == (code if code in (1, 5) else 0)


@pytest.mark.parametrize(("box", "drains"), [("wopr-7x4090", False), ("wopr-7x4090+riser-x8", True)])
def test_the_scripts_and_boxcheck_itself_fit(tools: Path, tmp_path: Path, box: str, drains: bool) -> None:
    """Not a stand-in: boxcheck as it is, on a built box."""
    build(box).write_dir(tmp_path / "box")
    program(tools, "boxcheck", f'#!/bin/bash\nexec {shlex.quote(sys.executable)} -m boxcheck "$@" --sysroot '
            f"{shlex.quote(str(tmp_path / 'box'))}\n")
    place = {"PYTHONPATH": str(HOW_TO.parents[1]), "HOME": str(tmp_path)}
    done = nhc(tools, 0, **place)
    assert done.returncode == int(drains), done
    (tmp_path / "metrics").mkdir()
    assert slurm(tools, 0, BOXCHECK_METRICS=str(tmp_path / "metrics"), **place).returncode == 0
    assert ("Reason=boxcheck: exit 1: verdict fail 1 required check failed" in called(tools)) == drains
    assert "boxcheck_verdict" in (tmp_path / "metrics" / "boxcheck-doctor.prom").read_text()
    assert not (tmp_path / ".local").exists()


def test_the_unit_for_prometheus_calls_what_boxcheck_has(tmp_path: Path) -> None:
    service, timer = blocks("prometheus.md", "ini")
    unit = configparser.ConfigParser(comment_prefixes=("#",), strict=True)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(service)
    words = shlex.split(unit["Service"]["ExecStart"])
    assert words.pop(0) == "boxcheck"
    assert unit["Service"]["SuccessExitStatus"].split() == ["1", "3", "5"]
    assert "OnUnitActiveSec=10min" in timer
    words[words.index("--openmetrics") + 1] = str(tmp_path / "b.prom")
    build("tinybox-red").write_dir(tmp_path / "box")
    done = subprocess.run(
        [sys.executable, "-m", "boxcheck", *words, "--sysroot", str(tmp_path / "box")], capture_output=True, text=True,
        timeout=30)
    assert done.returncode in (0, 1, 3), done.stderr
    assert (tmp_path / "b.prom").read_text().endswith("# EOF\n")


def test_an_idle_box_lacks_nothing_but_what_the_alarm_of_the_page_leaves_out(tmp_path: Path) -> None:
    from boxcheck.commands.doctor import Options, examine

    (rule,) = re.findall(r"alert: BoxNotJudged\n(.*?)- alert:", "".join(blocks("prometheus.md", "yaml")), re.DOTALL)
    (left_out,) = re.findall(r'boxcheck_check\{check="([a-z.-]+)",outcome="unknown",required="true"\}', rule)
    build("wopr-7x4090-one-reading").write_dir(tmp_path / "idle")
    build("laptop").write_dir(tmp_path / "unmatched")
    idle, unmatched = (
        account_openmetrics(examine(Options(sysroot=str(tmp_path / name), wake=False))[0])
        for name in ("idle", "unmatched"))
    unread = re.compile(r'^boxcheck_check\{.*check="([a-z.-]+)",outcome="unknown",required="true"\}', re.MULTILINE)
    assert unread.findall(idle) == [left_out]
    # Where no profile says what it must be, it is told.
    assert 'profile!=""' in rule
    assert 'profile="wopr-7x4090"' in idle
    assert re.search(r'^boxcheck_info\{.*profile=""', unmatched, re.MULTILINE)


def test_every_metric_of_the_page_is_made_and_every_metric_that_is_made_is_on_the_page(tmp_path: Path) -> None:
    from boxcheck.commands.doctor import Options, examine

    page = (HOW_TO / "prometheus.md").read_text()
    told = set(re.findall(r"\bboxcheck_[a-z_]+", page))
    build("wopr-7x4090").write_dir(tmp_path)
    texts = (run_openmetrics(stored("failed")), account_openmetrics(examine(Options(sysroot=str(tmp_path)))[0]))
    made = {name for text in texts for name in re.findall(r"^# TYPE (boxcheck_[a-z_]+) ", text, re.MULTILINE)}
    assert made <= told
    # Of an acceptance alone, and of copies: test_openmetrics.py.
    assert told - made == {"boxcheck_disposition", "boxcheck_attempt", "boxcheck_link_bit_error_rate_upper"}
    for metric, label in re.findall(r"(boxcheck_[a-z_]+)\{([a-z_]+)=", "".join(blocks("prometheus.md", "yaml"))):
        assert any(re.search(rf"^{metric}\{{.*\b{label}=", text, re.MULTILINE) for text in texts), (metric, label)
