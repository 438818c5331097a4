from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from boxcheck.probes.amdgpu import Amdgpu, PcieLevel, parse_count, parse_pcie_levels
from boxcheck.probes.kfd import Kfd, address, gfx_name, parse_properties
from boxcheck.probes.rocm import Rocm, library_version
from tests.boxes.tree import Symlink
from tests.probes.reading import HOSTILE, fact, kind_of, never_raises, tree

GPU = "/sys/bus/pci/devices/0000:03:00.0"
FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures"


def card(**more: object) -> dict[str, object]:
    files: dict[str, object] = {
        f"{GPU}/vendor": "0x1002", f"{GPU}/device": "0x744c", f"{GPU}/class": "0x030000", f"{GPU}/revision": "0xc8",
        f"{GPU}/resource": "", f"{GPU}/mem_info_vram_total": 25753026560, f"{GPU}/mem_info_vis_vram_total": 268435456,
        f"{GPU}/mem_info_gtt_total": 67108864000, f"{GPU}/vbios_version": "113-D7020100-102",
        f"{GPU}/unique_id": "1a2b3c4d5e6f0001", f"{GPU}/pp_dpm_pcie": "0: 2.5GT/s, x1 310Mhz \n1: 8.0GT/s, x16 619Mhz *",
        f"{GPU}/pcie_replay_count": 3, f"{GPU}/drm/card1/dev": "226:1", f"{GPU}/drm/renderD128/dev": "226:128",
        "/sys/module/amdgpu/parameters/cwsr_enable": 1, "/sys/module/amdgpu/srcversion": "ABC",
        "/sys/module/ttm/parameters/pages_limit": 16384, "/sys/module/ttm/parameters/page_pool_size": 8192,
    }
    files.update(more)
    return files


def test_reads_module_and_card(tmp_path: Path) -> None:
    amdgpu = fact(Amdgpu, tree(card()), tmp_path)  # type: ignore[arg-type]
    assert amdgpu.loaded is True
    assert amdgpu.version is None
    assert not amdgpu.out_of_tree
    assert amdgpu.parameters == {"cwsr_enable": "1"}
    assert not isinstance(amdgpu.ttm, type(None))
    one = next(iter(amdgpu.cards.values()))
    assert (one.vram_bytes, one.visible_vram_bytes, one.gtt_bytes) == (25753026560, 268435456, 67108864000)
    assert one.pcie_levels == (PcieLevel(2.5, 1, False), PcieLevel(8.0, 16, True))
    assert one.replay_count == 3
    assert one.drm_nodes == ("card1", "renderD128")
    assert kind_of(one.serial) == "absent"
    assert kind_of(one.busy_percent) == "absent"


def test_the_dkms_driver_has_its_own_memory_manager(tmp_path: Path) -> None:
    files = card()
    files["/sys/module/amdgpu/version"] = "6.10.5"
    files["/sys/module/amdttm/parameters/pages_limit"] = 99
    amdgpu = fact(Amdgpu, tree(files), tmp_path)  # type: ignore[arg-type]
    assert amdgpu.out_of_tree
    assert getattr(amdgpu.ttm, "module", "") == "amdttm"
    assert getattr(amdgpu.ttm, "limit_bytes", 0) == 99 * 4096


def test_no_driver_and_no_knowledge_are_two_things(tmp_path: Path) -> None:
    assert fact(Amdgpu, tree({}), tmp_path).loaded is False
    assert kind_of(fact(Amdgpu, tree({}), tmp_path).ttm) == "absent"
    unknown = fact(Amdgpu, tree({}, whole=False), tmp_path)
    assert kind_of(unknown.loaded) == kind_of(unknown.ttm) == "not-captured"


@pytest.mark.parametrize(("text", "levels"), [
    ("0: 16.0GT/s, x8 619Mhz *", [(16.0, 8, True)]),
    ("0: 2.5GT/s x1 310Mhz\n1: 32.0GT/s, x16 619Mhz", [(2.5, 1, False), (32.0, 16, False)]),
    ("S: 19Mhz *\n1: 16.0GT/s, x16 619Mhz *", [(16.0, 16, True)])])
def test_pcie_levels(text: str, levels: list[tuple[float, int, bool]]) -> None:
    assert parse_pcie_levels(text) == tuple(PcieLevel(*level) for level in levels)


def test_hostile_texts_end() -> None:
    never_raises(parse_pcie_levels, *HOSTILE)
    never_raises(parse_properties, *HOSTILE)
    never_raises(lambda text: parse_count(text, "x"), *HOSTILE)
    assert kind_of(parse_pcie_levels("")) == "malformed"
    assert kind_of(parse_count("-1", "x")) == "malformed"


# KFD


@pytest.mark.parametrize(("version", "name"), [
    (110000, "gfx1100"), (110501, "gfx1151"), (90402, "gfx942"), (90010, "gfx90a"), (120001, "gfx1201"), (0, None)])
def test_gfx_names(version: int, name: str | None) -> None:
    assert gfx_name(version) == name


def test_addresses() -> None:
    assert address({"location_id": 0x4100}) == "0000:41:00.0"
    assert address({"location_id": 0xC308 | 1, "domain": 1}) == "0001:c3:01.1"
    assert address({"location_id": 0}) is None
    assert address({"location_id": 1 << 20}) is None


def test_reads_a_topology(tmp_path: Path) -> None:
    base = "/sys/devices/virtual/kfd/kfd/topology/nodes"
    made = tree({
        f"{base}/0/gpu_id": 0, f"{base}/0/name": "", f"{base}/0/properties": "cpu_cores_count 64\nsimd_count 0\n",
        f"{base}/1/gpu_id": 4242, f"{base}/1/name": "ip discovery",
        f"{base}/1/properties": "simd_count 192\ngfx_target_version 110000\nlocation_id 768\ndomain 0\ndrm_render_minor 128",
        f"{base}/1/mem_banks/0/properties": "heap_type 1\nsize_in_bytes 25753026560\n",
        f"{base}/1/io_links/0/properties": "type 2\nnode_from 1\nnode_to 0\nflags 13\n",
        f"{base}/1/p2p_links/0/properties": "type 2\nnode_from 1\nnode_to 2\nflags 1\n",
    })
    made["/sys/class/kfd/kfd"] = Symlink("../../devices/virtual/kfd/kfd")
    kfd = fact(Kfd, made, tmp_path)
    (gpu,) = kfd.gpus
    assert (gpu.index, gpu.gfx_target, gpu.bdf, gpu.render_minor) == (1, "gfx1100", "0000:03:00.0", 128)
    assert gpu.memory_bytes == 25753026560
    assert isinstance(gpu.links, tuple)
    assert [(link.target, link.atomics, link.peer) for link in gpu.links] == [(0, False, False), (2, True, True)]
    assert kfd.of(gpu.bdf) is gpu


def test_a_node_that_a_container_may_not_see_is_no_cpu(tmp_path: Path) -> None:
    base = "/sys/class/kfd/kfd/topology/nodes"
    kfd = fact(Kfd, tree({f"{base}/0/properties": "", f"{base}/0/gpu_id": 77}), tmp_path)
    assert isinstance(kfd.nodes, tuple)
    assert kind_of(kfd.nodes[0].unread) == "permission"
    assert kfd.nodes[0].is_gpu
    assert kind_of(fact(Kfd, tree({}), tmp_path).nodes) == "absent"
    assert kind_of(fact(Kfd, tree({}, whole=False), tmp_path).nodes) == "not-captured"


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="the captures of real machines are not beside this checkout")
@pytest.mark.parametrize(("archive", "inside", "gpus", "links"), [
    ("topology-parsing.tar.gz", "testdata/topology-parsing/topology", 2, 1),
    ("topo-mi300-cpx.tar.gz", "testdata/topo-mi300-cpx/topology", 63, 63)])
def test_reads_topologies_of_real_machines(archive: str, inside: str, gpus: int, links: int, tmp_path: Path) -> None:
    made = tree()
    with tarfile.open(FIXTURES / "kfd-k8s-device-plugin" / archive) as packed:
        for member in packed:
            data = packed.extractfile(member) if member.isfile() else None
            if data is not None and member.name.startswith(f"{inside}/nodes"):
                made[f"/sys/class/kfd/kfd/topology{member.name.removeprefix(inside)}"] = data.read()
    kfd = fact(Kfd, made, tmp_path)
    assert len(kfd.gpus) == gpus
    for node in kfd.gpus:
        assert isinstance(node.links, tuple)
        assert len(node.links) >= links
        assert node.bdf is not None


# ROCm


def test_rocm_installations(tmp_path: Path) -> None:
    made = tree({
        "/opt/rocm-6.3.3/.info/version": "6.3.3-74", "/opt/rocm-6.3.3/lib/libamdhip64.so.6": b"",
        "/opt/rocm-6.3.3/lib/libhsa-runtime64.so.1": b"", "/opt/rocm-7.0.0/.info/version": "7.0.0-1",
        "/opt/other/x": b"", "/usr/lib/x86_64-linux-gnu/libamdhip64.so.5.7.31921": b"",
    })
    made["/opt/rocm"] = Symlink("/etc/alternatives/rocm")
    made["/etc/alternatives/rocm"] = Symlink("/opt/rocm-6.3.3")
    made["/usr/lib/x86_64-linux-gnu/libamdhip64.so.5"] = Symlink("libamdhip64.so.5.7.31921")
    rocm = fact(Rocm, made, tmp_path)
    assert rocm.chosen == "/opt/rocm-6.3.3"
    assert [(one.path, one.version, one.has_hip) for one in rocm.installs] == [
        ("/opt/rocm-6.3.3", "6.3.3-74", True), ("/opt/rocm-7.0.0", "7.0.0-1", False),
        ("/usr/lib/x86_64-linux-gnu", "5.7.31921", True)]
    assert fact(Rocm, tree({}), tmp_path).unread is None
    assert kind_of(fact(Rocm, tree({}, whole=False), tmp_path).unread) == "not-captured"
    assert library_version(("libamdhip64.so", "libamdhip64.so.6", "libamdhip64.so.6.3.60303"), "libamdhip64.so") \
        == "6.3.60303"


def test_rocm_whose_libraries_nobody_could_list_is_not_missing(tmp_path: Path) -> None:
    made = tree({
        "/opt/rocm-6.3.3/.info/version": "6.3.3-74", "/opt/rocm-6.3.3/lib/libamdhip64.so.6": b"",
        "/opt/rocm.tar.gz": b"no directory",
    })
    assert fact(Rocm, made, tmp_path).unread is None
    made.denied("/opt/rocm-6.3.3/lib", "permission denied")
    rocm = fact(Rocm, made, tmp_path)
    assert rocm.installs == ()
    assert kind_of(rocm.unread) == "permission"
