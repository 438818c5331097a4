"""The run store: one SQLite file a run, written while the run goes on, which no crash can erase.

`creating` makes or reopens one, `writer` writes it through `journal`; `reader` reads it while it is written and
afterwards, `salvage` saves what is left of a damaged one, `listing` and `pruning` work on a directory of them.
docs/reference/store.md describes the file.
"""
