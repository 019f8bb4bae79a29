"""Every setting with its range, as frozen pydantic models: the one validator, wherever settings come from.

Defaults and comments stand in conf/*.yaml alone. A command's composed config must hold every key; settings kept in a
file (checkpoint, card, study) may lack keys that are newer than the file, which then have the default of conf/.
Imports nothing heavy and, of this package, only `errors` and `expressions`.
"""

from fer_lightning.settings.commands import *  # noqa: F403  (all public names, for `from fer_lightning.settings import`)
from fer_lightning.settings.groups import *  # noqa: F403
from fer_lightning.settings.saved import *  # noqa: F403
from fer_lightning.settings.trainer_arguments import *  # noqa: F403
from fer_lightning.settings.validation import *  # noqa: F403
