"""Claims about what is read from a file before it is decoded."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeler.errors import DecodeError
from labeler.header import SNIFF_BYTES, read_header, sniff
from tests.labeler.pictures import HEIGHT, WIDTH, WRITERS, save, scene, tiff, with_orientation

MAGICS = [
    b"\xff\xd8\xff\xe1",
    b"\xff\xd8\xff\xc0",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF\x10\x00\x00\x00WEBPVP8X",
    b"RIFF\x10\x00\x00\x00WEBPVP8 ",
    b"II*\x00\x08\x00\x00\x00",
    b"MM\x00*\x00\x00\x00\x08",
    b"BM" + bytes(12) + b"\x28\x00\x00\x00",
    b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00",
]


@pytest.mark.parametrize("name", WRITERS)
def test_the_header_tells_format_and_size(name: str) -> None:
    header = read_header(WRITERS[name](scene()))
    assert header.format == name.split(maxsplit=1)[0]
    assert (header.width, header.height, header.orientation) == (WIDTH, HEIGHT, 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_header_tells_the_orientation(kind: str, orientation: int) -> None:
    header = read_header(with_orientation(scene(), kind, orientation))
    assert header.orientation == orientation
    assert (header.width, header.height) == ((WIDTH, HEIGHT) if orientation < 5 else (HEIGHT, WIDTH))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_by_its_decoder_so_its_header_gives_the_upright_size(orientation: int) -> None:
    header = read_header(with_orientation(scene(), "TIFF", orientation))
    assert (header.width, header.height, header.orientation) == (WIDTH, HEIGHT, 1)


def test_exif_of_nonsense_means_upright() -> None:
    content = with_orientation(scene(), "JPEG", 6)
    where = content.index(b"Exif\x00\x00") + 6
    for damaged in (b"II*\x00\xff\xff\xff\xff", b"XXXXXXXX", b"II*\x00\x00\x00\x00\x00"):
        assert read_header(content[:where] + damaged + content[where + 8 :]).orientation == 1


@given(st.binary(max_size=400))
def test_random_bytes_raise_nothing_but_a_decode_error(content: bytes) -> None:
    try:
        header = read_header(content)
    except DecodeError as error:
        assert error.status in ("corrupt", "unsupported")
    else:
        assert min(header.width, header.height) > 0


@given(st.sampled_from(MAGICS), st.binary(max_size=400))
def test_random_bytes_behind_a_true_beginning_raise_nothing_but_a_decode_error(magic: bytes, content: bytes) -> None:
    try:
        header = read_header(magic + content)
    except DecodeError as error:
        assert error.status in ("corrupt", "unsupported")
    else:
        assert min(header.width, header.height) > 0
        assert 1 <= header.orientation <= 8


@pytest.mark.parametrize("name", WRITERS)
@given(data=st.data())
def test_changed_bytes_raise_nothing_but_a_decode_error(name: str, data: st.DataObject) -> None:
    content = bytearray(WRITERS[name](scene()))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, min(len(content), 600) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_header(bytes(content))
    except DecodeError as error:
        assert error.status in ("corrupt", "unsupported")


@pytest.mark.parametrize("name", WRITERS)
def test_the_first_bytes_are_enough_to_tell_the_format(name: str) -> None:
    assert sniff(WRITERS[name](scene())[:SNIFF_BYTES]) == name.split(maxsplit=1)[0]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"GIF89a" + bytes(20), "gif"),
        (b"8BPS\x00\x01" + bytes(20), "psd"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(20), "jxl"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(20), "jpeg2000"),
        (tiff(scene(), photometric="rgb", bigtiff=True), "bigtiff"),
    ],
)
def test_a_format_that_is_not_read_is_named(content: bytes, kind: str) -> None:
    with pytest.raises(DecodeError, match=kind) as caught:
        read_header(content)
    assert caught.value.status == "unsupported"


@pytest.mark.parametrize("text", [b"BMW, Audi and other makers of cars, a list", b"BM", b"hello", b"MM", b"\xff\xd8"])
def test_a_text_is_no_picture(text: bytes) -> None:
    assert sniff(text) is None
    with pytest.raises(DecodeError) as caught:
        read_header(text)
    assert caught.value.status == "unsupported"


def test_an_empty_file_is_corrupt() -> None:
    with pytest.raises(DecodeError, match="empty") as caught:
        read_header(b"")
    assert caught.value.status == "corrupt"


def test_a_size_of_nothing_is_corrupt() -> None:
    content = bytearray(save(scene(), "PNG"))
    content[16:24] = struct.pack(">II", 0, 40)
    with pytest.raises(DecodeError, match="0 x 40") as caught:
        read_header(bytes(content))
    assert caught.value.status == "corrupt"
