"""The files of `boxcheck demo`: made here, and compared with what is in the package.

    python -m tests.demo            make them anew, in boxcheck/data/demo
    python -m tests.demo --check    exit 1, naming those that are not what this makes
"""
