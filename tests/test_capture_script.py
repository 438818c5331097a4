"""boxcheck-capture.sh writes what boxcheck writes: on this machine, in every shell, as root and as nobody."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from boxcheck.engine.inspect import choose_checks, inspect_facts, read_facts
from boxcheck.host import ENVIRONMENT, Host
from boxcheck.host.capture import CaptureHost
from boxcheck.host.covers import Covers
from boxcheck.host.evidence import collect, covers, glob_of, programs, rows, script_text, variables
from boxcheck.host.live import LiveHost
from boxcheck.model import Unread
from boxcheck.profile import load_profile
from tests.boxes import BOXES, build
from tests.host.asked import as_nobody, plain
from tests.reachable import reachable

SCRIPT = Path(__file__).resolve().parents[1] / "boxcheck" / "data" / "boxcheck-capture.sh"
SHELLS: dict[str, list[str]] = {
    "sh": ["sh"],
    "dash": ["dash"],
    "busybox": ["busybox", "ash"],
    "bash": ["bash", "--posix"],
}


def shell(name: str) -> list[str]:
    if shutil.which(SHELLS[name][0]) is None:
        pytest.skip(f"{name} is not installed")
    return SHELLS[name]


def run_script(command: list[str], out: Path | str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, str(SCRIPT), str(out)], capture_output=True, text=True, timeout=300, **options)


def test_shellcheck_finds_nothing() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", "-s", "sh", str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# The list


def test_the_list_is_sound() -> None:
    assert len(rows()) > 100
    for row in rows():
        assert row.directory.startswith("/")
        assert row.names, row.directory
        for name in row.names:
            assert re.fullmatch(r"\.|[?>]?[\w.,:*?\[\]-]+", name), name
    directories = [row.directory for row in rows()]
    assert len(directories) == len(set(directories))
    assert set(variables()) == set(ENVIRONMENT)
    assert {program.when for program in programs()} == {"any", "root", "bmc"}


def test_the_list_reads_nothing_that_writes_or_costs() -> None:
    """Attributes that start something when read, wake what sleeps for long, or hold what nobody needs."""
    for path in (
        "/sys/bus/pci/devices/0000:01:00.0/rom",
        "/sys/bus/pci/devices/0000:01:00.0/resource0",
        "/dev/mem",
        "/dev/watchdog",
        "/sys/bus/pci/devices/0000:01:00.0/vpd",
        "/sys/bus/pci/devices/0000:01:00.0/pcie_bw",
        "/etc/shadow",
        "/etc/fstab",
        "/sys/class/dmi/id/product_uuid",
        "/sys/class/dmi/id/board_serial",
        "/etc/machine-id",
        "/etc/hostname",
        "/proc/kmsg",
        "/proc/kcore",
        "/dev/sda",
        "/dev/nvme0",
        "/dev/port",
    ):
        assert not Covers(covers()).match(path), path


def asked(host: Host) -> Iterator[tuple[str, str]]:
    """What all probes ask of a host: (question, path)."""
    found: dict[tuple[str, str], None] = {}

    def spy(question: str, ask: Callable[..., Any]) -> Callable[..., Any]:
        def asking(path: Any, *rest: Any, **more: Any) -> Any:
            found[question, path if isinstance(path, str) else " ".join(path)] = None
            return ask(path, *rest, **more)

        return asking

    for question in ("read", "text", "entries", "target", "exists", "stat", "opens", "run", "disk"):
        setattr(host, question, spy(question, getattr(host, question)))
    read_facts(host)
    yield from found


def globs(names: Callable[[str], bool]) -> Covers:
    """The part of the list whose names pass."""
    return Covers(glob_of(row, name) for row in rows() for name in row.names if names(name))


LISTED = globs(lambda name: name == ".")
COPIED = globs(lambda name: name[0] not in ".?>")
THERE = globs(lambda name: name != ".")
LINKS = globs(lambda name: name[0] not in ".?")
NEEDS = {
    "read": COPIED,
    "text": COPIED,
    "opens": COPIED,
    "entries": LISTED,
    "target": LINKS,
    "exists": THERE,
    "stat": THERE,
}
NOT_IN_A_SHELL = ("getfacl ",)
"""Asked under sudo only, for all nodes at once."""


def is_covered(question: str, path: str) -> bool:
    """Whether the script looks for a path in the way that the question needs."""
    if question == "run":
        return path.startswith(NOT_IN_A_SHELL) or any(
            fnmatchcase(path, " ".join(program.argv)) for program in programs()
        )
    if question == "disk":
        return True  # every mounted file system is asked
    names = [path, *aliases(path)]
    if question in ("exists", "stat") and any(LISTED.match(name.rpartition("/")[0]) for name in names):
        return True  # a listing tells who is there
    return any(NEEDS[question].match(name) for name in names)


def aliases(path: str) -> Iterator[str]:
    """The names of a device's file below /sys/bus."""
    if path.startswith("/sys/devices/"):
        for bus, device in (("pci", r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]"), ("usb", r"\d+-[\d.]+")):
            for found in re.finditer(rf"/({device})(?=/|$)", path):
                yield f"/sys/bus/{bus}/devices/{found[1]}{path[found.end() :]}"


@pytest.mark.parametrize("box", [*BOXES, "this machine"])
def test_the_script_looks_for_all_that_probes_read(box: str, tmp_path: Path) -> None:
    host: Host = LiveHost()
    if box != "this machine":
        build(box).write_tar(tmp_path / "box.tar.gz")
        host = CaptureHost(str(tmp_path / "box.tar.gz"))
    # boot_id tells what an experiment of this boot left from an earlier one's: on a live machine alone.
    missing = [f"{question} {path}" for question, path in asked(host)
               if not is_covered(question, path) and path != "/proc/sys/kernel/random/boot_id"]
    assert not missing, "add to the list in boxcheck-capture.sh:\n" + "\n".join(missing[:40])


# Agreement

DIFFERS = {
    # What changes between two readings of one machine.
    r"facts\.process_limits\.shared_memory_bytes",
    r".*uptime.*",
    r".*free_bytes",
    r".*space\.total_bytes",
    r".*interrupts.*",
    r"facts\.kernel_log\..*last_seconds",
    r"facts\.sensors\..*",
    r"facts\.memory\.(free|available).*",
    r"facts\.cpu\.nodes.*(free|memory)_bytes",  # of a virtual machine that is given more or less
    r"facts\.storage\..*free.*",
    # What a shell cannot ask: libraries, and boxcheck itself of its experiments.
    r"facts\.nvml.*",
    r"facts\.pci_names.*",
    r"facts\.left_changed\..*",
    r"findings\.pcie\.left-changed box",
    # Where a journal keeps nothing on disk a user need not ask root for it; the script's folder has no word of that.
    r"facts\.kernel_log\.previous_boot",
    r"findings\.log\.previous-boot box",
}


def facts_of(host: Host) -> Any:
    facts = read_facts(host)
    assert not facts.crashes, facts.crashes[0].traceback
    verdict = inspect_facts(facts, load_profile("generic"), choose_checks([]))
    return {
        "facts": plain(facts.by_name()),
        "findings": {f"{finding.check} {finding.subject}": finding.outcome for finding in verdict.findings},
    }


def differences(one: Any, other: Any, place: str = "") -> Iterator[str]:
    if any(re.fullmatch(pattern, place) for pattern in DIFFERS):
        return
    if isinstance(one, dict) and isinstance(other, dict) and "why" not in one:
        for key in sorted({*one, *other}):
            yield from differences(one.get(key), other.get(key), f"{place}.{key}".strip("."))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differences(left, right, f"{place}.{number}")
    elif one != other:
        yield f"{place}: {one!r:.300} != {other!r:.300}"


@pytest.mark.parametrize("name", SHELLS)
def test_the_script_and_boxcheck_agree_on_this_machine(name: str, tmp_path: Path) -> None:
    command = shell(name)
    done = run_script(command, tmp_path / "box.tar.gz")
    assert done.returncode == 0, done.stderr
    host = LiveHost()
    expected = facts_of(host)
    replay = CaptureHost(str(tmp_path / "box.tar.gz"))
    assert replay.complaints == []
    assert not list(differences(expected, facts_of(replay)))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("name", SHELLS)
def test_they_agree_for_nobody_too(name: str, tmp_path: Path) -> None:
    command = shell(name)
    script = tmp_path / "script.sh"
    reachable(tmp_path)
    script.write_text(script_text())
    place = tmp_path / "nobody"
    place.mkdir()
    place.chmod(0o777)
    facts_of(LiveHost())

    def work() -> tuple[int, str, Any]:
        done = subprocess.run([*command, str(script), f"{place}/box.tar.gz"], capture_output=True, text=True, cwd="/")
        return done.returncode, done.stderr, facts_of(LiveHost())

    status, errors, expected = as_nobody(work, tmp_path)
    assert status == 0, errors
    found = facts_of(CaptureHost(f"{place}/box.tar.gz"))
    assert not list(differences(expected, found))


def in_the_place_of(tree: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs a command that sees another machine's /sys and /proc, in a mount namespace of its own."""
    mounts = f"mount --bind '{tree}/sys' /sys && mount --bind '{tree}/proc' /proc && exec \"$@\""
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", mounts, "sh", *command], capture_output=True, text=True, timeout=300
    )


ONLY_IN_A_CAPTURE = re.compile(r".*nvme\.drives\.\d+\.smart.*")
"""The built machine has no device nodes here, and the script asks nodes only."""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
@pytest.mark.parametrize("box", ["tinybox-red", "wopr-7x4090", "strix-halo"])
def test_both_read_a_box_full_of_gpus_alike(box: str, tmp_path: Path) -> None:
    """The whole way on a machine that is not this one: its /sys and /proc, read live, by the script and by boxcheck."""
    if shutil.which("unshare") is None or in_the_place_of(Path("/"), ["true"]).returncode != 0:
        pytest.skip("this machine has no mount namespaces")
    tree = build(box).write_dir(tmp_path / "box")
    made = [
        in_the_place_of(tree, ["sh", str(SCRIPT), f"{tmp_path}/script.tar.gz"]),
        in_the_place_of(tree, [sys.executable, "-m", "boxcheck", "capture", f"{tmp_path}/boxcheck.tar.gz"]),
    ]
    assert [done.returncode for done in made] == [0, 0], [done.stderr for done in made]
    original, script, recorded = (
        facts_of(CaptureHost(str(path))) for path in (tree, tmp_path / "script.tar.gz", tmp_path / "boxcheck.tar.gz")
    )
    assert [line for line in differences(recorded, script) if not ONLY_IN_A_CAPTURE.match(line)] == []
    for name in (
        "pci",
        "gpus",
        "links",
        "slots",
        "kfd",
        "amdgpu",
        "dmi",
        "iommu",
        "memory",
        "cpu",
        "pcie_aer",
        "modules",
    ):
        if name in original["facts"]:
            left = differences(original["facts"][name], recorded["facts"][name], f"facts.{name}")
            # What was read a second time under load, and the nodes and libraries of this machine, are not in /sys.
            assert [
                line for line in left if not re.search(r"under_load|again|file was not|configured|not in the", line)
            ] == []


def test_both_hold_the_same_evidence(tmp_path: Path) -> None:
    """Every file that one way to capture holds, the other holds too, with the same content where that stands still."""
    done = run_script(["sh"], tmp_path / "box.tar")
    assert done.returncode == 0, done.stderr
    host = LiveHost()
    collect(host)
    with tarfile.open(tmp_path / "box.tar") as archive:
        found = {
            member.name[1:]: archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive
            if member.isfile() and not member.name.startswith("./boxcheck/")
        }
    found.pop("/var/log/dmesg", None)
    found.pop("/var/log/dmesg.0", None)
    assert set(found) == set(host.recording.files)
    moving = re.compile(
        r"/proc/(cpuinfo|interrupts|loadavg|meminfo|uptime|swaps|self/limits|mounts|self/mountinfo|modules|mdstat)|.*temp.*|.*freq.*|.*meminfo"
    )
    differing = [
        path for path, data in found.items() if host.recording.files[path] != data and not moving.fullmatch(path)
    ]
    assert differing == []


# The outside


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *((name, form) for name in SHELLS for form in (".tar.gz",)),
        ("dash", ".tar"),
        ("dash", ".tgz"),
        ("dash", ""),
        ("busybox", ""),
    ],
)
def test_what_it_writes_is_a_capture(name: str, form: str, tmp_path: Path) -> None:
    done = run_script(shell(name), tmp_path / f"box{form}")
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path) == [f"box{form}"]
    host = CaptureHost(f"{tmp_path}/box{form}")
    assert host.ours
    assert host.complaints == []
    who, live = host.who(), LiveHost().who()
    assert who == live
    assert isinstance(host.text("/proc/version"), str)
    assert isinstance(host.entries("/sys/class/net"), tuple)
    stamp = host.time()
    assert isinstance(stamp, float)
    assert abs(stamp - time.time()) < 120
    none = host.read("/proc/none")
    assert isinstance(none, Unread)
    assert none.kind == "not-captured"
    assert host.exists("/etc/tuned/active_profile") is os.path.exists("/etc/tuned/active_profile")
    if form:
        assert (tmp_path / f"box{form}").stat().st_mode & 0o777 == 0o600


def test_only_the_allowed_environment_is_recorded(tmp_path: Path) -> None:
    odd = 'a "quoted" \\ back\tslash \x1b[31m ü $(touch x) `touch y`'
    env = {
        "PATH": os.environ["PATH"],
        "HSA_XNACK": "1",
        "SECRET_TOKEN": "swordfish",
        "LD_LIBRARY_PATH": odd,
        "LANG": "",
    }
    done = run_script(["sh"], tmp_path / "box", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "box/boxcheck/capture.json").read_text()
    assert "swordfish" not in text
    recorded = json.loads(text)["env"]
    assert recorded == {"HSA_XNACK": "1", "LANG": "", "LD_LIBRARY_PATH": odd.replace("\x1b", "")}
    assert os.listdir(tmp_path) == ["box"]


def test_it_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for arguments in (["--nonsense"], ["a", "b"], [f"{tmp_path}/there"], [f"{tmp_path}/none/box.tar.gz"]):
        done = subprocess.run(["sh", str(SCRIPT), *arguments], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode != 0, arguments
        assert done.stderr.startswith("boxcheck-capture: ") or "mkdir" in done.stderr
    assert os.listdir(tmp_path) == ["there"]
    assert subprocess.run(["sh", str(SCRIPT), "--help"], capture_output=True).returncode == 0


def only(programs_there: list[str], folder: Path) -> dict[str, str]:
    """A PATH with these programs and no others, as on a small rescue system."""
    folder.mkdir()
    for program in programs_there:
        place = shutil.which(program)
        assert place is not None, program
        (folder / program).symlink_to(place)
    return {"PATH": str(folder)}


LEAST = ["cat", "cp", "ln", "mkdir", "mv", "rm", "sed", "tr", "date", "id", "sh", "ls", "chmod", "df"]


def test_a_system_with_next_to_nothing_gets_a_directory(tmp_path: Path) -> None:
    text = script_text().replace("PATH=$PATH:", "PATH=$PATH # ")
    script = tmp_path / "script.sh"
    script.write_text(text)
    env = {**os.environ, **only(LEAST, tmp_path / "bin")}
    done = subprocess.run(
        ["/bin/sh", str(script), f"{tmp_path}/box.tar.gz"], capture_output=True, text=True, env=env, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "wrote the directory" in done.stderr
    host = CaptureHost(f"{tmp_path}/box")
    assert host.complaints == []
    expected = facts_of(LiveHost())
    found = facts_of(host)
    left = [
        line
        for line in differences(expected["facts"], found["facts"], "facts")
        if "not in the capture" not in line and "not installed" not in line and "kernel_log" not in line
    ]
    assert not left


def test_a_system_of_busybox_alone(tmp_path: Path) -> None:
    """A rescue stick: the shell and every program are busybox's own."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed")
    folder = tmp_path / "bin"
    folder.mkdir()
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        (folder / applet).symlink_to(busybox)
    script = tmp_path / "script.sh"
    script.write_text(script_text().replace("PATH=$PATH:", "PATH=$PATH # "))
    env = {**os.environ, "PATH": str(folder)}
    done = subprocess.run(
        [busybox, "ash", str(script), f"{tmp_path}/box.tar.gz"], capture_output=True, text=True, env=env, timeout=300
    )
    assert done.returncode == 0, done.stderr
    host = CaptureHost(f"{tmp_path}/box.tar.gz")
    assert host.complaints == []
    expected, found = facts_of(LiveHost()), facts_of(host)
    left = [line for line in differences(expected["facts"], found["facts"], "facts") if "not installed" not in line]
    assert left == []


def test_modes_are_read_without_stat_too(tmp_path: Path) -> None:
    """The table from `ls -ln` to octal."""
    function = re.search(r"^octal\(\) \{\n.*?^\}", script_text(), re.S | re.M)
    assert function is not None
    for mode in (0o660, 0o666, 0o000, 0o755, 0o640, 0o421, 0o1777, 0o4755, 0o2070):
        path = tmp_path / "file"
        path.touch()
        path.chmod(mode)
        listed = subprocess.run(["ls", "-ln", path], capture_output=True, text=True, check=True).stdout.split()[0]
        done = subprocess.run(
            ["sh", "-c", f"{function[0]}\nprintf %s '{listed}' | octal"], capture_output=True, text=True
        )
        assert int(done.stdout, 8) == mode & 0o777, (listed, done.stdout)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", small], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount a small file system")
    try:
        done = run_script(["sh"], small / "box.tar.gz")
        assert done.returncode == 1
        assert "is the disk full?" in done.stderr
        assert os.listdir(small) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_pipes_and_hanging_programs_do_not_stop_it(tmp_path: Path) -> None:
    """The same script with another list: a FIFO, a hanging program, odd names, in a folder of the test."""
    odd = tmp_path / "odd"
    odd.mkdir()
    os.mkfifo(odd / "fifo")
    (odd / 'a "b" \\ c').write_text("1")
    (odd / "empty").write_text("")
    (odd / "secret").write_text("2")
    (odd / "secret").chmod(0)
    (odd / "link").symlink_to("empty")
    (odd / "far").symlink_to("/proc/version")
    (odd / "loop").symlink_to("loop")
    (odd / "dangling").symlink_to("none")
    (odd / "directory").mkdir()
    text = re.sub(
        r"\npaths='\n.*?\n'\n", f"\npaths='\n{odd} . * none\n{odd}/none x\n'\n", script_text(), count=1, flags=re.S
    )
    text = re.sub(
        r"\nprograms='\n.*?\n'\n",
        "\nprograms='\nany sleep 60\nany no-such-program -x\nany printf a\\\\tb~c\\\\n\n'\n",
        text,
        count=1,
        flags=re.S,
    )
    script = tmp_path / "script.sh"
    script.write_text(text.replace("program_seconds=10", "program_seconds=1"))
    for name in ("dash", "busybox"):
        began = time.monotonic()
        out = tmp_path / f"{name}.tar"
        done = subprocess.run([*shell(name), str(script), str(out)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - began < 30
        host = CaptureHost(str(out))
        assert host.complaints == []
        assert host.entries(str(odd)) == tuple(sorted(os.listdir(odd)))
        assert host.read(f'{odd}/a "b" \\ c') == b"1"
        assert host.read(f"{odd}/link") == b""
        assert host.target(f"{odd}/far") == "/proc/version"
        assert host.read(f"{odd}/far") == Path("/proc/version").read_bytes()
        assert host.exists(f"{odd}/none") is False
        assert host.exists(f"{odd}/none/x") is False
        fifo = host.stat(f"{odd}/fifo")
        assert not isinstance(fifo, Unread)
        assert fifo.kind == "fifo"
        sleep, missing, printed = (
            host.run(["sleep", "60"]),
            host.run(["no-such-program", "-x"]),
            host.run(["printf", "a\\tb c\\n"]),
        )
        assert isinstance(sleep, Unread)
        assert sleep.kind == "timeout"
        assert missing == Unread("no-such-program is not installed", "absent")
        assert not isinstance(printed, Unread)
        assert printed.stdout == "a\tb c"
        if os.geteuid() != 0:
            assert host.read(f"{odd}/secret") == Unread(f"{odd}/secret: permission denied", "permission")


@pytest.mark.parametrize(
    ("ends", "kind"),
    [("exec sleep 60", "timeout"), ("echo 'dmesg: read kernel buffer failed: Input/output error' >&2; exit 1", "error")],
)
@pytest.mark.parametrize("name", SHELLS)
def test_a_log_that_was_not_read_to_its_end_is_not_there(name: str, ends: str, kind: str, tmp_path: Path) -> None:
    """The first lines of a log, without the fault that follows them, would pass as a log without faults."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for program, does in (
        ("dmesg", f"echo '[    0.000000] Linux version 6.8.0'; {ends}"),
        ("journalctl", "exit 1"),
    ):
        (folder / program).write_text(f"#!/bin/sh\n{does}\n")
        (folder / program).chmod(0o755)
    script = tmp_path / "script.sh"
    script.write_text(script_text().replace("program_seconds=10", "program_seconds=1"))
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(
        [*shell(name), str(script), f"{tmp_path}/box.tar"], capture_output=True, text=True, env=env, timeout=300
    )
    assert done.returncode == 0, done.stderr
    log = CaptureHost(f"{tmp_path}/box.tar").kernel_log()
    assert isinstance(log, Unread)
    assert log.kind == kind
