"""Drivers of paper, and what runs the real bindings against them."""
