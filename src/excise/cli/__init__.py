"""The command line."""

from excise.cli.app import main

__all__ = ["main"]
