"""What is shared of a run: enough to compare with, and none of what names a box, its parts or its people."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import msgspec
import pytest

from boxcheck.commands.golden import Drafting, draft_from_runs
from boxcheck.engine.begin import CAPTURE
from boxcheck.golden.good import golden
from boxcheck.golden.lay_beside import lay_beside
from boxcheck.golden.limits import limits_of, pattern_of
from boxcheck.golden.measure import Kind
from boxcheck.golden.reference import Reference, parse_reference, plain_driver, reference_bytes
from boxcheck.golden.sharing import Private, leaked, reference_of
from boxcheck.usage import UsageError
from tests.boxes import build
from tests.golden.runs import burned, spread, stored
from tests.planted import SECRETS, plant
from tests.report.scenes import Acceptable

MADE = 1_795_900_000.0
"""2026-11-28."""


def planted(run: Acceptable) -> None:
    """Every secret where a machine has it, and where a run keeps it."""
    tree = build("wopr-7x4090")
    plant(tree)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, CAPTURE)
        tree.write_tar(path)
        run.store.attach(CAPTURE, Path(path).read_bytes(), "application/gzip")
    s = SECRETS
    run.infos = tuple(
        msgspec.structs.replace(info, uuid=s["gpu uuid"][:-1] + str(at), serial=s["gpu serial"][:-1] + str(at), driver=(
            f"CUDA 13.0, driver 580.65 built by {s['user']}@{s['host']}" if at == 0 else info.driver),
            name=f"RTX 4090 of {s['full name']}" if at == 1 else info.name, pci_id=None if at == 1 else info.pci_id) for at, info in enumerate(run.infos))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Reference, Private]:
    """Of a run with every secret in it, by a profile of its owner's."""
    path = burned(
        str(tmp_path_factory.mktemp("planted")), serial=f"{SECRETS['board serial']} ({SECRETS['host']})", rates=spread(1),
        change=planted)
    found, want = golden(path)
    want = msgspec.structs.replace(want, name=f"{SECRETS['user']}s-box", title=SECRETS["full name"])
    pattern = pattern_of([found])
    drafted, left_out = limits_of(pattern)
    private = Private(pattern.runs)
    reference = reference_of(pattern, want, drafted, left_out, private=private, made=MADE, self_signed=False)
    return reference_bytes(reference), reference, private


@pytest.mark.parametrize("what", SECRETS)
def test_no_planted_secret_is_in_it(what: str, shared: tuple[bytes, Reference, Private]) -> None:
    text = shared[0].decode().lower()
    secret = SECRETS[what].lower()
    for form in {secret, secret.replace("-", ""), secret.replace(":", ""), secret.replace(".", "")}:
        assert form not in text


def test_nothing_else_that_names_it_is_in_it(shared: tuple[bytes, Reference, Private]) -> None:
    text = shared[0].decode()
    assert not re.search(r"(?<!\d)/|/(?!\d)", text.replace("GB/s", "").replace("boxcheck.reference/1", "")), "no path"
    for what in ("-burn", "PCIE", "0000:", "cuda:", "W-00", "13:20", "T13", "GPU-", "built by", " of Zbig"):
        assert what not in text, what
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", text)
    assert not leaked(shared[0], shared[2])


def test_what_is_shared_is_enough_to_compare_with(shared: tuple[bytes, Reference, Private]) -> None:
    reference = shared[1]
    assert parse_reference(shared[0], "ref.json") == reference
    assert (reference.made, reference.boxes, reference.runs) == ("2026-11-28", 1, 1)
    assert reference.box.profile is None, "somebody's own name"
    assert re.fullmatch("[0-9a-f]{64}", reference.box.profile_sha256)
    assert reference.box.board == "ROMED8-2T"
    assert reference.box.cpu == "AMD Eng Sample: 100-000000314-04_30/16_N"
    assert reference.box.memory_gib == 16, "as the planted table says"
    assert reference.conditions.drivers == ("CUDA 13.0, driver 580.65",), "the other names somebody"
    assert reference.conditions.kernels == ("6.14.0-36-generic",)
    assert reference.conditions.seconds == {"matmul": 12.0}
    assert {one.limit for one in reference.measured} == {
        f"matmul.{element}_tflops" for element in ("bf16", "fp16", "tf32", "fp32", "int8", "e4m3")}
    assert "copy.host_to_device_gbs" in reference.not_measured
    (rate,) = [one for one in reference.measured if one.limit == "matmul.bf16_tflops"]
    assert rate.bound < rate.worst < rate.mean < rate.best
    assert (rate.unit, rate.better, rate.devices, rate.samples) == ("TFLOPS", "higher", 7, 14)
    assert rate.by == ("engine own, kernel mma-bf16-256x128, shape 8192x8192x8192",)


def test_a_card_whose_name_names_somebody_is_a_gpu(shared: tuple[bytes, Reference, Private]) -> None:
    names = {one.name for one in shared[1].box.gpus}
    assert names == {"RTX 4090", "GPU"}
    assert Kind("x").name == "x"


@pytest.mark.parametrize(("said", "shared"), [
    ("CUDA 13.0, driver 580.65", "CUDA 13.0, driver 580.65"), ("HIP 7.1.52801", "HIP 7.1.52801"),
    ("CUDA 13.0, driver 580.65 rack-bench3 J. Doe tel +49 170 555", "CUDA 13.0, driver 580.65"),
    ("NVIDIA CUDA 580.65.06", "NVIDIA CUDA 580.65.06"), ("driver 580.65 170 555", "driver 580.65"),
    ("AMD Accelerated Parallel Processing 3635.0 (HSA1.1,LC)", "AMD Accelerated Parallel Processing 3635.0"),
    ("acme-box", "")])
def test_of_a_driver_words_of_products_and_versions_alone_are_shared(said: str, shared: str) -> None:
    assert plain_driver(said) == shared


def test_free_text_of_a_driver_or_a_card_is_not_shared(tmp_path: Path) -> None:
    """Of nothing that redaction knows."""
    def free(run: Acceptable) -> None:
        run.infos = tuple(msgspec.structs.replace(
            info, driver="CUDA 13.0, driver 580.65 rack-bench3 J. Doe", name="RTX 4090 asset ACME-0042", pci_id=None) for info in run.infos)

    path = burned(str(tmp_path), rates=spread(1), change=free)
    found, want = golden(path)
    pattern = pattern_of([found])
    made = reference_of(pattern, want, *limits_of(pattern), private=Private(pattern.runs), made=MADE, self_signed=False)
    assert made.conditions.drivers == ("CUDA 13.0, driver 580.65",)
    assert [one.name for one in made.box.gpus] == ["GPU"]
    data = reference_bytes(made)
    assert not re.search(b"rack-bench|Doe|ACME|asset", data)
    place = tmp_path / "reference.json"
    place.write_bytes(data)
    assert not lay_beside(path, str(place)).comparable, "a card without name and PCI id is like no other"


def test_what_slipped_through_is_not_written(shared: tuple[bytes, Reference, Private]) -> None:
    data = shared[0].replace(b"ROMED8-2T", SECRETS["board serial"].encode())
    assert leaked(data, shared[2])


def test_it_is_shown_before_it_is_written_and_what_is_shown_is_what_is_written(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "rates.json"
    assert draft_from_runs(Drafting(runs=(stored("one"),), share=str(place))) == 0
    told = capsys.readouterr()
    begin = told.err.index("{")
    shown, end = told.err[begin:told.err.rindex("}") + 1], told.err[told.err.rindex("}") + 1:]
    assert f"{place} will hold this, and nothing else:" in told.err[:begin]
    assert msgspec.json.decode(shown) == msgspec.json.decode(place.read_bytes())
    assert end.strip() == f"written, not signed: {place}"
    assert told.out.startswith("# Drafted from run 2026-11-21T132004Z-burn"), "the profile alone"
    assert not (tmp_path / "rates.json.sig").exists()


def test_nothing_is_written_where_somebody_says_no(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "rates.json"
    monkeypatch.setattr("boxcheck.commands.golden.at_terminal", lambda: True)
    monkeypatch.setattr("boxcheck.commands.golden.answer", lambda: "n\n")
    assert draft_from_runs(Drafting(runs=(stored("one"),), share=str(place))) == 2
    assert "nothing was written" in capsys.readouterr().err
    assert not place.exists()
    monkeypatch.setattr("boxcheck.commands.golden.answer", lambda: "y\n")
    assert draft_from_runs(Drafting(runs=(stored("one"),), share=str(place))) == 0
    assert place.exists()


def test_a_place_that_cannot_be_written_is_an_error_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such directory"):
        draft_from_runs(Drafting(runs=(stored("one"),), share=str(tmp_path / "none" / "rates.json")))
