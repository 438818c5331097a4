"""Vendor libraries of paper, and devices of the host's memory that they can work in."""
