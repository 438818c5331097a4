"""boxcheck brings up, validates and certifies computers with many GPUs."""

__version__ = "0.1.0"
