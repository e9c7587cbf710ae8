"""`python -m devstack`: the same as the command `devstack`."""

import sys

from devstack.cli import main

sys.exit(main())
