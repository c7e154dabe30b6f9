"""Reading documents: every way kubectl, editors and GitOps folders hold them, and errors that name the place."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.support import a_list

from shardwise.cli.documents import read_documents, shown
from shardwise.cli.wrong import WrongInput

ONE: dict[str, Any] = {"kind": "One"}
TWO: dict[str, Any] = {"kind": "Two"}


def kinds(*paths: Path) -> list[str]:
    return [document["kind"] for _, document in read_documents(map(str, paths))]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("kind: One", ["One"]),
        ("kind: One\n---\nkind: Two", ["One", "Two"]),
        ("---\n---\nkind: One\n---\n", ["One"]),
        ("# only a comment", []),
        ("", []),
        ('{"kind": "One"}', ["One"]),
        ('\n\t {"kind": "One"}\n', ["One"]),
        ('{"kind": "One"}\n---\n{"kind": "Two"}', ["One", "Two"]),
        ("{kind: One}", ["One"]),
        (json.dumps(a_list([ONE, TWO])), ["One", "Two"]),
        (json.dumps(a_list([a_list([ONE]), TWO])), ["One", "Two"]),
        (json.dumps({"kind": "NodeList", "items": [ONE]}), ["One"]),
        (json.dumps(a_list([])), []),
        ("kind: PriceList\nspec: {}", ["PriceList"]),
        ("kind: List\nitems: 3", ["List"]),
    ],
)
def test_documents_are_found_in_yaml_json_streams_and_lists(tmp_path: Path, content: str, found: list[str]) -> None:
    """What kubectl prints, and what people keep."""
    file = tmp_path / "file.yaml"
    file.write_text(content)
    assert kinds(file) == found


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("content", ["kind: Größe", '{"kind": "Größe"}'], ids=["yaml", "json"])
def test_the_encodings_of_other_shells_are_read(tmp_path: Path, content: str, encoding: str) -> None:
    """PowerShell's > writes UTF-16 with a mark, and Windows editors UTF-8 with one."""
    file = tmp_path / "file"
    file.write_bytes(content.encode(encoding))
    assert kinds(file) == ["Größe"]


def test_a_folder_gives_its_manifests_in_name_order(tmp_path: Path) -> None:
    """Other files, and folders inside however they are named, are passed over."""
    for name in ("b.yml", "a.json", "c.yaml"):
        (tmp_path / name).write_text(json.dumps({"kind": name}))
    (tmp_path / "README.md").write_text("# not a manifest: [")
    (tmp_path / "charts.yaml").mkdir()
    assert kinds(tmp_path) == ["a.json", "b.yml", "c.yaml"]


def test_files_are_read_in_the_order_given(tmp_path: Path) -> None:
    """Order decides who plans first."""
    one, two = tmp_path / "1.yaml", tmp_path / "2.yaml"
    one.write_text("kind: One")
    two.write_text("kind: Two")
    assert kinds(two, one) == ["Two", "One"]


def test_each_document_comes_with_its_file(tmp_path: Path) -> None:
    """So that a message can name it."""
    file = tmp_path / "file.yaml"
    file.write_text(json.dumps(a_list([ONE, TWO])))
    assert list(read_documents([str(file)])) == [(str(file), ONE), (str(file), TWO)]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: [1\nb: }", ", line 2: not YAML: did not find expected ',' or ']'"),
        (b'{"a": 1', ", line "),
        (b"a: b: c", ", line 1: not YAML: mapping values are not allowed in this context"),
        (b"\tkind: One", ", line 1: not YAML: found character that cannot start any token"),
        (b"a: *nobody", ", line 1: not YAML: found undefined alias"),
        (b"? [1]\n: 2", ", line 1: not YAML: found unhashable key"),
        (b"a: 2020-13-45", ": not YAML: month must be in 1..12"),
        (b"a: !!python/name:os.system", ", line 1: not YAML: could not determine a constructor for the tag"),
        (b"a: \xff", ": not YAML: "),
        (b"\xff\xfe\x00", ": not YAML: unacceptable character"),
        (b"a: " + b"9" * 5000, ": not YAML: Exceeds the limit"),
        (b"[" * 100_000, ": not YAML: nested more than 100 levels deep"),
        (b"- " * 100_000 + b"a", ": not YAML: nested more than 100 levels deep"),
        (b'{"a":' * 100_000, ": not YAML: nested more than 100 levels deep"),
        (b"kind: One\na: &a {b: *a}", ": not YAML: aliases make more than 10,000,000 values of it"),
        (b"kind: One\na: &a [*a]", ": not YAML: aliases make more than 10,000,000 values of it"),
        (b"&a {kind: List, items: [*a]}", ": not YAML: aliases make more than 10,000,000 values of it"),
        (b"kind: One\na: 1\na: 2", ", line 3: not YAML: `a` stands twice"),
        (b"hello", ": a Kubernetes object is needed, not `hello`"),
        (b"[1, 2]", ": a Kubernetes object is needed, not `[1, 2]`"),
        (b"kind: List\nitems: [3]", ": a Kubernetes object is needed, not `3`"),
        (b"a" * 1000, f": a Kubernetes object is needed, not `{'a' * 60}`"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(tmp_path: Path, content: bytes, problem: str) -> None:
    """One line, and no traceback, whatever the bytes."""
    file = tmp_path / "file.yaml"
    file.write_bytes(content)
    with pytest.raises(WrongInput) as caught:
        list(read_documents([str(file)]))
    (line,) = caught.value.lines
    assert line.startswith(f"{file}{problem}")
    assert "\n" not in line


def test_aliases_and_merged_keys_are_read(tmp_path: Path) -> None:
    """A key beside a merge wins over the merged value."""
    file = tmp_path / "file.yaml"
    file.write_text("kind: One\na: &a {x: 1, y: 2}\nb: *a\nd: {e: {f: &f {<<: *a, x: 3}}}\nc: {<<: *f, y: 4}")
    ((_, document),) = read_documents([str(file)])
    assert (document["b"], document["c"]) == ({"x": 1, "y": 2}, {"x": 3, "y": 4})


def test_aliases_are_counted_as_often_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardwise.cli.documents._LARGEST", 9)
    file = tmp_path / "file.yaml"
    file.write_text("kind: One\na: &a [1, 2]\nb: [*a, *a]")
    with pytest.raises(WrongInput, match="aliases make more than 9 values of it"):
        list(read_documents([str(file)]))


def test_nesting_is_counted_per_document(tmp_path: Path) -> None:
    """Many flat documents are fine; so is one that nests as deep as any real one."""
    file = tmp_path / "file.yaml"
    file.write_text("---\n".join("kind: One\na: " + "[" * 50 + "]" * 50 + "\n" for _ in range(10)))
    assert kinds(file) == ["One"] * 10


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With what the system says of it."""
    with pytest.raises(WrongInput, match="nowhere.yaml cannot be read: No such file or directory"):
        list(read_documents([str(tmp_path / "nowhere.yaml")]))


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder can be closed to us."""

    def closed(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", closed)
    with pytest.raises(WrongInput, match=f"{tmp_path} cannot be read: Permission denied"):
        list(read_documents([str(tmp_path)]))


def test_standard_input_is_said_by_its_name() -> None:
    """A dash alone reads as a slip."""
    assert shown(["a.yaml", "-"]) == "a.yaml, standard input"
