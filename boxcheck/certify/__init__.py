"""`boxcheck certify`: the acceptance of one box against its profile, and what it leaves behind.

    acceptance.py   the nouns: identity, attempt, waiver, disposition, acceptance
    asking.py       before the run: identity by options, file or prompt; planned_load.py: how long
    held.py         one attempt, from its number to its folder; attempts.py: all of them on the disk
    run.py          from the run that is over to the acceptance: waivers.py, disposition.py; folder.py writes it
    ...             manifest, signature, verification; which acceptance a run is of (find_acceptance.py)

An attempt is a folder of its own and is never overwritten. What is signed is the canonical manifest of it: hashes of
verdict, profile, limits, readings and files. The key that signs never lies on the box under test.
"""
