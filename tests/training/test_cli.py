import errno
from pathlib import Path

import pytest
from typer.testing import CliRunner

from training import __main__ as cli
from training import files

VERBS = CliRunner()


@pytest.mark.parametrize("verb", ["prepare", "train"])
def test_a_dry_run_tells_what_would_happen_and_does_nothing(tiny: Path, tmp_path: Path, verb: str) -> None:
    before = sorted(tmp_path.iterdir())
    result = VERBS.invoke(
        cli.app, [verb, str(tiny), "--dry-run", "--data", str(tmp_path), "--run", str(tmp_path / "run")]
    )
    assert result.exit_code == 0
    assert "would" in result.output
    assert "feelings.csv" in result.output
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("verb", "writes"),
    [
        (["evaluate"], "evaluation/test"),
        (["export"], "triton_models/tiny/1"),
    ],
)
def test_a_dry_run_names_what_it_would_write(
    tiny: Path, tmp_path: Path, verb: list[str], writes: str
) -> None:
    before = sorted(tmp_path.iterdir())
    result = VERBS.invoke(cli.app, [*verb, str(tiny), "--dry-run", "--run", str(tmp_path / "run")])
    assert result.exit_code == 0
    assert writes in result.output.replace("\n", "")
    assert sorted(tmp_path.iterdir()) == before


def test_prepare_writes_rows_and_names_the_report(tiny: Path, tmp_path: Path) -> None:
    result = VERBS.invoke(
        cli.app, ["prepare", str(tiny), "--data", str(tmp_path), "--run", str(tmp_path / "run")]
    )
    assert result.exit_code == 0
    assert (tmp_path / "run" / "data" / "test.parquet").exists()


def test_the_baseline_is_a_recipe_like_any_other(tiny: Path, tmp_path: Path) -> None:
    overrides = ["--set", "encoder.name=tfidf", "--set", "encoder.config={ngram_range = [1, 2], C = 1.0}"]
    where = ["--data", str(tmp_path), "--run", str(tmp_path / "run")]
    result = VERBS.invoke(cli.app, ["train", str(tiny), *where, *overrides])
    assert result.exit_code == 0
    assert "emotion/feelings: macro-F1" in result.output
    assert (tmp_path / "run" / "baseline.json").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["prepare", "nothing"], "no recipe nothing"),
        (["train", "dair-emotion", "--data", "nowhere"], "nowhere/dair_emotion_train.parquet"),
        (["evaluate", "dair-emotion", "--run", "nowhere"], "holds no trained model"),
    ],
)
def test_an_error_is_one_line_that_names_the_thing_at_fault(
    arguments: list[str], problem: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["training", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    assert problem in capsys.readouterr().err.replace("\n", "")


def test_a_full_disk_is_told_and_what_stood_there_stays(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["prepare", str(tiny), "--data", str(tmp_path), "--run", str(tmp_path / "run")]
    assert VERBS.invoke(cli.app, arguments).exit_code == 0
    before = (tmp_path / "run" / "data" / "train.parquet").read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "train.parquet")

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    monkeypatch.setattr("sys.argv", ["training", *arguments, "--set", "seed=3"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "disk is full" in capsys.readouterr().err
    assert (tmp_path / "run" / "data" / "train.parquet").read_bytes() == before
    assert [path.name for path in (tmp_path / "run").iterdir() if path.name.startswith(".")] == []


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    files.write_text(target, "old")

    def half() -> None:
        with files.replacing(target) as aside:
            aside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
