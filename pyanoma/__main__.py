"""Entry point of the command ``pyanoma``."""

from __future__ import annotations

from gevent import monkey


def main() -> None:
    """Patch the standard library for gevent, then run the command line.

    Patched here and nowhere in the libraries, and before anything else is imported: engines may use modules that block
    (sockets, subprocesses, `time.sleep`) without stopping the node.
    """
    monkey.patch_all()
    from pyanoma.cli import pyanoma  # noqa: PLC0415  # must come after patching

    pyanoma.main(prog_name="pyanoma")


if __name__ == "__main__":
    main()
