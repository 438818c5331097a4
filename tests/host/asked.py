"""What the host tests ask of every host: all facts and all findings, as JSON that can be compared."""

from __future__ import annotations

import json
import os
import pickle
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from boxcheck.engine.inspect import choose_checks, inspect_facts, read_facts
from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.profile import load_profile

FORMS = ("", ".tar", ".tar.gz", ".tar.zst")
NOBODY = 65534


def answers(host: Host, profiles: tuple[str, ...] = ("generic", "wopr-7x4090", "strix-halo")) -> bytes:
    """All facts and all findings by a few profiles, one value a line."""
    facts = read_facts(host)
    assert not facts.crashes, facts.crashes[0].traceback
    found: dict[str, Any] = {"facts": facts.by_name(), "who": host.who(), "environment": host.environment()}
    for name in profiles:
        verdict = inspect_facts(facts, load_profile(name), choose_checks([]))
        found[name] = [plain(finding) for finding in verdict.findings]
    found["logs"] = [host.kernel_log(0), host.kernel_log(-1)]
    found["time"] = host.time()
    return json.dumps(plain(found), sort_keys=True, indent=1, ensure_ascii=False).encode()


def plain(value: Any) -> Any:
    """Facts as JSON values, whatever they are made of; an Unread says that it is one."""
    if isinstance(value, msgspec.Struct):
        tag = {"type": "unread"} if isinstance(value, Unread) else {}
        return {**tag, **plain(msgspec.structs.asdict(value))}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    return [plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def as_nobody(work: Callable[[], Any], out: Path) -> Any:
    """Does something in a process without any privilege and gives back what it returned. Needs root.

    The process is forked, not started, since this Python may lie where nobody can read it; so `work` must have run here
    before, or have imported all that it needs.
    """
    answer = open(out / "answer", "w+b")  # noqa: SIM115  opened before the privileges go
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.environ["HOME"] = "/nonexistent"
            pickle.dump(work(), answer)
            answer.flush()
            status = 0
        except BaseException:  # noqa: BLE001  said, and seen by the parent as a status
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0, "the process without privileges failed, see above"
    answer.seek(0)
    return pickle.load(answer)


def every_question(host: Host, path: str) -> dict[str, Any]:
    """Every question about one path."""
    return {
        "read": host.read(path),
        "small": host.read(path, 3),
        "text": host.text(path),
        "entries": host.entries(path),
        "target": host.target(path),
        "exists": host.exists(path),
        "stat": host.stat(path),
        "opens": host.opens(path),
        "again": host.again(path, "load"),
    }
