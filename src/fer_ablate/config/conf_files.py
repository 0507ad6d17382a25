"""Where the YAML files of the program are. Hydra is not needed for that, and takes a third of a second to import."""

from pathlib import Path

from fer_ablate.errors import UserError

CONFIG_NAME = "config"


def conf_dir() -> Path:
    """Folder of the YAML files: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / f"{CONFIG_NAME}.yaml").is_file():
            return folder
    raise UserError(f"No conf/ folder beside {package}. Reinstall fer-ablate, or run it from a complete checkout.")
