"""Runs what the host asks for, one request a line on standard input; what a program prints goes to files in /out.

    {"n": 3, "argv": ["dmesg"], "user": [1000, [1000, 44]], "env": {}, "stdin": "", "seconds": 30}
    {"n": 4, "boxcheck": ["doctor", "--json", "-"]}
    {"n": 4, "boxcheck": ["riser", ...], "taken": [["0000:40:00.0", 100]]}
    {"n": 5, "beside": "tests.kernel.guest.witness", "argv": ["/tmp/disk/runs", "/out/witness"]}
    {"n": 5, "read": ["/sys/..."]}
    {"n": 6, "access": [["pwrite", "/sys/...", 64, "0100"], ["pread", "/sys/...", 64, 2]]}

`beside` calls a module's `main` in a process of its own, and does not wait for it. `access` opens each file for reading and writing, and does to it what a program in Python does: the answer holds the bytes
as hexadecimal digits, how many were written, or the call that failed and its errno's name.

A request for boxcheck is run in a fork of this process, in which boxcheck is imported already: in an emulated processor the
imports take seconds. The program is the same: `boxcheck.__main__.main` with the words as its arguments. Processes that it
starts of its own program are forks too (`forks.py`). `taken` names
registers (Link Control, by address and offset) whose port is played by somebody outside: a write there that asks for a
retraining comes back when he has taken it, as it does where hardware is the port.
"""

import errno
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time

OUT = "/out"


def become(user):
    if user is not None:
        uid, groups = user
        os.setgroups(groups)
        os.setgid(groups[0])
        os.setuid(uid)


def run(request, out, err):
    environment = {**os.environ, **request.get("env", {})}
    try:
        done = subprocess.run(
            request["argv"], stdout=out, stderr=err, env=environment, timeout=request.get("seconds", 60),
            input=request.get("stdin", "").encode(), preexec_fn=lambda: become(request.get("user")), check=False)
    except subprocess.TimeoutExpired:
        return 124
    except OSError as error:
        out.write(str(error).encode())
        return 127
    return done.returncode


OF_DOCTOR = (
    "boxcheck.__main__", "boxcheck.cli", "boxcheck.commands.doctor", "boxcheck.engine.record", "boxcheck.engine.untold",
    "boxcheck.gpu.cache", "boxcheck.host.live", "boxcheck.host.pci_names", "boxcheck.host.tree", "boxcheck.profile_burn",
    "boxcheck.profile_detect", "boxcheck.profile_file", "boxcheck.profile_gpus", "boxcheck.profile_lines", "boxcheck.profile_read",
    "boxcheck.profile_resolve", "boxcheck.report", "boxcheck.report.json", "boxcheck.report.output", "boxcheck.report.progress",
    "boxcheck.report.summary", "boxcheck.report.text", "pyudev", "tomllib",
    *(f"boxcheck.decode.klog.{name}" for name in (
        "aer", "aer_lines", "amdgpu", "amdgpu_rules", "bars", "beside", "disks", "harmless", "machine", "steps")))
"""What doctor comes to import, early or late: it is the command that a guest runs often."""


OF_WORKERS = ("boxcheck.engine.worker", "boxcheck.engine.stress", "boxcheck.commands.capture", "boxcheck.host.write", "tarfile")
OF_LOADS = (*OF_WORKERS, "numpy", "boxcheck.gpu.cpu", "boxcheck.stress.matmul", "boxcheck.stress.vram", "boxcheck.stress.host_child")
OF_RUNS = (*OF_LOADS, "boxcheck.commands.burn", "boxcheck.commands.follow", "boxcheck.engine.burn", "boxcheck.engine.guard",
           "boxcheck.telemetry.boundary", "boxcheck.commands.doctor", "boxcheck.store.writer")
OF = {"capture": OF_WORKERS, "riser": (*OF_LOADS, "boxcheck.commands.riser", "boxcheck.commands.riser_all"), "burn": OF_RUNS}
"""What other commands import as well, and the processes that they start."""


def imported_for(words):
    for name in OF.get(words[0], ()):
        importlib.import_module(name)


def imported():
    for name in OF_DOCTOR:
        importlib.import_module(name)
    from boxcheck.engine import installation
    from boxcheck.registry import discover

    discover()
    # Root is asked at each start who can write any of the 8000 files that it runs: here they are the host's, read-only, and
    # each look at one goes over 9p, in all 10 s and more of the processor. tests/test_installation.py holds that.
    installation.written_by_others = lambda caller: None


RETRAIN = 1 << 5
TAKEN_SECONDS = 60


def take_writes(registers):
    from boxcheck.host.config_space import LivePorts

    write = LivePorts.write

    def until_taken(self, bdf, offset, size_bytes, value):
        write(self, bdf, offset, size_bytes, value)
        end = time.monotonic() + TAKEN_SECONDS
        while [bdf, offset] in registers and value & RETRAIN and time.monotonic() < end:
            found = self.read(bdf, offset, size_bytes)
            if isinstance(found, int) and not found & RETRAIN:
                break
            time.sleep(0.002)

    LivePorts.write = until_taken


def boxcheck(request, out, err):
    imported_for(request["boxcheck"])
    from tests.kernel.guest import forks

    child = os.fork()
    if child:
        return wait(child, request.get("seconds", 120))
    try:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        nothing = os.open("/dev/null", os.O_RDONLY)
        os.dup2(nothing, 0)
        sys.stdin, sys.stdout, sys.stderr = open(0), os.fdopen(1, "w"), os.fdopen(2, "w")  # noqa: SIM115
        os.environ.update(request.get("env", {}))
        become(request.get("user"))
        if request.get("taken"):
            take_writes(request["taken"])
        forks.begin()
        sys.argv = ["boxcheck", *request["boxcheck"]]
        code = 70
        try:
            from boxcheck.__main__ import main

            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except BaseException:  # noqa: BLE001  the host wants the traceback, not a dead guest
            import traceback

            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    finally:
        os._exit(71)


def beside(request, err):
    """In a fork as well: a second start of Python would take the imports' time from what runs beside it."""
    child = os.fork()
    if child:
        return 0
    try:
        os.setsid()
        os.dup2(err.fileno(), 2)
        importlib.import_module(request["beside"]).main(*request["argv"])
    except BaseException:  # noqa: BLE001  what went wrong is there for the host to read
        import traceback

        traceback.print_exc()
    finally:
        os._exit(0)


def wait(child, seconds):
    """Sleeps until its end: to look again and again would take the emulated processor's time from it."""
    descriptor = os.pidfd_open(child)
    try:
        ended, _, _ = select.select([descriptor], [], [], seconds)
    finally:
        os.close(descriptor)
    if not ended:
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status) if ended else 124


def read(paths):
    found = {}
    for path in paths:
        try:
            with open(path, "rb") as file:
                found[path] = file.read(65536).decode("latin-1")
        except OSError as error:
            found[path] = {"error": error.strerror}
    return found


def access(kind, path, offset, what):
    call = "open"
    try:
        file = os.open(path, os.O_RDONLY if kind == "pread" else os.O_RDWR)
        try:
            call = kind
            return os.pread(file, what, offset).hex() if kind == "pread" else os.pwrite(file, bytes.fromhex(what), offset)
        finally:
            os.close(file)
    except OSError as error:
        return {"call": call, "errno": errno.errorcode.get(error.errno, str(error.errno))}


def main():
    print(json.dumps({"ready": time.clock_gettime(time.CLOCK_BOOTTIME)}), flush=True)
    # Standard output is the line to the host; nothing else may write to it.
    line = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    ready = False
    for text in sys.stdin:
        request = json.loads(text)
        began = time.monotonic()
        answer = {"n": request["n"]}
        if "read" in request:
            with open(f"{OUT}/{request['n']}.out", "w") as file:
                json.dump(read(request["read"]), file)
            answer["exit"] = 0
        elif "access" in request:
            with open(f"{OUT}/{request['n']}.out", "w") as file:
                json.dump([access(*step) for step in request["access"]], file)
            answer["exit"] = 0
        else:
            with open(f"{OUT}/{request['n']}.out", "wb") as out, open(f"{OUT}/{request['n']}.err", "wb") as err:
                if ("boxcheck" in request or "beside" in request) and not ready:
                    imported()
                    ready = True
                if "beside" in request:
                    answer["exit"] = beside(request, err)
                elif "boxcheck" in request:
                    answer["exit"] = boxcheck(request, out, err)
                else:
                    answer["exit"] = run(request, out, err)
        answer["seconds"] = round(time.monotonic() - began, 3)
        print(json.dumps(answer), file=line, flush=True)


sys.path[:0] = [path for path in os.environ.get("BENCH_PATH", "").split(":") if path]
main()
