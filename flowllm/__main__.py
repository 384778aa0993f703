"""`python -m flowllm` is the `flowllm` command."""

import sys

from flowllm.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
