"""Triage: from pasted or saved evidence, in any mix, to what happened, to which part, why, and what to do next.

    input.py      files, standard input, archives: a stream of lines
    cut.py        the stream cut into sections: output of known tools, and kernel log around it
    tools/        a reader for each tool's output: devices and events out of one section
    machine.py    what all of the evidence says of one machine, joined by address
    rules/        causes across events, each a small function
    account.py    all of it together, as the reports render it

Nothing here reads the machine that it runs on.
"""
