"""`boxcheck riser`: which of slot, riser, card, seat, supply or setting damages a link, proven with numbers.

    ports.py      what is read and written of a machine's links, and the two ends of one
    evidence.py   what was seen of each link in each boot, under which conditions; what an operator was asked to do
    ...           measurement of a link, experiments without hands, lane margining, suspects and the next step

Measuring and experimenting touch the machine; everything about suspects is pure and works on a stored notebook.
"""
