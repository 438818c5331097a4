"""The page of docs/reference on what boxcheck starts, and how much it reads of what comes from others."""

from __future__ import annotations

from collections.abc import Iterator

MIB = 1 << 20


def programs() -> Iterator[tuple[str, str, float]]:
    """Program with its words, when it is started, seconds that it gets."""
    from boxcheck.certify import keygen
    from boxcheck.engine import leftovers
    from boxcheck.host import evidence, live
    from boxcheck.probes import bmc, clock, nvme

    default = evidence.PROGRAM_TIMEOUT_SECONDS
    own = {"ipmitool": bmc.TIMEOUT_SECONDS, "timedatectl": clock.TIMEOUT_SECONDS, "chronyc": clock.TIMEOUT_SECONDS,
           "nvme": nvme.SMART_TIMEOUT_SECONDS}
    when = {"any": "doctor, facts, capture, burn", "root": "the same, as root",
            "bmc": "the same, as root, where there is a BMC"}
    for one in evidence.programs():
        yield " ".join(one.argv), when[one.when], own.get(one.argv[0], default)
    yield "getfacl -n -p NODE...", "the same, under sudo", default
    yield "journalctl -k -b BOOT", "doctor, capture; after a crash", live.JOURNAL_TIMEOUT_SECONDS
    yield "ipmitool sel", "after a crash, as root", leftovers.BMC_SECONDS
    yield "ssh-keygen", "report verify, keys", keygen.CHECK_SECONDS
    yield "ssh-keygen", "report sign, keys: where it asks for a passphrase", keygen.PROMPT_SECONDS


def limits() -> Iterator[tuple[str, str, str]]:
    """What is read from others, a bound, and what happens beyond it."""
    from boxcheck.certify import contents, contents_tar
    from boxcheck.host import LOG_LIMIT_BYTES, inflate, programs, tar, tree
    from boxcheck.profile_file import LINE_LIMIT, SIZE_LIMIT_BYTES
    from boxcheck.store.blocks import FOLD_BYTES, FREE_RECORDS, MOST_RECORDS
    from boxcheck.store.schema import BLOB_LIMIT
    from boxcheck.triage import input as triage_input

    refused, unread = "it is refused", "that part is unread"
    yield "capture", f"{tar.MEMBER_LIMIT} files, {tar.DIRECTORY_LIMIT} directories", refused
    kept, unpacked = tar.KEPT_LIMIT_BYTES // MIB, tar.UNPACKED_LIMIT_BYTES // MIB
    yield "capture", f"{kept} MiB of files, {unpacked} MiB unpacked", refused
    yield "path in a capture", f"{tree.DEPTH_LIMIT} levels", "it is left out, and that is said"
    yield "capture", f"{inflate.STREAM_LIMIT} compressed streams", refused
    yield "file of a capture", f"{LOG_LIMIT_BYTES // MIB} MiB", unread
    yield "profile", f"{SIZE_LIMIT_BYTES // 1024} KiB, {LINE_LIMIT} characters a line", refused
    yield "value in a store", f"{BLOB_LIMIT // MIB} MiB, unpacked too", unread
    yield "minute of a store", f"{MOST_RECORDS} records, {FOLD_BYTES // MIB} MiB unpacked", unread
    yield "records of a store", f"{FREE_RECORDS}, and one for each of its bytes", unread
    log = triage_input.INFLATED_LIMIT_BYTES // MIB
    yield "log for triage", f"{log} MiB unpacked", "what came before is read, and that is said"
    yield "folder of an acceptance", f"{contents.FILES_LIMIT} files, {contents.DEPTH_LIMIT} levels", refused
    yield "packed acceptance", f"{contents_tar.UNPACKED_LIMIT_BYTES // MIB} MiB unpacked", refused
    yield "output of a program", f"{programs.OUTPUT_LIMIT_BYTES // MIB} MiB", unread


def bounds_page() -> str:
    lines = [
        "# Programs and bounds\n\nWhat [the page on security](../explanation/security.md) promises, in numbers.\n",
        "\n## Programs\n\n",
        "Found in the system's directories alone, never by the caller's `PATH`; started without a shell, without\n"
        "standard input, with an environment of `PATH`, `HOME` and the C locale; ended with all that they started\n"
        "when their time is over. What one that is not installed would have told is unknown.\n\n",
        "| program | when | seconds |\n|---|---|---|\n"]
    lines += (f"| `{words}` | {when} | {seconds:g} |\n" for words, when, seconds in programs())
    lines += [
        "\n`ssh-keygen` keeps the terminal and the ssh-agent's socket when it asks for a passphrase. Python itself\n"
        "runs `ldconfig -p` to find a library; PoCL, where OpenCL runs on a processor, links its kernels with `ld`.\n"
        "Beside these, boxcheck starts processes of its own code (`python -P -m boxcheck...`), `watch -- COMMAND` the\n"
        "command, and a pager on a terminal, `$PAGER` or `less`, never as root.\n",
        "\n## Bounds on what comes from others\n\n| what | at most | beyond it |\n|---|---|---|\n"]
    lines += (f"| {what} | {most} | {beyond} |\n" for what, most, beyond in limits())
    return "".join(lines)
