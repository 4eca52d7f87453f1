import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training import readers
from training.errors import DataError
from training.labels import MAPPINGS, TASKS
from training.readers import Columns, Record
from training.rows import Rows

EMOTION = TASKS["emotion"]


def read(path: Path, columns: Columns | None = None, format_: readers.Format = "table") -> list[Record]:
    return list(readers.reader(format_, path)(path, columns or Columns()))


def emotions(path: Path, records: list[Record], mapping: str) -> Rows:
    return readers.to_rows(records, path, "set", "emotion", EMOTION, MAPPINGS[mapping])


def test_weibo_senti_100k_is_read_from_its_csv(tmp_path: Path) -> None:
    path = tmp_path / "weibo_senti_100k.csv"
    path.write_text('label,review\n1,"票买到了，开心"\n0,"又下雨,烦"\n', encoding="utf-8")
    assert read(path, Columns(text="review")) == [
        Record(2, "票买到了，开心", ("1",)),
        Record(3, "又下雨,烦", ("0",)),
    ]


def test_ocemotion_is_read_with_or_without_a_header(tmp_path: Path) -> None:
    published = tmp_path / "published.csv"
    published.write_text('0\t他说"走吧\tsadness\n1\t真好\thappiness\n', encoding="utf-8")
    table = tmp_path / "table.tsv"
    table.write_text("text\tlabel\n真好\thappiness\n", encoding="utf-8")
    assert read(published, format_="ocemotion")[0] == Record(1, '他说"走吧', ("sadness",))
    assert read(table) == [Record(2, "真好", ("happiness",))]


def test_smp2020_is_read_from_its_json_array(tmp_path: Path) -> None:
    path = tmp_path / "usual_train.txt"
    path.write_text(json.dumps([{"id": 7, "content": "气死了", "label": "angry"}]), encoding="utf-8")
    assert read(path, format_="smp2020") == [Record(1, "气死了", ("angry",))]


def test_dair_emotion_is_read_by_number_and_by_name(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"text": "i feel fine", "label": 1}\n{"text": "i miss you", "label": "sadness"}\n')
    records = read(path)
    rows = readers.to_rows(records, path, "dair", "emotion-en", TASKS["emotion-en"], MAPPINGS["dair"])
    assert [TASKS["emotion-en"].labels[row.argmax()] for row in rows.targets["emotion-en"]] == [
        "joy",
        "sorrow",
    ]


def test_parquet_with_a_second_label_column_gives_two_labels(tmp_path: Path) -> None:
    path = tmp_path / "posts.parquet"
    columns = {"body": ["又气又怕", "还行"], "first": ["anger", "none"], "second": ["fear", None]}
    pq.write_table(pa.table(columns), path)
    records = read(path, Columns("body", ("first", "second")))
    assert [record.labels for record in records] == [("anger", "fear"), ("none",)]


def test_ren_cecps_sentences_carry_every_emotion_of_some_intensity_or_neutral(tmp_path: Path) -> None:
    (tmp_path / "blog").mkdir()
    (tmp_path / "blog" / "a.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?><document><paragraph>'
        '<sentence S="终于回家了"><Joy>0.6</Joy><Love>0.3</Love><Sorrow>0.0</Sorrow></sentence>'
        '<sentence S="桌上有一杯水"><Joy>0.0</Joy></sentence>'
        "</paragraph></document>",
        encoding="utf-8",
    )
    records = read(tmp_path / "blog", format_="ren-cecps")
    assert [record.labels for record in records] == [("joy", "love"), ("neutral",)]
    rows = emotions(tmp_path, records, "ren-cecps")
    assert not np.isnan(rows.targets["emotion"]).any()


def test_a_set_that_never_says_a_label_leaves_it_unknown(tmp_path: Path) -> None:
    rows = emotions(tmp_path, [Record(1, "气", ("angry",)), Record(2, "乐", ("happy",))], "smp2020")
    unknown = np.isnan(rows.targets["emotion"]).all(axis=0)
    assert {label for label, gone in zip(EMOTION.labels, unknown, strict=True) if gone} == {
        "expect",
        "hate",
        "love",
    }


def test_empty_and_repeated_texts_are_dropped(tmp_path: Path) -> None:
    records = [
        Record(1, "气", ("angry",)),
        Record(2, " ", ("sad",)),
        Record(3, "气", ("sad",)),
        Record(4, "乐", ("happy",)),
    ]
    assert emotions(tmp_path, records, "smp2020").texts == ["气", "乐"]


def test_gb18030_is_named_with_its_file_and_line_and_read_when_declared(tmp_path: Path) -> None:
    path = tmp_path / "old.csv"
    path.write_bytes("text,label\nok,0\n心情不错,1\n".encode("gb18030"))
    with pytest.raises(DataError, match=r"old\.csv, line 3: is not utf-8.*gb18030"):
        read(path)
    assert read(path, Columns(encoding="gb18030"))[1].text == "心情不错"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("empty.csv", " \n", "empty"),
        ("columns.csv", "a,b\n1,2\n", "lacks the columns text, label"),
        ("short.csv", "text,label\nonly\n", "line 2"),
        ("broken.jsonl", '{"text": "a", "label": 1}\n{"text"', "line 2: is not JSON"),
        ("field.jsonl", '{"text": "a"}\n', "line 1: lacks the field label"),
        ("posts.docx", "x", "ending '.docx'"),
        ("torn.parquet", "no parquet", "cannot be read as Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(
    tmp_path: Path, name: str, content: str, problem: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=problem) as caught:
        list(read(tmp_path / name))
    assert name in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv: no such file"):
        read(tmp_path / "gone.csv")


def test_an_unknown_label_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 9: unknown label 'bored'"):
        emotions(tmp_path / "a.csv", [Record(9, "无聊", ("bored",))], "smp2020")


def test_a_file_of_one_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one label, anger"):
        emotions(tmp_path / "a.csv", [Record(1, "气", ("angry",)), Record(2, "怒", ("angry",))], "smp2020")
