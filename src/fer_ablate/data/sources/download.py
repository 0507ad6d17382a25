"""Fetches the public Kaggle copy of FER2013."""

from pathlib import Path

from fer_ablate.errors import UserError

try:
    import kagglehub
except ImportError:  # an optional dependency
    kagglehub = None

COPY = "deadskull7/fer2013"
"""A copy of the original table that needs no Kaggle account."""


def kaggle_copy() -> Path:
    """Folder of the downloaded table; kagglehub keeps it and downloads once."""
    if kagglehub is None:
        raise UserError('data.download=true needs kagglehub. Install it: pip install "fer-ablate[download]"')
    try:
        return Path(kagglehub.dataset_download(COPY))
    except Exception as error:  # whatever its HTTP client raises: the network is outside the program
        raise UserError(
            f"data.download=true: kagglehub could not fetch {COPY} ({type(error).__name__}: {error}). "
            "Check the network, or download it in a browser and pass data.path=..."
        ) from error
