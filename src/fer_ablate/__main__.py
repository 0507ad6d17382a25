"""`python -m fer_ablate`."""

import os
import sys

try:
    from fer_ablate.cli.main import main
except KeyboardInterrupt:  # from here on `main` sees to it
    os.write(2, b"fer_ablate: interrupted.\n")
    os._exit(130)

if __name__ == "__main__":
    sys.exit(main())
