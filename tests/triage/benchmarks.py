"""What the tests of the benchmarks' readers share: a text cut into sections and read, as `boxcheck triage` does it."""

from __future__ import annotations

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from boxcheck.decode.text import clean_text
from boxcheck.triage.cut import Cutter, Reader
from boxcheck.triage.evidence import Evidence, Section
from boxcheck.triage.tools import TOOLS
from boxcheck.triage.tools.gpu_burn import runs

CORPUS = Path(__file__).parents[1] / "corpus"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "fixtures"
MINE = frozenset(("nvbandwidth", "p2p_test", "p2p_test_samples", "p2p_test_superbench", "rocm_bandwidth", "gpu_burn",
                  "gpu_burn_memtest", "rvs", "nccl", "dcgm"))

fuzz = settings(max_examples=int(os.environ.get("BOXCHECK_FUZZ_EXAMPLES", "60")), deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def cut(text: str) -> list[tuple[str, Section]]:
    """(module, section) of everything that is recognised in a text."""
    found: list[tuple[str, Section]] = []
    log: list[bytes] = []

    def take(reader: Reader, section: Section) -> None:
        name = str(getattr(reader, "__name__", "")).rsplit(".", 1)[-1]
        # gpu_burn begins with the output of nvidia-smi -L, whose reader hands it on.
        found.append(("gpu_burn" if name == "nvidia_smi" and runs(section.lines) else name, section))

    cutter = Cutter(log.append, take)
    cutter.feed(text.encode())
    cutter.finish()
    return found


def read(text: str) -> list[Evidence]:
    """The evidence of each section of ours in a text."""
    return [import_module(f"boxcheck.triage.tools.{module}").read(section)
            for module, section in cut(text) if module in MINE]


def one(text: str) -> Evidence:
    """The evidence of a text that is one section."""
    found = read(text)
    assert len(found) == 1, [evidence.tool for evidence in found]
    return found[0]


def plain(evidence: Evidence) -> dict[str, Any]:
    """What the expected files hold."""
    return {
        "tool": evidence.tool,
        "devices": [{key: value for key in ("bdf", "name", "index", "uuid", "serial", "line")
                     if (value := getattr(device, key)) is not None} | {
                         key: device.more[key] for key in ("cuda_index", "hip_index") if key in device.more}
                    for device in evidence.devices],
        "events": [{"kind": event.kind, "severity": event.severity, "cause": event.cause, "bdf": event.bdf,
                    "labels": list(event.labels), "count": event.count, "line": event.line, "says": event.says}
                   for event in evidence.events],
        "notes": list(evidence.notes),
        "readings": json.loads(json.dumps(evidence.readings)),
    }


def kinds(evidence: Evidence) -> list[tuple[str, str, str | None]]:
    return [(event.kind, event.severity, event.bdf) for event in evidence.events]


def corpus(tool: str, name: str) -> str:
    return (CORPUS / tool / name).read_text()


def lines_of(*tools: str) -> list[str]:
    """Lines of the corpus, for fuzzing."""
    return sorted({line for tool in tools for path in sorted((CORPUS / tool).glob("*.txt"))
                   for line in path.read_text().splitlines()})


HOSTILE = (
    "nan", "-1", "1e999", "9" * 400, "N/A " * 2000, "0 " * 300, "\x00", "D\\D " + " ".join(map(str, range(500))),
    "a" * 10_000, "0 1 2 3 4 5 6 7", "12.5", "(", "[", "]]", "Device 999999999: x", "-", "%", "\tGPU 999: FAULTY", "é�",
)


def texts(*tools: str) -> st.SearchStrategy[str]:
    """Texts made of true lines, cut, doubled, mixed and mutated."""
    words = st.sampled_from(lines_of(*tools))
    bitten = st.tuples(words, st.integers(0, 200), st.sampled_from(HOSTILE)).map(
        lambda parts: parts[0][:parts[1]] + parts[2] + parts[0][parts[1] + 3:])
    return st.lists(st.one_of(words, bitten, st.sampled_from(HOSTILE), st.text(max_size=30)), max_size=60).map("\n".join)


def survives(module: str, text: str) -> None:
    """A reader takes any text: it answers, and what it says can be shown and encoded."""
    reader = import_module(f"boxcheck.triage.tools.{module}")
    lines = tuple(text.split("\n"))
    for line in lines:
        assert reader.begins(line) is None or isinstance(reader.begins(line), str)
    variants = {reader.begins(line) for line in lines} - {None} or {module}
    for variant in variants:
        assert all(isinstance(reader.belongs(variant, line), bool) for line in lines)
        evidence = reader.read(Section(variant=variant, lines=lines, first_line=1))
        assert len(evidence.events) <= 4096
        for event in evidence.events:
            assert clean_text(event.says, 10_000) == event.says
            assert clean_text(event.text, 10_000) == event.text
            assert 1 <= event.line <= len(lines)
            assert event.count >= 0
        json.dumps(evidence.readings, allow_nan=False)


def anchored(module: str, line: str) -> bool:
    """Whether the cutter would ask this reader about a line at all."""
    return any(word in line for tool in TOOLS if tool.module == module for word in tool.anchors)
