from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream.errors import ConfigurationError
from stream.rows import BadRow, estimate, read


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_csv_rows_come_by_header_and_a_bad_one_stays_in_its_place(tmp_path: Path) -> None:
    path = write(tmp_path / "fans.csv", '\ufefftext,likes\n好看,3\na,b,c\n"两\n行",4\n'.encode())
    first, second, third = read(path)
    assert first == {"text": "好看", "likes": "3"}
    assert isinstance(second, BadRow)
    assert third == {"text": "两\n行", "likes": "4"}


def test_a_field_longer_than_csv_allows_spoils_its_own_row_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "fans.csv", b"text\n" + b"x" * 200_000 + b"\nfine\n")
    first, second = read(path)
    assert isinstance(first, BadRow)
    assert second == {"text": "fine"}


def test_jsonl_rows_that_are_no_objects_are_bad_and_the_others_go_on(tmp_path: Path) -> None:
    path = write(tmp_path / "fans.jsonl", b'{"text":"a"}\n[1]\n{oops\n{"text":"b"}\n')
    rows = list(read(path))
    assert rows[0] == {"text": "a"}
    assert isinstance(rows[1], BadRow)
    assert isinstance(rows[2], BadRow)
    assert rows[3] == {"text": "b"}
    assert estimate(path) == 4


def test_parquet_rows_keep_their_types(tmp_path: Path) -> None:
    path = tmp_path / "fans.parquet"
    pq.write_table(pa.table({"text": ["好看"], "tags": [["star", "light"]]}), path)
    assert list(read(path)) == [{"text": "好看", "tags": ["star", "light"]}]
    assert estimate(path) == 1


def test_csv_is_estimated_without_its_header(tmp_path: Path) -> None:
    assert estimate(write(tmp_path / "fans.csv", b"text\na\nb\n")) == 2


@pytest.mark.parametrize(
    ("name", "why"),
    [("fans.txt", "not one of .csv"), ("fans.parquet", "not a Parquet file"), ("no.csv", "No such")],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path, name: str, why: str) -> None:
    if not name.startswith("no"):
        write(tmp_path / name, b"something else")
    with pytest.raises(ConfigurationError, match=f"{name}: {why}"):
        list(read(tmp_path / name))
