"""The config group `sweeps`: the search spaces, in the project's sweeps/ or, once installed, beside the package."""

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

GROUP = "sweeps"
SCHEME = "fer-search"
_BESIDE, _PROJECT = Path(__file__).parent / "search_spaces", Path(__file__).parents[2]
SPACES = _BESIDE if _BESIDE.is_dir() else _PROJECT


class SearchSpaces(ConfigSource):
    """One folder of YAML files as the one group `sweeps`: nothing else in that folder becomes a config."""

    @staticmethod
    def scheme() -> str:
        return SCHEME

    def _file(self, config_path: str) -> Path | None:
        group, _, name = self._normalize_file_name(config_path).rpartition("/")
        return Path(self.path) / name if group == GROUP else None

    def load_config(self, config_path: str) -> ConfigResult:
        file = self._file(config_path)
        if file is None or not file.is_file():
            raise ConfigLoadError(f"{config_path}: no such config")
        text = file.read_text(encoding="utf-8")
        return ConfigResult(
            config=OmegaConf.create(text),
            path=self.full_path(),
            provider=self.provider,
            header=self._get_header_dict(text),
        )

    def available(self) -> bool:
        return Path(self.path).is_dir()

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", GROUP)

    def is_config(self, config_path: str) -> bool:
        file = self._file(config_path)
        return file is not None and file.is_file()

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path == "":
            return [] if results_filter == ObjectType.CONFIG else [GROUP]
        if config_path != GROUP or results_filter == ObjectType.GROUP:
            return []
        return sorted(file.stem for file in Path(self.path).glob("*.yaml"))


class SearchSpacesPath(SearchPathPlugin):
    """Adds the search spaces to what every Hydra command composes from."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append(provider="fer_lightning", path=f"{SCHEME}://{SPACES}")
