"""Damaged and odd images, all made here from images that scikit-image and scikit-learn bring."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

GOOD, BAD, EITHER = "good", "bad", "either"
MAX_PIXELS = 1_000_000


def real_images() -> list[Image.Image]:
    from skimage import data
    from sklearn.datasets import load_sample_images

    arrays = [data.astronaut(), data.coffee(), *load_sample_images().images]
    return [Image.fromarray(array).resize((96, 72), Image.Resampling.BICUBIC) for array in arrays]


def encoded(image: Image.Image, name: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format=name, **options)
    return file.getvalue()


def png(width: int, height: int, data: bytes, depth: int = 8, color: int = 2) -> bytes:
    """A PNG whose header may say anything."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def bombs(side: int) -> dict[str, bytes]:
    """Files of a few bytes that claim ``side`` x ``side`` pixels."""
    tiff = [(256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 200), (277, 3, 1)]
    tiff += [(278, 4, side), (279, 4, 8)]
    entries = b"".join(struct.pack("<HHIHH" if kind == 3 else "<HHII", tag, kind, 1, value, *([0] * (kind == 3)))
                       for tag, kind, value in tiff)  # fmt: skip
    low = min(side, 65535)
    webp = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0" * 4 + struct.pack("<I", low - 1)[:3] * 2
    return {
        "png": png(side, side, b"\0" * 100),
        "gif": b"GIF89a" + struct.pack("<HH", low, low) + b"\x80\0\0" + b"\0" * 6 + b",\0\0\0\0\1\0\1\0\0\2\2L\1\0;",
        "tiff": b"II*\0\x08\0\0\0" + struct.pack("<H", len(tiff)) + entries + b"\0" * 100,
        "bmp": b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, *[0] * 6),
        "ppm": f"P6 {side} {side} 255\n".encode() + b"\0" * 9,
        "webp": b"RIFF" + struct.pack("<I", len(webp)) + webp,
    }


def corpus() -> dict[bytes, tuple[bytes, str]]:
    """Name: content, and whether the image must get a mask, must not, or may."""
    random = np.random.default_rng(0)
    images = real_images()
    frames = [image.resize((40, 30)) for image in images]
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    palette = images[0].quantize(16)
    gray = np.asarray(images[0].convert("L"))
    found: dict[str, tuple[bytes, str]] = {}
    whole = {
        "jpg": encoded(images[0], "JPEG", quality=90, exif=exif),
        "progressive.jpg": encoded(images[1], "JPEG", progressive=True),
        "png": encoded(images[2], "PNG"),
        "gif": encoded(images[3], "GIF"),
        "webp": encoded(images[0], "WEBP"),
        "lossless.webp": encoded(images[1], "WEBP", lossless=True),
        "tiff": encoded(images[2], "TIFF", compression="tiff_lzw"),
        "bmp": encoded(images[3], "BMP"),
    }
    for kind, content in whole.items():
        found[f"whole.{kind}"] = content, GOOD
        # A last tenth can be missing without a pixel missing.
        for number, cut in enumerate(np.linspace(1, 0.9 * len(content), 10).astype(int)):
            found[f"cut{number}.{kind}"] = content[:cut], EITHER if kind == "tiff" else BAD
        for number in range(10):
            changed = bytearray(content)
            for place in random.integers(0, len(content), 1 + 3 * number):
                changed[place] ^= 1 << int(random.integers(8))
            found[f"flipped{number}.{kind}"] = bytes(changed), EITHER
        for number in range(2):
            found[f"noise{number}.{kind}"] = content[:40] + random.bytes(len(content) - 40), EITHER
    for side in (1500, 30_000, 65_535):
        for kind, content in bombs(side).items():
            found[f"bomb{side}.{kind}"] = content, BAD
    for number, (_, content) in enumerate(sorted(whole.items())):
        other = ["png", "jpg", "tiff", "bmp", "webp", "gif", "pbm", "jpeg"][number]
        found[f"called{number}.{other}"] = content, GOOD
    for side in ((1, 1), (1, 20_000), (20_000, 1), (3, 2), (1000, 1000)):
        image = images[0].resize(side)
        found[f"size{side[0]}x{side[1]}.png"] = encoded(image, "PNG"), GOOD
        found[f"size{side[0]}x{side[1]}.jpg"] = encoded(image, "JPEG"), GOOD
    deep = gray.astype(np.uint16) * 257
    found |= {
        "deep.png": (encoded(Image.fromarray(deep), "PNG"), GOOD),
        "deep.tiff": (encoded(Image.fromarray(deep), "TIFF"), GOOD),
        "deep-color.png": (png(4, 4, (b"\0" + b"\1\2" * 12) * 4, depth=16), GOOD),
        "cmyk.jpg": (encoded(images[0].convert("CMYK"), "JPEG"), GOOD),
        "gray.jpg": (encoded(images[0].convert("L"), "JPEG"), GOOD),
        "one-bit.png": (encoded(images[0].convert("1"), "PNG"), GOOD),
        "one-bit.tiff": (encoded(images[0].convert("1"), "TIFF", compression="group4"), GOOD),
        "alpha.png": (encoded(images[0].convert("RGBA"), "PNG"), GOOD),
        "alpha.webp": (encoded(images[0].convert("RGBA"), "WEBP"), GOOD),
        "gray-alpha.png": (encoded(images[0].convert("LA"), "PNG"), GOOD),
        "palette.png": (encoded(palette, "PNG", transparency=bytes(range(16))), GOOD),
        "palette.gif": (encoded(palette, "GIF", transparency=0), GOOD),
        "float.tiff": (encoded(Image.fromarray(gray.astype(np.float32)), "TIFF"), BAD),
        "deep-integers.tiff": (encoded(Image.fromarray(gray.astype(np.int32) * 100_000), "TIFF"), BAD),
        "lab.tiff": (encoded(images[0].convert("LAB"), "TIFF"), EITHER),
        "postscript.png": (encoded(images[0], "EPS"), BAD),
        "zero.jpg": (b"", BAD),
        "zero.gif": (b"", BAD),
        "text.jpg": (b"not an image\n" * 100, BAD),
        "page.png": (b"<!DOCTYPE html><html><body>404</body></html>", BAD),
        "vector.webp": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', BAD),
        "zip.jpg": (b"PK\3\4" + random.bytes(200), BAD),
        "noise.jpg": (random.bytes(5000), BAD),
    }
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        animated = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        found[f"animated.{kind.lower()}"] = animated, GOOD
        found[f"animated-cut.{kind.lower()}"] = animated[: len(animated) // 2], EITHER
    huge = b"Exif\0\0II*\0\x08\0\0\0" + b"\x01\0\x0f\x01\x02\0\xf0\xff\0\0\x1a\0\0\0\0\0\0\0"
    for number, block in enumerate([huge + b"a" * 65000, exif.tobytes()[:-9], b"Exif\0\0nothing of the kind"]):
        found[f"exif{number}.jpg"] = encoded(images[0], "JPEG", exif=block), GOOD
    for number in range(10):
        block = bytearray(exif.tobytes())
        for place in random.integers(6, len(block), 3):
            block[place] = random.integers(256)
        found[f"exif-mutated{number}.jpg"] = encoded(images[0], "JPEG", exif=bytes(block)), GOOD
    good = whole["jpg"], GOOD
    found |= {"a new\nline.jpg": good, "quotes \"'`.jpg": good, "ümläut.jpg": good, "x" * 240 + ".jpg": good}
    return {os.fsencode(name): entry for name, entry in found.items()} | {b"caf\xe9.jpg": (whole["jpg"], BAD)}


def write_corpus(folder: Path) -> dict[str, str]:
    """Write the corpus, and what is no file at all; what must become of each key, as failures spell it."""
    folder.mkdir()
    root = os.fsencode(folder) + b"/"
    expected = {}
    for name, (content, kind) in corpus().items():
        with open(root + name, "wb") as file:
            file.write(content)
        expected[name.decode("utf-8", "backslashreplace")] = kind
    (folder / "folder.jpg").mkdir()
    (folder / "folder.jpg" / "inside.png").write_bytes(encoded(Image.new("RGB", (9, 9)), "PNG"))
    (folder / "dangling.png").symlink_to("nowhere.png")
    (folder / "circle.jpg").symlink_to("circle.jpg")
    (folder / "endless.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.png")
    no_files = ("dangling.png", "circle.jpg", "endless.png", "pipe.png")
    return expected | {"folder.jpg/inside.png": GOOD} | dict.fromkeys(no_files, BAD)
