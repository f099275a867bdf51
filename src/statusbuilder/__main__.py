"""`python -m statusbuilder` is `statusbuilder`."""

import sys

from .cli import main

sys.exit(main())
