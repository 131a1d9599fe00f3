"""The version of this library, for every layer of it."""

__version__ = "0.1.0"
