"""Files of class maps of one image in several folders."""

from __future__ import annotations

from pathlib import Path

from tobias_aug.class_maps.layouts import class_map_files
from tobias_aug.runtime.run_settings import SourceFolder


class MatchedFolders:
    """Folders of class maps whose files are matched by name.

    Args:
        folders: one or more.

    Attributes:
        names: all that any of the folders has, in alphabetical order.
        common: those that all of them have.
        missing: for each name that a folder lacks, which folder that is, in words.

    Raises:
        ValueError: if a folder holds no class maps, or the folders have no name in common.
    """

    def __init__(self, *folders: str | Path) -> None:
        self.folders = tuple(map(Path, folders))
        self._files = [class_map_files(folder) for folder in folders]
        self.names = sorted(set().union(*self._files))
        self.common = [name for name in self.names if all(name in files for files in self._files)]
        self.missing = {name: self._lack(name) for name in sorted(set(self.names) - set(self.common))}
        if not self.common:
            raise ValueError(
                f"{' and '.join(map(str, self.folders))} have no file name in common; files are matched by their names"
            )

    def paths(self, name: str) -> list[Path]:
        """Return the files of an image, in the folders' order.

        Raises:
            FileNotFoundError: naming the folder that lacks it.
        """
        if name in self.missing:
            raise FileNotFoundError(self.missing[name])
        return [files[name] for files in self._files]

    def sources(self) -> list[SourceFolder]:
        """Return what the settings of a run note, in the folders' order."""
        pairs = zip(self.folders, self._files, strict=True)
        return [SourceFolder(folder, files.values()) for folder, files in pairs]

    def _lack(self, name: str) -> str:
        folders = zip(self.folders, self._files, strict=True)
        return f"no class maps of this name in {next(folder for folder, files in folders if name not in files)}"
