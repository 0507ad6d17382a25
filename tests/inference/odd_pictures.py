"""Pictures of the kinds that readers like to read in different ways: turned, transparent, deep, for print, of other sizes."""

import numpy as np
from PIL import ExifTags, Image

SIZE = (40, 56)
"""Height and width of most of them."""


def drawn(number, shape=(*SIZE, 3)):
    """Smooth noise, so that neither JPEG nor a resize makes gray of it."""
    coarse = np.random.default_rng(number).integers(0, 256, (5, 7, *shape[2:]), dtype=np.uint8)
    return Image.fromarray(coarse).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)


def save_odd(folder, first=0):
    """One picture of each kind; their content is drawn from seeds from `first` on."""
    folder.mkdir(parents=True, exist_ok=True)
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    drawn(first + 1, (56, 40, 3)).save(folder / "turned.jpg", exif=turned, quality=90)
    drawn(first + 2, (*SIZE, 4)).save(folder / "cutout.png")
    drawn(first + 3, SIZE).convert("LA").save(folder / "gray_alpha.png")
    Image.fromarray(np.asarray(drawn(first + 4, SIZE)).astype(np.uint16) * 257).save(folder / "deep.png")
    drawn(first + 5).convert("CMYK").save(folder / "print.jpg")
    drawn(first + 6).quantize(16).save(folder / "palette.png")
    drawn(first + 7).quantize(32).save(folder / "still.gif")
    drawn(first + 8).save(folder / "photo.jfif", format="JPEG")
    drawn(first + 9, (100, 64, 3)).save(folder / "large.webp", lossless=True)
    drawn(first + 10, (20, 70, 3)).save(folder / "wide.bmp")
    drawn(first + 11, SIZE).save(folder / "plain.png")


def odd_folder(root):
    """`<split>/<class>/*` with plain pictures to train on and odd ones to test on."""
    for number, name in enumerate(("happy", "sad")):
        for split, count in (("train", 4), ("val", 2)):
            (root / split / name).mkdir(parents=True)
            for one in range(count):
                drawn(100 * number + 10 * count + one).save(root / split / name / f"{one}.png")
        save_odd(root / "test" / name, 20 * number)
    return root
