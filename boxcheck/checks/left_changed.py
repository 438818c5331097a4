"""What boxcheck's own experiments left changed."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.places import link_subject, short, where
from boxcheck.model import BOX, Finding, Subject, Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.left_changed import LeftBehind
from boxcheck.probes.links import Links
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, passed, skipped, unknown

PUT_BACK = "sudo boxcheck riser --restore"


@check("pcie.left-changed", reads=[LeftBehind, Gpus, Links])
def left_changed(left: LeftBehind, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """An experiment of `boxcheck riser` was cut off, and what it changed was not put back.

    Why it matters: the link may be held at a lower speed, without power saving, or the card at a lower power limit.
    What is measured now is of a box that boxcheck itself has changed: errors that a full speed makes do not come.
    What to do: `sudo boxcheck riser --restore` puts it back; so does a restart of the machine.
    Not a fault: while `boxcheck riser` is at work in another terminal.
    By hand: ls /run/boxcheck ~/.local/state/boxcheck/links ~/.local/state/boxcheck/riser
    """
    changed = left.changed
    if isinstance(changed, Unread):
        if changed.kind == "not-captured":  # what it holds of links and limits is judged by their own checks
            yield skipped(BOX, "the capture does not tell of experiments")
        else:
            yield unknown(BOX, f"not read: {changed.why}", needs_root=changed.kind == "permission")
        return
    if not changed:
        yield passed(BOX, "no experiment left anything changed")
    for one in changed:
        of = f" ({one.what})" if one.what else ""
        if one.kind == "power":
            gpu = next((gpu for gpu in gpus.gpus if gpu.bdf == one.bdf), None)
            subject = gpu.subject if gpu is not None else Subject("gpu", name=short(one.bdf), bdf=one.bdf)
            if one.at_work:
                yield unknown(subject, f"boxcheck riser holds its power limit lowered now{of}",
                              help=("wait until it is done, then ask again",))
                continue
            yield failed(
                subject, f"an experiment{of} lowered its power limit and has not put it back",
                cause=f"left-changed:{one.bdf}",
                title=f"the power limit of {subject} is still lowered by boxcheck riser",
                help=(PUT_BACK,))
            continue
        link = links.links.get(one.bdf)
        gpu = None if link is None else next((gpu for gpu in gpus.gpus if gpu.slot_link == link.id), None)
        port = Subject("link", name=f"port {short(one.bdf)}", bdf=one.bdf)
        subject = port if link is None else link_subject(link, gpu)
        place = "" if link is None else where(link, gpu, links, want)
        if one.at_work:
            yield unknown(
                subject, f"boxcheck riser works on the link below {short(one.bdf)} now{of}, so it is not as it is used",
                help=("wait until it is done, then ask again",))
            continue
        yield failed(
            subject, f"an experiment on the link below {short(one.bdf)} was cut off{of}, and the link was not put back",
            cause=f"link:{one.bdf}", where=place, title=f"the link of {subject} is as boxcheck riser left it",
            help=(PUT_BACK,))
