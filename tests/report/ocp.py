"""What a stream of OCP Test & Validation must hold beside what the schema of a line says: the rules of a whole run
(ocp-diag-core, json_spec/README.md: sequenceNumber, testStepId, measurementSeriesId, the start and end artifacts)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any


def read(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Each line is a JSON object by itself."""
    found = [json.loads(line) for line in "".join(lines).splitlines()]
    assert all(isinstance(one, dict) for one in found)
    return found


def broken_rules(artifacts: list[dict[str, Any]], whole: bool = True) -> list[str]:
    """The rules that a stream breaks, in words. `whole`: it has come to its end."""
    wrong: list[str] = []
    if [one["sequenceNumber"] for one in artifacts] != list(range(len(artifacts))):
        wrong.append("sequence numbers do not count from 0 without a gap")
    if "schemaVersion" not in artifacts[0] or any("schemaVersion" in one for one in artifacts[1:]):
        wrong.append("the version is not the first line, and that alone")
    if "testRunStart" not in artifacts[1].get("testRunArtifact", {}):
        wrong.append("the second line does not start the run")
    runs = [next(iter(one["testRunArtifact"])) for one in artifacts if "testRunArtifact" in one]
    if runs.count("testRunStart") != 1 or runs.count("testRunEnd") != int(whole):
        wrong.append("the run does not start once and end once")
    if whole and "testRunEnd" not in artifacts[-1].get("testRunArtifact", {}):
        wrong.append("the last line does not end the run")
    hardware = {one["hardwareInfoId"] for one in artifacts[1]["testRunArtifact"]["testRunStart"]["dutInfo"].get(
        "hardwareInfos", ())}
    software = {one["softwareInfoId"] for one in artifacts[1]["testRunArtifact"]["testRunStart"]["dutInfo"].get(
        "softwareInfos", ())}
    open_steps: set[str] = set()
    all_steps: set[str] = set()
    series: dict[str, tuple[str, list[int]]] = {}
    ended: set[str] = set()
    for one in artifacts:
        datetime.fromisoformat(one["timestamp"])
        step = one.get("testStepArtifact")
        if step is None:
            continue
        id, kind = step["testStepId"], next(key for key in step if key != "testStepId")
        content = step[kind]
        if kind == "testStepStart":
            if id in all_steps:
                wrong.append(f"step {id} starts twice")
            open_steps.add(id)
            all_steps.add(id)
            continue
        if id not in open_steps:
            wrong.append(f"{kind} of step {id}, which is not open")
        if content.get("hardwareInfoId", "0") not in hardware | {"0"}:
            wrong.append(f"{kind} names a part that is not there")
        if not set(content.get("softwareInfoIds", ())) <= software:
            wrong.append(f"{kind} names software that is not there")
        if kind == "testStepEnd":
            open_steps.discard(id)
            if left := [name for name, (of, _) in series.items() if of == id and name not in ended]:
                wrong.append(f"step {id} ends before its series {left}")
        elif kind == "measurementSeriesStart":
            if content["measurementSeriesId"] in series:
                wrong.append(f"series {content['measurementSeriesId']} starts twice")
            series[content["measurementSeriesId"]] = (id, [])
        elif kind == "measurementSeriesElement":
            name = content["measurementSeriesId"]
            if name not in series or name in ended or series[name][0] != id:
                wrong.append(f"an element of series {name}, which is not open in step {id}")
            else:
                series[name][1].append(content["index"])
        elif kind == "measurementSeriesEnd":
            name = content["measurementSeriesId"]
            ended.add(name)
            if name not in series or series[name][1] != list(range(content["totalCount"])):
                wrong.append(f"series {name} does not have its {content['totalCount']} elements in order")
    if whole and (open_steps or set(series) != ended):
        wrong.append("something was started and not ended")
    return wrong


def content(artifacts: list[dict[str, Any]]) -> list[str]:
    """What a stream says, whatever the order of its lines: to hold one that was written live against one rendered."""
    return sorted(json.dumps({key: value for key, value in one.items() if key != "sequenceNumber"}, sort_keys=True)
                  for one in artifacts)
