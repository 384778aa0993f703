"""`python -m flowllm` is the `flowllm` command."""

import sys

from flowllm.cli import start


def main() -> int:
    """Carry out the command line of this process; its exit status."""
    start.begin()
    from flowllm.cli.main import main as command

    try:
        return command()
    finally:
        start.leave()


if __name__ == "__main__":
    sys.exit(main())
