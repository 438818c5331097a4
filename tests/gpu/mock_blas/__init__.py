"""Vendor libraries of paper, and a device of the host's memory that they can multiply in."""
