"""`boxcheck riser`: which of slot, riser, card, seat, supply or setting damages a link, proven with numbers.

    evidence.py    what was seen of each link in each boot, under which conditions; what an operator was asked to do
    notebook.py    that on disk; entry.py, moved.py, parts.py: one more boot, what was moved, who sits where
    links/         the two ends of a link: ports, experiments that write to it, journal and restoration
    measuring/     a link under load: errors by direction over what crossed it, bounds, ranking
    margining/     lane margining at the receiver
    suspects/      probabilities of the parts, the verdict, the next step; weigh.weigh is the way in
    experiments.py the experiments without hands, in their order; live.py: on this machine
    account.py     what is told: advice.py, motions.py, absent.py, still.py

Measuring and experimenting touch the machine; everything about suspects is pure and works on a stored notebook.
"""
