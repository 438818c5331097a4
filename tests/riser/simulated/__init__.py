"""Registers of simulated links. They share no code with `boxcheck.riser`, and follow the specification by themselves."""
