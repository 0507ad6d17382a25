"""`python -m fer_ablate`."""

import sys

from fer_ablate.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
