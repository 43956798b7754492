"""The files of a project folder, as package data.

In the repository each is a link to the file of the same name at its root, so that there is one of each; a wheel
holds their content.
"""

from pathlib import Path

from repro.errors import ReproError
from repro.records import atomic_write

HERE = Path(__file__).parent


def project_files() -> list[Path]:
    """The files, relative to the folder of a project."""
    return sorted(
        path.relative_to(HERE)
        for path in HERE.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    )


def write_project(folder: Path) -> list[Path]:
    """Write configuration, Snakefile and profile.

    Args:
        folder: Where to; it is made.

    Returns:
        The files written.

    Raises:
        ReproError: If one of them is there already; then nothing is written.
        StorageError: If a file cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ReproError(f"{folder}: a file, and nothing was written; name a folder")
    targets = {HERE / name: folder / name for name in project_files()}
    existing = [str(target) for target in targets.values() if target.exists()]
    if existing:
        raise ReproError(f"{', '.join(existing)}: already there, and nothing was written; choose an empty folder")
    for source, target in targets.items():
        atomic_write(target, source.read_bytes())
    return list(targets.values())
