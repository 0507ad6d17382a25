"""Which images of two sets have the same pixels, by the hashes that are kept with the images."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from fer_ablate.data.faces import FaceSet, Rows


def hashes_of(faces: FaceSet, rows: Rows) -> NDArray[np.uint64]:
    """(n,) hashes of the pixels of these n usable rows."""
    # Hashes exist for usable images only, so they are spread over the rows of the whole set.
    found = np.zeros(len(faces.labels), np.uint64)
    found[faces.rows] = faces.usable_hashes()
    return found[rows]


def images_digest(faces: FaceSet, rows: Rows) -> str:
    """The same text for the same images, whatever their order, labels and place in the set."""
    return hashlib.sha256(np.sort(hashes_of(faces, rows)).tobytes()).hexdigest()
