"""`boxcheck certify`: the acceptance of one box against its profile, and what it leaves behind.

    acceptance.py   the nouns: identity, attempt, waiver, disposition, acceptance
    ...             identity by options, file or prompt; the folder of an attempt; manifest, signature, verification

An attempt is a folder of its own and is never overwritten. What is signed is the canonical manifest of it: hashes of
verdict, profile, limits, readings and files. The key that signs never lies on the box under test.
"""
