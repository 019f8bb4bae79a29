"""The config group `sweeps`: the YAML files of the project's sweeps/ or, once installed, of search_spaces/."""

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

_INSTALLED = Path(__file__).parent / "search_spaces"
SPACES = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2]


class SearchSpaces(SearchPathPlugin):
    """Registers the search spaces when Hydra makes up its search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for file in SPACES.glob("*.yaml"):
            node = OmegaConf.load(file)
            ConfigStore.instance().store(file.stem, node, group="sweeps", package="_global_", provider="fer_lightning")
