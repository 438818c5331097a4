"""What a signature proves and what it does not, in the words of report, terminal and JSON."""

from __future__ import annotations

PROVES = "Whoever holds the key signed exactly these files, and none was changed since."

PROVES_NOT = (
    "whose the key is: the list of allowed signers says so, and whoever wrote it",
    "that the box was tested as the files say: a box can lie to the software on it, and a signer to the reader",
    "that the key lay elsewhere than on the box: the signer says so",
    "that this is the box in front of you: compare the serial number with that on its board",
    "when it was signed: the times come from the clock of the box",
    "that there were no other attempts: they are counted by the station",
    "that the box is still as it was on that day",
)

SELF_SIGNED = (
    "Self-signed: the key lay on the box under test, so whoever had the box could have written and signed all of this.")
