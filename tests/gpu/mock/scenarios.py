"""What both backends must do, each as one function; `child.py` runs them against the mock drivers."""

from __future__ import annotations

import gc

import numpy as np

from boxcheck.kernels import Source, catalogue, reference
from tests.gpu.mock.rig import ALL_KINDS, BUDGET_BYTES, Rig

KIB = 1 << 10
MIB = 1 << 20


def sources() -> tuple[Source, ...]:
    """What the scenarios build, for the host's compiler."""
    return ALL_KINDS, catalogue.memory(), catalogue.product("fp32")


sources.__module__ = ""  # no scenario


def devices_are_listed_in_the_words_of_the_driver(rig: Rig) -> None:
    first, second = rig.backend.devices()
    assert (first.backend, first.index, first.key) == (rig.name, 0, f"{rig.name}:0")
    assert (first.bdf, second.bdf) == ("0000:41:00.0", "0000:cb:00.0")
    assert (first.name, second.name) == ("Mock GPU 0", "Mock GPU 1")
    assert (first.memory_bytes, first.free_bytes) == (BUDGET_BYTES, BUDGET_BYTES)
    assert (first.compute_units, second.compute_units) == (4, 5)
    assert first.is_gpu
    assert not first.unified
    assert rig.live("contexts") == 0


def a_device_that_computes_in_the_hosts_memory_is_unified(rig: Rig) -> None:
    rig.mock.mock_integrated(1)
    assert [info.unified for info in rig.backend.devices()] == [False, True]


def an_opened_device_tells_what_is_free(rig: Rig) -> None:
    gpu = rig.open(1)
    assert gpu.info.index == 1
    assert gpu.free_bytes() == BUDGET_BYTES
    buffer = gpu.allocate(3 * MIB)
    assert gpu.free_bytes() == BUDGET_BYTES - 3 * MIB
    buffer.free()
    buffer.free()
    assert gpu.free_bytes() == BUDGET_BYTES


def bytes_that_are_written_come_back(rig: Rig) -> None:
    gpu = rig.open()
    buffer = gpu.allocate(1000)
    data = np.arange(1000, dtype=np.uint16).astype(np.uint8)
    gpu.write(buffer, data)
    assert np.array_equal(gpu.read(buffer, 1000), data)
    gpu.write(buffer, np.array([[1, 2], [3, 4]], np.uint32).T, 100)  # not contiguous
    assert gpu.read(buffer, 16, 100).view(np.uint32).tolist() == [1, 3, 2, 4]
    assert np.array_equal(gpu.read(buffer, 100), data[:100])
    assert gpu.read(buffer, 0).shape == (0,)


def a_kernel_gets_arguments_of_every_kind(rig: Rig) -> None:
    gpu = rig.open()
    program = rig.build(gpu, ALL_KINDS)
    assert program.source is ALL_KINDS
    out, other = gpu.allocate(4 * (8 + 3 * 256)), gpu.allocate(64)
    gpu.launch(program, "t_kinds", 3, (out, 0x12345678, (9 << 32) + 5, -7, 0xFFFFFFFF, other, 1.5, 2**64 - 2))
    words = gpu.read(out, out.size_bytes).view(np.uint32)
    assert words[:8].tolist() == [0x12345678, 5, 9, 0xFFFFFFF9, 0xFFFFFFFF, 0x3FC00000, 0xFFFFFFFE, 0xFFFFFFFF]
    assert words[8:].reshape(3, 256).tolist() == [[1000 * group + lane for lane in range(256)] for group in range(3)]
    assert gpu.read(other, 4).view(np.uint32).tolist() == [77]
    gpu.launch(program, "t_none", 1, ())
    gpu.finish()


def arguments_that_do_not_fit_are_refused_before_the_driver_sees_them(rig: Rig) -> None:
    gpu, other_gpu = rig.pair()
    program = rig.build(gpu, ALL_KINDS)
    good = gpu.allocate(4 * KIB)
    for arguments, words in (
        ((good, good), "takes 3 arguments, not 2"), ((good, 5, 1), "a buffer was expected"),
        ((good, good, 1 << 32), "which is no u32"), ((good, good, -1), "which is no u32"),
        ((good, good, 1.5), "which is no u32"), ((good, good, good), "a number was expected"),
        ((good, gpu.host_buffer(64, pinned=False), 1), "not pinned"),
    ):
        with rig.rejects(words):
            gpu.launch(program, "t_add", 1, arguments)
    for groups in (0, -1, 1 << 31):
        with rig.rejects("groups"):
            gpu.launch(program, "t_add", groups, (good, good, 1))
    with rig.rejects("no kernel t_other"):
        gpu.launch(program, "t_other", 1, ())
    with rig.rejects("was not built for"):
        other_gpu.launch(program, "t_none", 1, ())
    with rig.refuses("unsupported", "was not given access"):
        gpu.launch(program, "t_add", 1, (good, other_gpu.allocate(KIB), 1))
    good.free()
    with rig.rejects("after it was freed"):
        gpu.launch(program, "t_add", 1, (good, good, 1))


def the_portable_memory_kernels_fill_and_find_a_flipped_bit(rig: Rig) -> None:
    gpu = rig.open()
    source = catalogue.memory()
    program = rig.build(gpu, source)
    granules, first, key = 3000, (1 << 33) + 17, 0xC0FFEE
    memory, errors = gpu.allocate(16 * granules), gpu.allocate(4 * (4 + 6 * 8))
    groups = -(-granules // catalogue.GRANULES_A_GROUP)
    gpu.write(errors, np.zeros(4 + 6 * 8, np.uint32))
    gpu.launch(program, "bc_memory_fill", groups, (memory, first, granules, 0, key))
    found = gpu.read(memory, 16 * granules).view(np.uint32)
    assert np.array_equal(found, reference.pattern(first, granules, 0, key))
    gpu.launch(program, "bc_memory_check", groups, (memory, first, granules, 0, key, errors, 8))
    assert gpu.read(errors, 4).view(np.uint32)[0] == 0
    gpu.write(memory, found[5000:5001] ^ np.uint32(1 << 13), 4 * 5000)
    gpu.launch(program, "bc_memory_check", groups, (memory, first, granules, 0, key, errors, 8))
    record = gpu.read(errors, 40).view(np.uint32)
    index = 4 * first + 5000
    assert record[0] == 1
    assert record[4:8].tolist() == [index & 0xFFFFFFFF, index >> 32, found[5000], found[5000] ^ (1 << 13)]


def the_portable_product_is_exact(rig: Rig) -> None:
    gpu = rig.open()
    source = catalogue.product("fp32")
    program = rig.build(gpu, source)
    m, n, k = 128, 64, 32
    a, b, c = gpu.allocate(4 * m * k), gpu.allocate(4 * n * k), gpu.allocate(4 * m * n)
    gpu.write(a, reference.matrix("fp32", m, k, 5, 0))
    gpu.write(b, reference.matrix("fp32", n, k, 6, 1))
    gpu.launch(program, "bc_matmul", (m // 64) * (n // 64), (a, b, c, m, n, k))
    found = gpu.read(c, 4 * m * n).view(np.float32).reshape(m, n)
    assert np.array_equal(found.astype(np.int64), reference.product("fp32", m, n, k, 5, 6))


def copies_reach_every_kind_of_memory(rig: Rig) -> None:
    gpu = rig.open()
    one, two = gpu.allocate(4 * KIB), gpu.allocate(4 * KIB)
    for pinned in (True, False):
        host, back = gpu.host_buffer(4 * KIB, pinned), gpu.host_buffer(4 * KIB, pinned)
        assert (host.pinned, host.size_bytes, host.array.shape) == (pinned, 4 * KIB, (4 * KIB,))
        host.array[:] = np.arange(4 * KIB).astype(np.uint8)
        gpu.copy(one, host, 4 * KIB)
        gpu.copy(two, one, 1000, target_offset=24, source_offset=8)
        gpu.copy(back, two, 1000, target_offset=100, source_offset=24)
        gpu.finish(0)
        assert np.array_equal(back.array[100:1100], host.array[8:1008])
        host.free()
        host.free()
        assert host.array.size == 0


def copies_that_leave_their_buffers_are_refused(rig: Rig) -> None:
    gpu, other = rig.pair()
    small, large, host = gpu.allocate(100), gpu.allocate(200), gpu.host_buffer(100)
    for target, source, size, offsets in (
        (small, large, 101, {}), (small, large, 50, {"target_offset": 51}), (large, small, 50, {"source_offset": 51}),
        (host, large, 101, {}), (large, host, 1, {"source_offset": -1}), (small, large, -1, {}),
    ):
        with rig.rejects("do not lie in a buffer of"):
            gpu.copy(target, source, size, **offsets)
    with rig.rejects("do not lie"):
        gpu.write(small, np.zeros(101, np.uint8))
    with rig.rejects("do not lie"):
        gpu.read(small, 50, 51)
    with rig.rejects("neither end"):
        other.copy(small, large, 10)
    with rig.rejects("neither end"):
        gpu.copy(host, host, 10)
    with rig.rejects("not memory of"):
        other.read(small, 10)
    with rig.rejects("of 0 bytes"):
        gpu.allocate(0)
    small.free()
    with rig.rejects("after it was freed"):
        gpu.read(small, 10)


def queues_run_beside_each_other_unless_one_waits(rig: Rig) -> None:
    gpu = rig.open()
    host, middle, back = gpu.host_buffer(64), gpu.allocate(64), gpu.host_buffer(64)
    gpu.write(middle, np.zeros(64, np.uint8))
    host.array[:] = 9
    gpu.copy(middle, host, 64, queue=1)
    gpu.copy(back, middle, 64, queue=2)
    gpu.finish()
    assert set(back.array) == {0}, "the mock should have run the second queue first"
    gpu.write(middle, np.zeros(64, np.uint8))
    gpu.copy(middle, host, 64, queue=1)
    gpu.wait_for(gpu.mark(1), 2)
    gpu.copy(back, middle, 64, queue=2)
    gpu.finish(2)
    assert set(back.array) == {9}


def reading_and_writing_wait_for_queue_0(rig: Rig) -> None:
    gpu = rig.open()
    program = rig.build(gpu, ALL_KINDS)
    one, two = gpu.allocate(KIB), gpu.allocate(KIB)
    gpu.write(one, np.arange(256, dtype=np.uint32))
    gpu.launch(program, "t_add", 1, (two, one, 5))
    gpu.write(one, np.zeros(256, np.uint32))
    gpu.launch(program, "t_add", 1, (two, two, 10))
    assert gpu.read(two, KIB).view(np.uint32).tolist() == [lane + 15 for lane in range(256)]


def device_time_is_what_lies_between_two_marks(rig: Rig) -> None:
    gpu, other = rig.pair()
    host, buffer = gpu.host_buffer(2 * MIB), gpu.allocate(2 * MIB)
    first = gpu.mark(3)
    gpu.copy(buffer, host, 2 * MIB, queue=3)
    gpu.copy(buffer, host, MIB, queue=3)
    second = gpu.mark(3)
    seconds = gpu.seconds_between(first, second)
    assert abs(seconds - 3 * MIB * 1e-9) < 1e-9, seconds  # the mock copies a gigabyte a second
    with rig.rejects("the mark is not of"):
        other.seconds_between(first, second)


def marks_are_used_again(rig: Rig) -> None:
    gpu = rig.open()
    for _ in range(50):
        first, second = gpu.mark(), gpu.mark()
        gpu.seconds_between(first, second)
    del first, second
    gc.collect()
    assert rig.live("events") <= 4


def devices_copy_to_each_other_once_access_is_given(rig: Rig) -> None:
    gpu, other = rig.pair()
    here, there = gpu.allocate(KIB), other.allocate(KIB)
    assert gpu.can_access(other)
    assert gpu.can_access(gpu)
    gpu.write(here, np.full(KIB, 3, np.uint8))
    other.write(there, np.full(KIB, 4, np.uint8))
    with rig.refuses("unsupported", f"{rig.name}:0 was not given access to the memory of {rig.name}:1"):
        gpu.copy(there, here, KIB)
    gpu.enable_peer(other)
    gpu.enable_peer(other)
    gpu.enable_peer(gpu)
    gpu.copy(there, here, 100, target_offset=10)
    gpu.finish()
    assert other.read(there, 111).tolist() == [4] * 10 + [3] * 100 + [4]
    gpu.copy(here, there, 10)
    gpu.finish()
    assert gpu.read(here, 11).tolist() == [4] * 10 + [3]
    with rig.refuses("unsupported", "was not given access"):
        other.copy(here, there, 10)  # access is one-way


def access_that_was_given_before_is_no_error(rig: Rig) -> None:
    gpu, other = rig.pair()
    gpu.enable_peer(other)
    again = rig.open(0)
    again.enable_peer(other)
    again.copy(other.allocate(64), again.allocate(64), 64)
    again.finish()


def devices_that_cannot_reach_each_other_say_so(rig: Rig) -> None:
    rig.mock.mock_unreachable(0, 1)
    gpu, other = rig.pair()
    assert not gpu.can_access(other)
    with rig.refuses("unsupported", "cannot read and write the memory of"):
        gpu.enable_peer(other)


def a_kernel_writes_into_a_peers_memory(rig: Rig) -> None:
    gpu, other = rig.pair()
    program = rig.build(gpu, ALL_KINDS)
    gpu.enable_peer(other)
    here, there = gpu.allocate(KIB), other.allocate(KIB)
    gpu.write(here, np.arange(256, dtype=np.uint32))
    gpu.launch(program, "t_add", 1, (there, here, 1))
    gpu.finish()
    assert other.read(there, KIB).view(np.uint32).tolist() == list(range(1, 257))


def a_kernel_uses_pinned_memory_of_the_host(rig: Rig) -> None:
    gpu = rig.open()
    program = rig.build(gpu, ALL_KINDS)
    here, host = gpu.allocate(KIB), gpu.host_buffer(KIB)
    gpu.write(here, np.arange(256, dtype=np.uint32))
    gpu.launch(program, "t_add", 1, (host, here, 2))
    gpu.finish()
    assert host.array.view(np.uint32).tolist() == list(range(2, 258))


def a_device_waits_for_another_devices_mark(rig: Rig) -> None:
    gpu, other = rig.pair()
    other.enable_peer(gpu)
    here, there, host = gpu.allocate(64), other.allocate(64), gpu.host_buffer(64)
    gpu.write(here, np.zeros(64, np.uint8))
    host.array[:] = 8
    gpu.copy(here, host, 64, queue=1)
    mark = gpu.mark(1)
    other.wait_for(mark, 5)
    other.copy(there, here, 64, queue=5)
    other.finish(5)
    assert set(other.read(there, 64)) == {8}


def too_little_memory_is_told_with_what_is_free(rig: Rig) -> None:
    gpu = rig.open()
    held = gpu.allocate(BUDGET_BYTES // 2)
    with rig.refuses("out-of-memory", "allocating 0.04 GiB", "0.03 of 0.06 GiB are free"):
        gpu.allocate(40 * MIB)
    gpu.allocate(MIB)
    held.free()
    gpu.allocate(40 * MIB)


def memory_that_cannot_be_pinned_is_taken_as_it_is(rig: Rig) -> None:
    gpu = rig.open()
    rig.fault("cuMemHostAlloc" if rig.name == "cuda" else "hipHostMalloc", 2)
    host, buffer = gpu.host_buffer(KIB), gpu.allocate(KIB)
    assert not host.pinned
    host.array[:] = 5
    gpu.copy(buffer, host, KIB)
    gpu.finish()
    assert set(gpu.read(buffer, KIB)) == {5}


def release_frees_all_memory_and_keeps_programs(rig: Rig) -> None:
    gpu = rig.open()
    program = rig.build(gpu, ALL_KINDS)
    old, host = gpu.allocate(KIB), gpu.host_buffer(KIB)
    gpu.release()
    assert (rig.live("memory"), rig.live("host"), rig.live("modules")) == (0, 0, 1)
    assert host.array.size == 0
    new = gpu.allocate(KIB)
    old.free()  # must not free what lies at the same address now
    gpu.write(new, np.arange(256, dtype=np.uint32))
    gpu.launch(program, "t_add", 1, (new, new, 1))
    assert gpu.read(new, 4).view(np.uint32)[0] == 1
    with rig.rejects("after it was freed"):
        gpu.read(old, 4)


def a_program_is_built_once(rig: Rig) -> None:
    gpu = rig.open()
    assert rig.build(gpu, ALL_KINDS) is gpu.build(ALL_KINDS)
    assert rig.live("modules") == 1


def a_device_that_vanishes_is_lost_and_the_other_goes_on(rig: Rig) -> None:
    gpu, other = rig.pair()
    buffer, host = gpu.allocate(KIB), gpu.host_buffer(KIB)
    kept = other.allocate(KIB)
    gpu.copy(buffer, host, KIB, queue=1)
    rig.mock.mock_vanish(0)
    with rig.refuses("lost", "waiting for the GPU"):
        gpu.finish()
    for again in (gpu.free_bytes, gpu.mark, lambda: gpu.allocate(KIB), lambda: gpu.read(buffer, 1)):
        with rig.refuses("lost", "waiting for the GPU"):
            again()
    buffer.free()
    gpu.release()
    gpu.close()
    gpu.close()
    other.write(kept, np.full(KIB, 1, np.uint8))
    assert set(other.read(kept, KIB)) == {1}


def an_address_outside_a_kernels_memory_is_called_a_defect_of_boxcheck(rig: Rig) -> None:
    gpu = rig.open()
    program = rig.build(gpu, ALL_KINDS)
    buffer = gpu.allocate(KIB)
    stray = gpu.allocate(KIB)
    stray.address += 1 << 40
    gpu.launch(program, "t_add", 1, (buffer, stray, 1))
    with rig.refuses("error", "address outside its memory", "defect of boxcheck"):
        gpu.finish()
    with rig.refuses("error", "address outside its memory"):
        gpu.mark()
    gpu.close()


def what_breaks_a_device_is_named(rig: Rig) -> None:
    for code, kind, words in (
        (214, "lost", "ECC could not repair"), (719, "lost", "a kernel ended"), (702, "timeout", "ran longer"),
    ):
        gpu = rig.open()
        program = rig.build(gpu, ALL_KINDS)
        rig.fault("kernel", code)
        gpu.launch(program, "t_none", 1, ())
        with rig.refuses(kind, words, f"{code})"):  # type: ignore[arg-type]
            gpu.finish(0)
        with rig.refuses(kind, words, "waiting for the GPU"):  # type: ignore[arg-type]
            gpu.allocate(KIB)  # the first error again, not what the driver says of this call
        gpu.close()


def a_closed_device_refuses_and_its_buffers_are_harmless(rig: Rig) -> None:
    gpu = rig.open()
    buffer, host, mark = gpu.allocate(KIB), gpu.host_buffer(KIB), gpu.mark()
    gpu.close()
    assert host.array.size == 0
    buffer.free()
    host.free()
    del mark
    with rig.refuses("error", "after it was closed"):
        gpu.mark()


def a_number_that_no_device_has_is_told(rig: Rig) -> None:
    with rig.refuses("no-device", "opening"):
        rig.backend.open_gpu(7)
