"""Pixels of pictures in every format people have."""

import io

import numpy as np
import pytest
from PIL import Image

from fer_ablate.errors import UserError
from fer_ablate.inference.pictures import decode

GRAY = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10


def encoded(image, form="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def palette():
    return Image.fromarray(GRAY).convert("RGB").quantize(32, dither=Image.Dither.NONE)


SAME = {
    "gray": Image.fromarray(GRAY),
    "16 bits": Image.fromarray(GRAY.astype(np.uint16) * 256 + 17),
    "palette": palette(),
    "opaque RGBA": Image.fromarray(GRAY).convert("RGBA"),
    "gray with alpha": Image.fromarray(GRAY).convert("LA"),
}


@pytest.mark.parametrize("image", SAME.values(), ids=SAME)
def test_formats_give_the_same_pixels(image):
    pixels, size = decode(encoded(image))
    assert size == (6, 4)
    assert np.array_equal(pixels, np.repeat(GRAY[:, :, None], 3, axis=2))


def test_colours_are_blue_green_red_and_transparency_is_white():
    image = Image.new("RGBA", (2, 1), (250, 20, 10, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    assert decode(encoded(image))[0].tolist() == [[[10, 20, 250], [255, 255, 255]]]


def test_a_floating_point_picture_is_stretched():
    assert decode(encoded(Image.fromarray(np.array([[-1.0, 0.0, 1.0]], np.float32)), "TIFF"))[0][0, :, 0].tolist() == [
        0,
        128,
        255,
    ]


def test_a_picture_is_turned_upright():
    image = Image.fromarray(GRAY)
    orientation = Image.Exif()
    orientation[0x0112] = 6  # the camera was held on its side: turn by 90 degrees clockwise
    pixels, size = decode(encoded(image, exif=orientation))
    assert size == (4, 6)
    assert np.array_equal(pixels[:, :, 0], np.rot90(GRAY, -1))


def test_a_cut_off_picture_is_no_picture():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))
    for form in ("JPEG", "PNG"):
        content = encoded(noise, form)
        with pytest.raises(UserError, match="is damaged"):
            decode(content[: len(content) // 2])
    for content in (b"", b"not a picture at all"):
        with pytest.raises(UserError, match="is not a picture"):
            decode(content)


def test_a_huge_picture_is_refused_before_it_is_decoded():
    content = encoded(Image.new("1", (20_000, 20_000)))
    with pytest.raises(UserError, match="20,000 x 20,000 pixels are more than the 50 million"):
        decode(content)


def test_a_large_jpeg_is_decoded_at_a_smaller_size():
    image = Image.fromarray(GRAY).resize((600, 400))
    pixels, size = decode(encoded(image, "JPEG"), limit=100_000)
    assert pixels.shape == (200, 300, 3)
    assert size == (600, 400)
    with pytest.raises(UserError, match="600 x 400"):
        decode(encoded(image, "JPEG", progressive=True), limit=100_000)
