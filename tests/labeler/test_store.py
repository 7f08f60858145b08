"""Claims about walking a store: the order, the names, and what is not a readable file."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labeler import store as store_module
from labeler.errors import DecodeError, StoreError
from labeler.store import Block, Entry, Gap, check_store, decode_path, encode_path, read, scan, scan_blocks, walk
from tests.labeler.pictures import save, scene

NAMES = st.binary(min_size=1, max_size=40).filter(lambda raw: b"/" not in raw and b"\0" not in raw).map(os.fsdecode)
PNG = save(scene(), "PNG")
LIMIT = 10**9


def paths(folder: Path) -> list[str]:
    """Return the paths of a store in the order of the walk."""
    return [entry.path for entry in walk(folder)]


def touch(folder: Path, *names: str) -> None:
    """Make files, and the folders above them, that are images by their names."""
    for name in names:
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).write_bytes(PNG)


@given(NAMES)
@example("a\\b")
@example("\\x41")
@example("\\\\xe9")
@example("\udce9\\xe9")
@example("é\n\"'><script>")
def test_every_file_name_survives_the_table(name: str) -> None:
    path = encode_path(name)
    assert path.encode("utf-8").decode("utf-8") == path
    assert decode_path(path) == name


@given(NAMES, NAMES)
def test_different_names_stay_different(one: str, other: str) -> None:
    assert (encode_path(one) == encode_path(other)) == (one == other)


@given(st.text(st.characters(exclude_characters="\\/\0", exclude_categories=["Cs"]), min_size=1))
def test_a_name_in_utf_8_without_backslash_stays_as_it_is(name: str) -> None:
    assert encode_path(name) == name


def test_the_walk_is_sorted_by_the_whole_path(tmp_path: Path) -> None:
    touch(tmp_path, "a/z.jpg", "a/b/c.jpg", "a.jpg", "a-b.jpg", "a0.jpg", "B.jpg", "é.jpg", "a/ä.jpg", "A/x.jpg")
    found = paths(tmp_path)
    assert found == sorted(found, key=str.encode)
    assert found.index("a-b.jpg") < found.index("a.jpg") < found.index("a/b/c.jpg") < found.index("a0.jpg")


@given(tree=st.sets(st.lists(st.sampled_from(["a", "a-", "a.jpg", "a0", "b", "é"]), min_size=1, max_size=3).map(tuple)))
def test_any_tree_is_walked_in_sorted_order(
    tree: set[tuple[str, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    for parts in tree:
        touch(folder, "/".join([*(f"{part}.d" for part in parts[:-1]), f"{parts[-1]}.png"]))
    found = paths(folder)
    assert found == sorted(found, key=str.encode)
    assert len(found) == len(tree)


HOSTILE = [
    b"with space.jpg",
    b"new\nline.jpg",
    b"quote\"'.jpg",
    b"><script>alert(1)<.jpg",
    b"caf\xe9.jpg",
    b"\xff\xfe.jpg",
    b"back\\slash.jpg",
    b"\\xe9.jpg",
    b"tab\t\x1b[31m.jpg",
    b"-rf.jpg",
    "日本語 ü.jpg".encode(),
    b"*?.jpg",
]


def test_a_hostile_name_is_listed_and_can_be_read(tmp_path: Path) -> None:
    for name in HOSTILE:
        Path(tmp_path, os.fsdecode(name)).write_bytes(PNG)
    entries = list(walk(tmp_path))
    assert sorted(os.fsencode(decode_path(entry.path)) for entry in entries) == sorted(HOSTILE)
    assert all(read(tmp_path, entry, LIMIT) == PNG for entry in entries)
    assert [entry.path.encode() for entry in entries] == sorted(entry.path.encode() for entry in entries)


def test_a_hostile_folder_name_is_walked(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/sp ace\xff\\"))
    folder.mkdir()
    (folder / "a.jpg").write_bytes(PNG)
    (entry,) = walk(tmp_path)
    assert entry.path == "sp ace\\xff\\\\/a.jpg"
    assert read(tmp_path, entry, LIMIT) == PNG


def test_an_image_is_told_by_its_ending_or_by_its_content(tmp_path: Path) -> None:
    contents = {
        "text.txt": b"hello",
        "text.jpg": b"hello",
        "empty.png": b"",
        "empty": b"",
        "picture.txt": PNG,
        "picture": PNG,
        "UPPER.JPG": PNG,
        "BMW cars.txt": b"BMW, Audi and other makers of cars, a list",
        ".hidden.jpg": PNG,
        "._companion.jpg": b"macOS keeps its own things here",
        "labels.parquet": b"PAR1" + bytes(40),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    expected = [".hidden.jpg", "UPPER.JPG", "empty.png", "picture", "picture.txt", "text.jpg"]
    assert paths(tmp_path) == expected


def test_an_entry_holds_size_and_time_as_the_file_system_states_them(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    os.utime(tmp_path / "a.png", ns=(1, 1_700_000_000_123_456_789))
    assert list(walk(tmp_path)) == [Entry("a.png", len(PNG), 1_700_000_000_123_456_789)]


def test_links_are_followed_but_never_back_up(tmp_path: Path) -> None:
    touch(tmp_path, "store/a/1.png", "elsewhere/2.png")
    (tmp_path / "store/link.png").symlink_to(tmp_path / "elsewhere/2.png")
    (tmp_path / "store/other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "store/a/loop").symlink_to(tmp_path / "store")
    (tmp_path / "store/a/self").symlink_to(".")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "store")
    assert paths(tmp_path / "store") == ["a/1.png", "link.png", "other/2.png"]


def test_a_link_to_itself_or_to_nothing_is_a_row_if_it_is_called_an_image(tmp_path: Path) -> None:
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "gone").symlink_to("nowhere")
    entries = list(walk(tmp_path))
    assert [entry.path for entry in entries] == ["gone.jpg", "self.jpg"]
    for entry in entries:
        with pytest.raises(DecodeError, match="cannot be opened") as caught:
            read(tmp_path, entry, LIMIT)
        assert caught.value.status == "unreadable"


@pytest.fixture
def listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the name of a socket in the store."""
    monkeypatch.chdir(tmp_path)  # a socket's address may hold only 108 bytes
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket.jpg")
    yield "socket.jpg"
    server.close()


def test_a_pipe_a_socket_and_a_device_are_never_opened(tmp_path: Path, listening: str) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    entries = list(walk(tmp_path))
    assert [entry.path for entry in entries] == ["pipe.jpg", listening, "zero.jpg"]
    for entry in entries:
        with pytest.raises(DecodeError, match="not a regular file"):
            read(tmp_path, entry, LIMIT)


def test_a_pipe_that_took_a_files_place_cannot_block(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (entry,) = walk(tmp_path)
    (tmp_path / "a.jpg").unlink()
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(DecodeError, match="not a regular file") as caught:
        read(tmp_path, entry, LIMIT)
    assert caught.value.status == "unreadable"


def test_a_folder_called_like_an_image_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "album.jpg/1.png")
    assert paths(tmp_path) == ["album.jpg/1.png"]


def test_a_file_that_vanished_is_unreadable(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (entry,) = walk(tmp_path)
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(DecodeError, match="cannot be read") as caught:
        read(tmp_path, entry, LIMIT)
    assert caught.value.status == "unreadable"


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (entry,) = walk(tmp_path)
    assert read(tmp_path, entry, len(PNG)) == PNG
    with pytest.raises(DecodeError, match="more than the limit") as caught:
        read(tmp_path, entry, len(PNG) - 1)
    assert caught.value.status == "too_large"


def test_a_file_that_may_not_be_read_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.jpg", "no suffix")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    (entry,) = walk(tmp_path)
    with pytest.raises(DecodeError, match="Permission denied") as caught:
        read(tmp_path, entry, LIMIT)
    assert caught.value.status == "unreadable"


def test_a_disk_error_while_a_nameless_file_is_looked_at_does_not_end_the_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.jpg", "no suffix", "z.jpg")

    class Broken:
        def __enter__(self) -> Broken:
            return self

        def __exit__(self, *_: object) -> None: ...

        def read(self, _: int) -> bytes:
            raise OSError(5, "Input/output error")

    def broken(descriptor: int, *_: object, **__: object) -> Broken:
        os.close(descriptor)
        return Broken()

    monkeypatch.setattr(os, "fdopen", broken)
    assert paths(tmp_path) == ["a.jpg", "z.jpg"]


def test_a_folder_that_cannot_be_listed_is_told_and_the_rest_is_walked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/1.png", "b/2.png", "c/3.png")
    listing = os.scandir

    def refuse(folder: str) -> object:
        if folder.endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return listing(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    found = list(scan(tmp_path))
    assert [item.path for item in found] == ["a/1.png", "b/", "c/3.png"]
    assert found[1] == Gap("b/", "cannot be listed (Permission denied)")
    assert paths(tmp_path) == ["a/1.png", "c/3.png"]


def test_folders_that_all_link_to_each_other_are_each_followed_once(tmp_path: Path) -> None:
    count = 9
    for k in range(count):
        touch(tmp_path, f"store/{k}/p.png")
        for other in range(count):
            (tmp_path / f"store/{k}/to{other}").symlink_to(tmp_path / f"store/{other}")
    found = list(scan(tmp_path / "store"))
    names = [entry.path for entry in found]
    assert names == sorted(names, key=str.encode)
    assert sum(isinstance(entry, Entry) for entry in found) <= 2 * count
    gaps = [entry for entry in found if isinstance(entry, Gap)]
    assert len(found) <= 2 * count * (count + 1)
    assert {gap.known for gap in gaps} == {True}
    assert "is a link to a folder that another link has led to" in {gap.reason for gap in gaps}


def test_a_link_that_leads_nowhere_tonight_is_a_gap(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    (tmp_path / "mounted").symlink_to(tmp_path / "not mounted")
    found = list(scan(tmp_path))
    assert found[1] == Gap("mounted/", "cannot be looked at (No such file or directory)")


def test_a_time_that_64_bits_cannot_hold_is_kept_as_the_last_that_they_can(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "no suffix")
    for path in tmp_path.iterdir():
        os.utime(path, ns=(0, 10**19))
        if path.stat().st_mtime_ns < 2**63:
            pytest.skip("this file system has no such times")
    assert [entry.mtime_ns for entry in walk(tmp_path)] == [2**63 - 1, 2**63 - 1]


def test_files_among_folders_links_and_odd_names_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    names = ["a.jpg", "a/1.png", "a0.png", "b.JPG", "ä.jpg", "\\.png", "x/y.webp", "x.tiff", "Z.Jpg", "\udce9.jpg"]
    touch(tmp_path, *names)
    (tmp_path / "m.png").symlink_to(tmp_path / "a.jpg")
    found = paths(tmp_path)
    assert found == sorted(found, key=str.encode)
    assert len(found) == len(names) + 1
    blocks = [item for item in scan_blocks(tmp_path) if isinstance(item, Block)]
    assert {path for block in blocks for path in block.paths} < set(found)


def test_a_file_that_vanishes_during_the_walk_is_told_and_the_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    listing = store_module._listing

    def late(folder: str) -> object:
        found = listing(folder)
        (tmp_path / "b.jpg").unlink()
        return found

    monkeypatch.setattr(store_module, "_listing", late)
    entries = list(walk(tmp_path))
    assert [entry.problem for entry in entries] == ["", "cannot be opened (No such file or directory)", ""]
    assert entries[2].mtime_ns == (tmp_path / "c.jpg").stat().st_mtime_ns


def test_a_file_that_grows_while_it_is_read_is_read_to_its_end_or_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.png")
    (entry,) = walk(tmp_path)
    opened = store_module._open_regular

    def early(name: str) -> tuple[int, int]:
        descriptor, size = opened(name)
        with open(name, "ab") as file:
            file.write(bytes(100))
        return descriptor, size

    monkeypatch.setattr(store_module, "_open_regular", early)
    assert len(read(tmp_path, entry, LIMIT)) == len(PNG) + 100
    with pytest.raises(DecodeError, match="grows beyond the limit") as caught:
        read(tmp_path, entry, len(PNG) + 150)
    assert caught.value.status == "too_large"


def test_two_thousand_files_in_one_folder_are_all_found(tmp_path: Path) -> None:
    for k in range(2_000):
        (tmp_path / f"{k}.jpg").touch()
    found = paths(tmp_path)
    assert len(found) == 2_000
    assert found == sorted(found)


def test_a_folder_nested_600_deep_is_walked(tmp_path: Path) -> None:
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("a.png", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)
    entries = list(walk(tmp_path))
    # Python 3.11 cannot remove so deep a tree in one call.
    os.unlink(f"{tmp_path}/{'d/' * 600}a.png")
    for depth in range(600, 0, -1):
        os.rmdir(f"{tmp_path}/{'d/' * depth}")
    assert [entry.path for entry in entries] == ["d/" * 600 + "a.png"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("missing", "no such folder"), ("file.jpg", "is a file"), ("n" * 300, "name another folder")],
)
def test_what_is_no_folder_is_refused_with_advice(tmp_path: Path, name: str, words: str) -> None:
    touch(tmp_path, "file.jpg")
    with pytest.raises(StoreError, match=words):
        check_store(tmp_path / name)
    with pytest.raises(StoreError, match=words):
        next(walk(tmp_path / name))


def test_an_empty_store_has_no_files(tmp_path: Path) -> None:
    assert paths(tmp_path) == []
