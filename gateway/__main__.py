"""``python -m gateway`` is ``gateway``."""

import sys

try:
    from gateway.cli import main
except KeyboardInterrupt:  # while everything is read in
    sys.exit(130)

main()
