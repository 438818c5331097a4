"""Schemas of other projects, for tests. Not kept here: `BOXCHECK_OUTSIDE_SCHEMAS` names a folder with

    ocp/*.json            json_spec/output of opencomputeproject/ocp-diag-core
    jenkins-junit.xsd     src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd/junit-10.xsd of jenkinsci/xunit-plugin
    JUnit.xsd             of windyroad/JUnit-Schema

Without it the tests fetch them once into `~/.cache/boxcheck-tests`, and skip, saying so, where that cannot be.
"""

from __future__ import annotations

import json
import os
import urllib.request
from functools import cache
from pathlib import Path
from typing import Any

import pytest

RAW = "https://raw.githubusercontent.com"
OCP = "opencomputeproject/ocp-diag-core/8fae3f573a0aeb07d4fd78855f0ba2e464a8a2ad/json_spec/output"
OCP_FILES = (
    "diagnosis", "dut_info", "error", "file", "log", "measurement", "measurement_series_element",
    "measurement_series_end", "measurement_series_start", "metadata", "root", "source_location", "subcomponent",
    "test_run_artifact", "test_run_end", "test_run_start", "test_status", "test_step_artifact", "test_step_end",
    "test_step_start", "validator")
PLACES = {
    **{f"ocp/{name}.json": f"{OCP}/{name}.json" for name in OCP_FILES},
    "jenkins-junit.xsd": "jenkinsci/xunit-plugin/master/src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd/"
                         "junit-10.xsd",
    "JUnit.xsd": "windyroad/JUnit-Schema/master/JUnit.xsd",
}


@cache
def outside(name: str) -> str:
    """Text of a schema. Skips the test where it is neither there nor to be had."""
    folder = Path(os.environ.get("BOXCHECK_OUTSIDE_SCHEMAS") or Path.home() / ".cache" / "boxcheck-tests")
    path = folder / name
    if not path.is_file():
        _fetch(name, path)
    return path.read_text("utf-8")


_missing: list[str] = []


def _fetch(name: str, path: Path) -> None:
    if _missing:  # one time-out is enough
        pytest.skip(_missing[0])
    try:
        with urllib.request.urlopen(f"{RAW}/{PLACES[name]}", timeout=5) as answer:
            text = answer.read()
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}.part")
        beside.write_bytes(text)
        beside.replace(path)
    except OSError as error:
        _missing.append(f"{name} is neither in BOXCHECK_OUTSIDE_SCHEMAS nor to be fetched: {error}")
        pytest.skip(_missing[0])


@cache
def ocp_validator() -> Any:
    """Of one line of OCP Test & Validation output, with the formats held."""
    import jsonschema
    from referencing import Registry, Resource

    schemas = [json.loads(outside(name)) for name in PLACES if name.startswith("ocp/")]
    registry: Registry[Any] = Registry().with_resources((one["$id"], Resource.from_contents(one)) for one in schemas)
    root = next(one for one in schemas if one["$id"].endswith("/output"))
    return jsonschema.Draft202012Validator(root, registry=registry)
