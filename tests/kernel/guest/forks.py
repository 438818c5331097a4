"""boxcheck's own processes (`python -P -m boxcheck...`) by a fork instead of a start of Python: in an emulated processor the
imports take seconds, and a burn starts a dozen of them.

Each process that runs boxcheck has a helper, forked from it before it did anything (`begin`). To start a process is to send
the helper what Popen would have done, with the descriptors; it clones itself (clone(2), CLONE_PARENT), so that the new one is
a child of the one that asked, in a state in which nothing has happened but imports, with a session, pipes, environment and
words of its own and an exit code or a signal at its end (tests/kernel/test_forks.py). Only its command line in /proc is the
agent's. Whatever is not such a start goes the usual way.
"""

import atexit
import ctypes
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
import traceback

CLONE_PARENT, CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x8000, 0x200000, 0x1000000
PR_GET_TID_ADDRESS = 40
SYS_CLONE = 56
"""Of x86_64."""
SIGCHLD = 17
MESSAGE_BYTES = 1 << 17
_MARK = "boxcheck"
_BEFORE = []
"""Streams of the process that this one was: were they gone, so would be the descriptors that they name."""


def begin():
    """From now on this process starts boxcheck's others by forks."""
    usual = getattr(subprocess, "_fork_exec", None)
    if usual is None:
        return
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        try:
            here.close()
            _help(there)
        finally:
            os._exit(0)
    there.close()
    lock = threading.Lock()

    def fork_exec(args, executables, close_fds, keep, cwd, environment, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite,
                  errpipe_read, errpipe_write, restore_signals, new_session, group, gid, gids, uid, umask, preexec, *vfork):
        words = [os.fsdecode(word) for word in args]
        if (words[:3] != [sys.executable, "-P", "-m"] or not words[3].startswith(_MARK) or not close_fds or group >= 0
                or umask >= 0 or not gid is gids is uid is preexec is None):
            return usual(args, executables, close_fds, keep, cwd, environment, p2cread, p2cwrite, c2pread, c2pwrite, errread,
                         errwrite, errpipe_read, errpipe_write, restore_signals, new_session, group, gid, gids, uid, umask,
                         preexec, *vfork)
        places = {number: given if given >= 0 else number for number, given in ((0, p2cread), (1, c2pwrite), (2, errwrite))}
        places |= {number: number for number in keep if number != errpipe_write}
        told = dict(os.environ) if environment is None else dict(
            os.fsdecode(one).split("=", 1) for one in environment)
        request = {"module": words[3], "words": words[4:], "cwd": os.fsdecode(cwd) if cwd else os.getcwd(), "environment": told,
                   "session": bool(new_session), "places": list(places)}
        with lock:
            socket.send_fds(here, [json.dumps(request).encode()], list(places.values()))
            return int(here.recv(32))

    subprocess._fork_exec = fork_exec


def _help(line):
    call = ctypes.PyDLL(None)
    nothing = os.open("/dev/null", os.O_RDWR)
    for number in range(3):  # whoever waits for the end of a pipe waits for nobody but the one that he started
        os.dup2(nothing, number)
    tid = ctypes.c_void_p()
    call.prctl(PR_GET_TID_ADDRESS, ctypes.byref(tid), 0, 0, 0)
    flags = CLONE_PARENT | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | SIGCHLD
    while True:
        data, given, _, _ = socket.recv_fds(line, MESSAGE_BYTES, 64)
        if not data:
            return
        ctypes.pythonapi.PyOS_BeforeFork()
        pid = call.syscall(ctypes.c_long(SYS_CLONE), ctypes.c_long(flags), ctypes.c_long(0), ctypes.c_long(0), tid, ctypes.c_long(0))
        if pid == 0:
            ctypes.pythonapi.PyOS_AfterFork_Child()
            line.close()
            _become(json.loads(data), given)
        ctypes.pythonapi.PyOS_AfterFork_Parent()
        for descriptor in given:
            os.close(descriptor)
        line.send(str(pid).encode())


def _become(request, given):
    """What the child of a fork does until exec, then what a Python does that was started so."""
    code = 1
    try:
        # Out of the way of the places first.
        high = [os.dup2(descriptor, 200 + number) for number, descriptor in enumerate(given)]
        places = dict(zip(request["places"], high, strict=True))
        for place, descriptor in places.items():
            os.dup2(descriptor, place)
        after = 2
        for place in sorted(number for number in places if number > 2):
            os.closerange(after + 1, place)
            after = place
        os.closerange(after + 1, 1 << 16)
        if request["session"]:
            os.setsid()
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["environment"])
        _BEFORE.extend((sys.stdin, sys.stdout, sys.stderr))
        sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
        sys.argv = [request["module"], *request["words"]]
        sys.modules.pop(request["module"], None)
        begin()
        code = 0
        try:
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
            if code == 1 and end.code != 1:
                print(end.code, file=sys.stderr)
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001  as Python does at its end
        code = 1
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)
