"""Whole boxes with bad parts, as the solver of `boxcheck riser` meets them: seeded, and without any code or number of it.

    chance.py      draws
    faults.py      a bad part: what it does, how it changes between boots and when it is plugged anew
    box.py         a random box, its parts and who knows what of them
    physics.py     how links train and how many bits are damaged, under which conditions
    counters.py    what receivers, senders and the kernel make of damaged bits
    margins.py     lane margins
    looks.py       what the command reads in one boot
    hands.py       an operator who does as asked, nine times in ten
    drive.py       boots, weighs and swaps until the solver has done
    guilt.py       whether the solver was right
    links.py       single directions with a known rate: do the confidence bounds hold?

Physics: the bit error rates, who logs which error and what is seen with which fault are from the PCI Express Base
Specification as collected in the project's notes (receiver logs RxErr, BadTLP, BadDLLP; sender logs Timeout, Rollover;
a status bit is sticky and the kernel counts interrupts). Shares and strengths are choices, each written where it is made.
"""
