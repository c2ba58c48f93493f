"""``python -m tests.field_probes > docs/fields.md``"""

import sys

from .table import table

sys.stdout.write(table())
