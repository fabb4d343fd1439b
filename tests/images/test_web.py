"""Images behind a web server: names that need encoding, and servers that send whole files alone."""

import io
import re
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tobias_aug import ImageError
from tobias_aug.images import ImageFiles, open_images

pytest.importorskip("aiohttp", reason="fsspec reads the web with it")

NAMES = ["a%20b.png", "ü/50%.png", "ü/a#b.png", "ü/q?r.png", "ü/x y.png", "z+&.png"]


class Whole(SimpleHTTPRequestHandler):
    """Ignores ranges, as ``python -m http.server`` does."""

    def log_message(self, *arguments):
        pass

    def handle(self):
        try:
            super().handle()
        except ConnectionError:  # The client has heard enough.
            self.close_connection = True


class Ranges(Whole):
    """Answers requests for a range of bytes."""

    def do_GET(self):
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span is None:
            super().do_GET()
            return
        with open(self.translate_path(self.path), "rb") as file:
            data = file.read()
        start, end = int(span[1]), min(int(span[2] or len(data)), len(data) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
        self.send_header("Content-Length", str(end + 1 - start))
        self.end_headers()
        self.wfile.write(data[start : end + 1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("web")
    for number, name in enumerate(NAMES):
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((5, 6), number, np.uint8)).save(root / "images" / name, "png")
    with tarfile.open(root / "small.tar", "w") as archive, zipfile.ZipFile(root / "small.zip", "w") as packed:
        for name in NAMES:
            archive.add(root / "images" / name, name)
            packed.write(root / "images" / name, name)
    # Above the block that fsspec reads at once, with an end far from the beginning.
    noise = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (1400, 1500, 3), np.uint8)).save(noise, "png")
    with tarfile.open(root / "large.tar", "w") as archive:
        for number in range(2):
            member = tarfile.TarInfo(f"{number}.png")
            member.size = len(noise.getvalue())
            archive.addfile(member, io.BytesIO(noise.getvalue()))
    pq.write_table(pa.table({"image": [noise.getvalue()] * 2}), root / "large.parquet", compression="none")
    with zipfile.ZipFile(root / "large.zip", "w") as packed:
        packed.writestr("0.png", noise.getvalue())
        packed.writestr("1.png", noise.getvalue())
    return root


@pytest.fixture(params=[Whole, Ranges])
def server(request, folder):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(request.param, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", request.param is Ranges
        server.shutdown()


def contents(source):
    return {source.key(index): source.load(index).getpixel((0, 0))[0] for index in range(len(source))}


def test_keys_are_those_of_a_local_copy(server, folder):
    url, _ = server
    expected = contents(ImageFiles(folder / "images"))
    assert sorted(expected) == sorted(NAMES)
    assert contents(open_images(f"{url}/images")) == expected
    assert contents(open_images(f"{url}/images/")) == expected
    below = {key[2:]: value for key, value in expected.items() if key.startswith("ü/")}
    assert contents(open_images(f"{url}/images/ü")) == contents(open_images(f"{url}/images/%C3%BC")) == below


def test_lists_name_files_of_the_server(server, folder, tmp_path):
    url, _ = server
    names = ["ü/x y.png", "ü/a#b.png", "ü/q?r.png"]
    (tmp_path / "all.txt").write_text("\n".join(names))
    assert contents(open_images(tmp_path / "all.txt", root=f"{url}/images")) == dict(zip(names, (4, 2, 3), strict=True))


@pytest.mark.parametrize("name", ["small.tar", "large.tar", "large.parquet", "large.zip"])
def test_a_server_that_ignores_ranges_is_called_that(name, server):
    url, ranges = server
    if ranges:
        source = open_images(f"{url}/{name}")
        assert source.load(len(source) - 1).size[0] in (6, 1500)
        return
    with pytest.raises(
        ImageError, match=f"the server of .*{name} ignores ranges.*; download the file, or serve it from"
    ):
        open_images(f"{url}/{name}")


def test_a_signed_address_is_known_by_its_name(server):
    url, ranges = server
    if ranges:
        source = open_images(f"{url}/small.tar?signature=a/b&c=d.png", keys_by_file=True)
        assert source.key(0) == f"small.tar/{NAMES[0]}"
    cached = open_images(f"simplecache::{url}/small.tar")
    assert list(contents(cached)) == NAMES
