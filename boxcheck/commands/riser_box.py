"""What `boxcheck riser` reads of the machine once: facts, profile, slots, devices; links that wait to be put back."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from boxcheck.commands.doctor import Options as DoctorOptions
from boxcheck.commands.doctor import choose_profile, open_host
from boxcheck.commands.put_back import put_back
from boxcheck.engine.box import name_of
from boxcheck.engine.inspect import name_slots, read_facts
from boxcheck.engine.record import kept_directory
from boxcheck.judge import ExitCode
from boxcheck.model import Bdf, Unread
from boxcheck.probes.links import Links
from boxcheck.report.wrapping import wrapped
from boxcheck.riser.links.journal import journal_directory
from boxcheck.riser.links.ports import Refused
from boxcheck.riser.live import Live
from boxcheck.riser.parts import Seat, seats_of
from boxcheck.usage import UsageError

if TYPE_CHECKING:
    from boxcheck.commands.riser import Options


class Leave(Exception):
    """An exit code, after what there is to say was said."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Box:
    """The machine, read once."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.host = open_host(options.sysroot)
        self.facts = read_facts(self.host)
        self.want = choose_profile(DoctorOptions(profile=options.profile), self.facts)[0]
        name_slots(self.facts, self.want)
        self.name = name_of(self.facts)

    def links(self) -> Links:
        """Leave with exit code 3 where they were not read."""
        links = self.facts.of(Links)
        if isinstance(links, Unread):
            print(f"error: the links were not read: {links.why}", file=sys.stderr)
            raise Leave(int(ExitCode.INCOMPLETE))
        return links

    def folder(self) -> str:
        """Where notebooks and journals lie."""
        try:
            return kept_directory(self.host, "riser")
        except OSError as error:
            raise UsageError(f"{error.filename}: {os.strerror(error.errno or 0).lower()}",
                             "set XDG_STATE_HOME to a directory that can be written") from None

    def journals(self) -> str:
        """Where what a link was set to is kept while it is changed."""
        try:
            return journal_directory(self.host)
        except Refused as refused:
            raise UsageError(refused.says, refused.help) from None

    def seats(self, also: Bdf | None = None) -> tuple[Seat, ...]:
        return seats_of(self.facts, self.want, also=also)

    def live(self, seats: tuple[Seat, ...], folder: str) -> Live:
        """With the devices that runtimes show. Leave with exit code 3 where no link of this machine can be measured."""
        from boxcheck.commands.stress import backend_named
        from boxcheck.engine.stress import find_devices
        from boxcheck.registry import discover, discover_stress

        discover()
        discover_stress()
        runtime = find_devices(backend_named(self.options.backend))
        live = Live(
            self.host, self.facts, self.want, seats, runtime.gpus, folder=folder, journals=self.journals(),
            say=self.say,
            options={name: value for name, _, value in (word.partition("=") for word in self.options.option)})
        if live.unread is not None:
            print(f"error: no link was measured: {live.unread.why}", file=sys.stderr)
            raise Leave(int(ExitCode.INCOMPLETE))
        return live

    def say(self, text: str) -> None:
        if not self.options.quiet:
            columns = min(100, shutil.get_terminal_size((100, 24)).columns)
            print("\n".join(wrapped(text, columns, "", "  ")), file=sys.stderr, flush=True)

    def restore_pending(self) -> frozenset[str]:
        """Links that an earlier start left changed are put back before anything else. Told also with --quiet. Gives the
        ports and cards that are still not what they were."""
        return put_back(self.host, self.say)
