"""Full-screen views of a run: the engine decides and writes, this shows what is in the store.

`state` sums up records of a run into a `frame`, whatever `feed` they come from: a run that goes on, one that is over,
or one that is played again. Screens and widgets draw frames; none of them judges.
"""
