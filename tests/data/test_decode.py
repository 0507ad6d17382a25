"""Decoding of pictures in all supported formats."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_ablate.config.choices import Fit
from fer_ablate.data.decode import decode, fitted, header, with_channels
from fer_ablate.errors import UserError

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
    assert size == (4, 6)
    assert np.array_equal(with_channels(pixels, 1), GRAY)


def test_colours_are_rgb_and_transparency_is_white():
    image = Image.new("RGBA", (2, 1), (250, 20, 10, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    assert decode(encoded(image))[0].tolist() == [[[250, 20, 10], [255, 255, 255]]]


def test_a_floating_point_picture_is_stretched():
    content = encoded(Image.fromarray(np.array([[-1.0, 0.0, 1.0]], np.float32)), "TIFF")
    assert decode(content)[0].tolist() == [[0, 128, 255]]


def test_deep_gray_is_the_same_in_every_format():
    deep = np.linspace(10_000, 20_000, 24).astype(np.uint16).reshape(4, 6)
    pgm = b"P5 6 4 65535\n" + deep.astype(">u2").tobytes()
    assert np.array_equal(decode(pgm)[0], decode(encoded(Image.fromarray(deep)))[0])


def test_a_picture_is_turned_upright():
    image = Image.fromarray(GRAY)
    orientation = Image.Exif()
    orientation[0x0112] = 6  # the camera was held on its side: turn by 90 degrees clockwise
    pixels, size = decode(encoded(image, exif=orientation))
    assert size == (6, 4)
    assert np.array_equal(pixels, np.rot90(GRAY, -1))


def test_size_and_colour_come_from_the_header(tmp_path):
    orientation = Image.Exif()
    orientation[0x0112] = 6
    Image.fromarray(GRAY).save(tmp_path / "turned.jpg", exif=orientation)
    Image.new("CMYK", (5, 7)).save(tmp_path / "print.jpg")
    palette().save(tmp_path / "gray.gif")
    seen = {path.name: header(path) for path in tmp_path.iterdir()}
    assert {name: (one.size, one.gray) for name, one in seen.items()} == {
        "turned.jpg": ((6, 4), True), "print.jpg": ((7, 5), False), "gray.gif": ((4, 6), True),
    }  # fmt: skip


def test_print_colours_and_first_frames_are_read():
    assert decode(encoded(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "TIFF"))[0].tolist() == [[[255, 0, 0]]]
    frames = [Image.new("L", (2, 2), shade) for shade in (40, 200)]
    assert decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))[0].tolist() == [[40, 40], [40, 40]]


def test_colours_turn_gray_by_their_brightness():
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert with_channels(colours, 1).tolist() == [[76, 150, 29]]  # 255 times 0.299, 0.587 and 0.114
    assert with_channels(GRAY, 3)[:, :, 2].tolist() == GRAY.tolist()


@pytest.mark.parametrize(
    ("fit", "size", "expected"),
    [
        (Fit.pad, (2, 4), [[1, 1, 2, 2], [3, 3, 4, 4]]),  # wider: the edges go on
        (Fit.pad, (4, 2), [[1, 2], [1, 2], [3, 4], [3, 4]]),
        (Fit.crop, (1, 2), [[1, 2]]),
        (Fit.stretch, (2, 1), [[2], [4]]),  # the mean of 1 and 2 is rounded to the even 2
        (Fit.pad, (2, 2), [[1, 2], [3, 4]]),
    ],
    ids=["padded at the sides", "padded above and below", "cut", "stretched", "as it is"],
)
def test_a_picture_takes_another_shape(fit, size, expected):
    assert fitted(np.array([[1, 2], [3, 4]], np.uint8), size, fit).tolist() == expected


@pytest.mark.parametrize("fit", list(Fit), ids=lambda fit: fit.name)
@pytest.mark.parametrize("shape", [(1, 400_000), (1, 1), (5, 300), (300, 5), (48, 48), (47, 49)])
@pytest.mark.parametrize("size", [(48, 48), (56, 40), (1, 7)])
def test_every_shape_comes_out_as_asked(shape, size, fit):
    assert fitted(np.zeros((*shape, 3), np.uint8), size, fit).shape == (*size, 3)


def test_a_cut_off_picture_is_no_picture():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))
    for form in ("JPEG", "PNG"):
        content = encoded(noise, form)
        with pytest.raises(UserError, match="is damaged"):
            decode(content[: len(content) // 2])
    for content in (b"", b"not a picture at all"):
        with pytest.raises(UserError, match="is not a picture"):
            decode(content)


def test_a_huge_picture_is_refused_before_decoding():
    content = encoded(Image.new("1", (8_000, 7_000)))
    with pytest.raises(UserError, match="8,000 x 7,000 pixels are more than the 50 million"):
        decode(content)


def test_a_large_jpeg_is_decoded_smaller():
    image = Image.fromarray(GRAY).resize((600, 400))
    pixels, size = decode(encoded(image, "JPEG"), limit=100_000)
    assert pixels.shape == (200, 300)
    assert size == (400, 600)
    with pytest.raises(UserError, match="600 x 400"):
        decode(encoded(image, "JPEG", progressive=True), limit=100_000)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["jpg", "png", "tif"])
def test_the_header_has_the_decoded_size(tmp_path, form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"picture.{form}"
    Image.fromarray(GRAY).save(path, exif=exif)
    pixels, size = decode(path.read_bytes())
    assert header(path).size == size == pixels.shape


@pytest.mark.parametrize("mode", ["1", "P"])
def test_a_huge_picture_is_refused_by_its_header(tmp_path, mode):
    Image.new(mode, (8_000, 7_000)).save(tmp_path / "huge.png")
    with pytest.raises(UserError, match="8,000 x 7,000 pixels are more than the 50 million"):
        header(tmp_path / "huge.png")


def test_an_error_of_the_disk_is_no_damage():
    path = Path("/proc/self/mem")  # opens, and answers the first read by EIO
    if not path.exists():
        pytest.skip("only Linux has such a file")
    with pytest.raises(OSError, match="Input/output error"):
        header(path)
