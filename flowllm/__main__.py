"""`python -m flowllm` is the `flowllm` command."""

import sys

from flowllm.cli import start


def main() -> int:
    """Carry out the command line of this process and end it; its exit status where others have a say in the end."""
    start.begin()
    from flowllm.cli.main import main as command

    try:
        status = command()
    finally:
        start.end()
    return start.leave(status)


if __name__ == "__main__":
    sys.exit(main())
