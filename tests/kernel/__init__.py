"""A real Linux kernel under QEMU as the test bench: PCI Express links, AER and lost cards that nobody faked.

    python -m tests.kernel fetch            # kernels and QEMU into the cache, nothing installed
    python -m tests.kernel smoke            # one boot, one GPU, one error, doctor in the guest
    python -m tests.kernel run              # the whole bench, the same as BOXCHECK_BENCH=1 pytest tests/kernel
    python -m tests.kernel record           # captures of our own, and what a new kernel changed

docs/how-to/kernel-bench.md says how to use it, docs/explanation/kernel-facts.md what it found.

| file | holds |
|---|---|
| `cache.py` | where things are kept, the environment, the reason why the bench cannot run |
| `fetch.py`, `image.py`, `initramfs.py` | kernels and QEMU from the distribution's archives; a kernel unpacked; the file system that the guest starts from |
| `guest/` | what runs in the guest: `init` (busybox sh), `agent.py`, and `forks.py` for the processes that boxcheck starts |
| `vm.py`, `qmp.py` | one guest; QEMU's monitor |
| `poke.py` | a device's configuration space, changed from outside the guest |
| `training.py` | link registers that the guest may write, and links that train when it does |
| `topology.py` | the machines: which ports, which cards, which kernel command line |
| `bench.py` | a booted machine with its faults and boxcheck's answers: what the tests use |
| `test_*.py` | scenarios, one boot a topology |
"""
