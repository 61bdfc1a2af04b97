"""The Informs converter on four videos with every flaw of the real sheets, worked by hand."""

import json
import zipfile
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from recbole_video.dataset_tools.__main__ import main
from recbole_video.dataset_tools.informs import official_split
from recbole_video.dataset_tools.raw import informs_sheets

from .loading import recbole_dataset
from .recbole_features import features, tokens

openpyxl = pytest.importorskip("openpyxl", reason="needs the extra `data`")

FEATURES = (
    "identifier", "video_id", "author_id", "video_create_date", "video_description", "author_follower_count",
)  # fmt: skip
TARGETS = ("video_comment_count", "video_heart_count", "video_play_count", "video_share_count")
ONE = (1, "'7300000000000000001'", 11, 1700000000, "try this #diy @someone", 1200)
TWO = (2, "'7300000000000000002'", 11, 1700086400, None, 1200)
THREE = (3, "'7300000000000000003'", 12, 1700172800.0, "只有中文 #fyp", 0)
FOUR = (4, "'7300000000000000004'", 13, 1700259200, "ok", 55)
TRAINING = ((*ONE, 3, 50, 900, 0), (*TWO, 0, 0, 10, 0), (*THREE, 900, 120000, 5000000, 800))
LABELS = ((*FOUR, 7, 8, 9, 10),)
COUNTS = {"comments": 7, "likes": 8, "views": 9, "shares": 10}


def write_book(path, rows, columns=(*FEATURES, *TARGETS)):
    book = openpyxl.Workbook()
    for row in (columns, *rows):
        book.active.append(list(row))
    path.parent.mkdir(exist_ok=True)
    book.save(path)


def write_books(raw, training=TRAINING, testing=(FOUR,), labels=LABELS, columns=(*FEATURES, *TARGETS)):
    write_book(raw / "training.xlsx", training, columns)
    write_book(raw / "testing.xlsx", testing, FEATURES)
    if labels is not None:
        write_book(raw / "testing_set_with_labels.xlsx", labels)


def convert(root, *options, status=0):
    assert main(["informs", str(root / "raw"), f"--out={root}", *map(str, options)]) == status
    return root / "informs"


def card_of(dataset):
    return json.loads((dataset / "informs.card.json").read_text())


def texts_of(dataset):
    rows = [json.loads(line) for line in (dataset / "informs.text.jsonl").read_text().splitlines()]
    return {int(row.pop("item_id")[-2:]): row for row in rows}


def table(dataset, suffix):
    frame = pd.read_csv(dataset / f"informs.{suffix}", sep="\t", dtype={0: str})
    frame = frame.rename(columns=lambda c: c.partition(":")[0]).set_index("item_id")
    frame.index = [int(str(item)[-2:]) for item in frame.index]
    return frame


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("informs")
    write_books(root / "raw", training=(*TRAINING, (None,) * 10, (None, " ", *(None,) * 8)))
    for name in ("train_converted_mp4/7300000000000000001", "train_converted_mp4/7300000000000000002",
                 "test_converted_mp4/7300000000000000004"):  # fmt: skip
        (root / "raw" / name).parent.mkdir(exist_ok=True)
        (root / "raw" / f"{name}.mp4").touch()
    return convert(root, "--valid_share=0.33")


def test_recbole_loads_it_with_every_digit(dataset):
    data = recbole_dataset(dataset.parent, "informs")
    assert tokens(data, "item_id") == [f"730000000000000000{n}" for n in (1, 2, 3, 4)]
    assert tokens(data, "user_id") == ["11", "11", "12", "13"]
    assert data.inter_feat["timestamp"].tolist() == [0, 86_400, 172_800, 259_200]
    split = features(data, "item", "split")
    assert list(split.values()) == ["train", "train", "valid", "test"]
    assert list(features(data, "item", "author_follower_count").values()) == [1200, 1200, 0, 55]
    assert np.load(dataset / "informs.times.npy").tolist() == [1700000000, 1700086400, 1700172800, 1700259200]


def test_targets_join_on_the_identifier(dataset):
    counts = table(dataset, "counts")
    assert counts.loc[1].to_dict() == {"comments": 3, "likes": 50, "views": 900, "shares": 0}
    assert counts.loc[4].to_dict() == COUNTS
    assert not set(COUNTS) & set(table(dataset, "item"))


def test_text_and_media(dataset):
    texts = texts_of(dataset)
    assert texts[1] == {
        "title": "try this #diy @someone",
        "media": "train_converted_mp4/7300000000000000001.mp4",
    }
    assert "title" not in texts[2] and texts[3]["title"] == "只有中文 #fyp"
    assert texts[4]["media"] == "test_converted_mp4/7300000000000000004.mp4"


def test_flaws_are_counted(dataset):
    notes = card_of(dataset)["notes"]
    assert notes["blank rows"] == 2 and notes["videos without a file"] == 1
    assert notes["splits"] == {"train": 2, "valid": 1, "test": 1}


def test_missing_videos_are_left_out_on_request(dataset, tmp_path, capsys):
    options = ("--missing_videos=drop", "--valid_share=0.5", "--name=there")
    assert main(["informs", str(dataset.parent / "raw"), f"--out={tmp_path}", *options]) == 0
    kept = pd.read_csv(tmp_path / "there" / "there.item", sep="\t")
    assert [str(item)[-2:] for item in kept["item_id:token"]] == ["01", "02", "04"]
    assert kept["split:token"].tolist() == ["train", "valid", "test"]
    write_books(tmp_path / "raw")
    convert(tmp_path, "--missing_videos=drop", status=1)
    assert "holds neither `train_converted_mp4` nor `test_converted_mp4`" in capsys.readouterr().err


def test_labels_are_the_papers_composite(dataset):
    """Mean over the four targets of log1p, each min-max scaled over train, valid and test."""
    assert main(["label", "informs", f"--data_path={dataset.parent}", "--preset=stap-informs"]) == 0
    labels = pd.read_csv(dataset / "informs.stap-informs.popularity", sep="\t")
    logs = np.log1p(np.array([[3, 50, 900, 0], [0, 0, 10, 0], [900, 120000, 5000000, 800], [7, 8, 9, 10]]))
    expected = ((logs - logs.min(0)) / (logs.max(0) - logs.min(0))).mean(1)
    assert labels["label:float"].to_numpy() == pytest.approx(expected)
    assert labels["split:token"].tolist() == ["train", "train", "valid", "test"]


class TestLabels:
    def test_without_the_third_workbook(self, tmp_path):
        write_books(tmp_path / "raw", labels=None)
        dataset = convert(tmp_path)
        assert table(dataset, "counts").loc[4].isna().all() and table(dataset, "counts").loc[1].notna().all()
        assert any("the test videos have no counts" in w for w in card_of(dataset)["warnings"])

    def test_third_workbook_in_place_of_the_second(self, tmp_path):
        write_books(tmp_path / "raw")
        (tmp_path / "raw" / "testing.xlsx").unlink()
        assert table(convert(tmp_path), "counts").loc[4].to_dict() == COUNTS

    def test_a_missing_row(self, tmp_path):
        write_books(tmp_path / "raw", labels=((99, *FOUR[1:], 1, 2, 3, 4),))
        dataset = convert(tmp_path)
        assert table(dataset, "counts").loc[4].isna().all()
        assert any(
            "1 of 1 test videos have no row of labels (first: identifier 4)" in w for w in card_of(dataset)["warnings"]
        )
        assert card_of(dataset)["notes"]["rows of labels without a test video"] == 1

    def test_a_repeated_row(self, tmp_path):
        write_books(tmp_path / "raw", labels=(*LABELS, *LABELS))
        dataset = convert(tmp_path)
        assert table(dataset, "counts").loc[4].to_dict() == COUNTS
        assert card_of(dataset)["notes"]["label rows that repeat another"] == 1

    def test_rows_that_contradict_each_other(self, tmp_path):
        write_books(tmp_path / "raw", labels=(*LABELS, (*FOUR, 7, 8, 9, 11)))
        dataset = convert(tmp_path)
        assert table(dataset, "counts").loc[4].isna().all()
        assert any(
            "1 identifier has several rows of labels that differ (first: 4)" in w for w in card_of(dataset)["warnings"]
        )

    def test_counts_that_are_no_numbers(self, tmp_path):
        training = (*TRAINING[:2], (*THREE, "nan", "#N/A", None, 800))
        write_books(tmp_path / "raw", training=training)
        dataset = convert(tmp_path)
        assert table(dataset, "counts").loc[3].isna().tolist() == [True, True, True, False]
        assert card_of(dataset)["notes"]["cells of video_heart_count that are no number (taken as empty)"] == 1


class TestIds:
    @pytest.mark.parametrize("rounded", [7.3e18, 7300000000000000001, "7.30E+18", "'7.30E+18'", "7.3E18"])
    def test_rounded_ones_are_refused(self, tmp_path, capsys, rounded):
        write_books(tmp_path / "raw", training=((1, rounded, *ONE[2:], 3, 50, 900, 0),))
        convert(tmp_path, status=1)
        error = capsys.readouterr().err
        assert "training.xlsx`, row 2: the video_id" in error and "rounds such to 15 digits" in error
        assert not (tmp_path / "informs").exists()

    def test_short_numbers_are_exact(self, tmp_path):
        write_books(
            tmp_path / "raw", training=((1, 730000000000001, *ONE[2:], 1, 1, 1, 1), (2, 42.0, *ONE[2:], 1, 1, 1, 1))
        )
        items = pd.read_csv(convert(tmp_path) / "informs.item", sep="\t", dtype=str)
        assert items["item_id:token"].tolist() == ["730000000000001", "42", "7300000000000000004"]

    def test_rounded_authors_are_counted(self, tmp_path):
        write_books(tmp_path / "raw", training=((*ONE[:2], 6.8e18, *ONE[3:], 1, 1, 1, 1), (*TWO, 1, 1, 1, 1)))
        notes = card_of(convert(tmp_path))["notes"]
        assert notes["author_ids that a spreadsheet has rounded to 15 digits"] == 1


class TestSheets:
    def test_other_order_and_further_columns(self, tmp_path, dataset):
        order = (*TARGETS, "remark", *FEATURES[::-1])
        rows = [(*row[6:], "x", *row[5::-1]) for row in TRAINING]
        write_books(tmp_path / "raw", training=rows, columns=order)
        converted = convert(tmp_path, "--valid_share=0.33")
        for suffix in ("inter", "item", "counts"):
            assert (converted / f"informs.{suffix}").read_bytes() == (dataset / f"informs.{suffix}").read_bytes()
        assert card_of(converted)["notes"]["training.xlsx: columns left out"] == ["remark"]

    def test_repeated_and_incomplete_rows(self, tmp_path):
        no_date = (5, "'7300000000000000005'", 11, None, None, 1, 1, 1, 1, 1)
        again = (*ONE, 9, 9, 9, 9)
        write_books(tmp_path / "raw", training=(*TRAINING, no_date, again))
        dataset = convert(tmp_path)
        steps = {step["name"]: step["dropped"] for step in card_of(dataset)["steps"]}
        assert steps["incomplete rows"] == 1 and steps["repeated videos"] == 1
        assert table(dataset, "counts").loc[1, "comments"] == 3

    def test_a_date_cell(self, tmp_path):
        dated = (*ONE[:3], datetime(2023, 11, 14, 22, 13, 20), *ONE[4:], 3, 50, 900, 0)  # 1700000000
        write_books(tmp_path / "raw", training=(dated, *TRAINING[1:]))
        assert np.load(convert(tmp_path) / "informs.times.npy")[0] == 1700000000

    def test_errors(self, tmp_path, capsys):
        raw = tmp_path / "raw"
        write_books(raw, columns=(*FEATURES[:3], "date", *FEATURES[4:], *TARGETS))
        convert(tmp_path, status=1)
        assert (
            "training.xlsx` has no column `video_create_date`; it has identifier, video_id" in capsys.readouterr().err
        )
        write_books(raw, columns=(*FEATURES[:4], "video_id", *FEATURES[5:], *TARGETS))
        convert(tmp_path, status=1)
        assert "training.xlsx` has the column `video_id` twice" in capsys.readouterr().err
        write_books(raw, training=(), testing=())
        convert(tmp_path, status=1)
        assert "hold no video" in capsys.readouterr().err
        (raw / "training.xlsx").write_text("no workbook")
        convert(tmp_path, status=1)
        assert "training.xlsx` cannot be read as an xlsx workbook" in capsys.readouterr().err
        (raw / "training.xlsx").unlink()
        convert(tmp_path, status=1)
        assert "holds none of `training.xlsx`" in capsys.readouterr().err


class TestDamagedBooks:
    def rewrite(self, path, change):
        """The workbook with ``change(name, content)`` in place of each part; None leaves it out."""
        with zipfile.ZipFile(path) as old:
            parts = {name: change(name, old.read(name)) for name in old.namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
            for name, content in parts.items():
                if content is not None:
                    new.writestr(name, content)

    def refused(self, tmp_path, capsys):
        convert(tmp_path, status=1)
        error = capsys.readouterr().err
        assert error.startswith("DataError: `") and "training.xlsx`" in error and not (tmp_path / "informs").exists()
        return error

    @pytest.mark.parametrize("part", ["xl/worksheets/sheet1.xml", "xl/workbook.xml", "[Content_Types].xml"])
    def test_a_part_is_missing(self, tmp_path, capsys, part):
        write_books(tmp_path / "raw")
        self.rewrite(tmp_path / "raw" / "training.xlsx", lambda name, content: None if name == part else content)
        self.refused(tmp_path, capsys)

    def test_one_damaged_byte(self, tmp_path, capsys):
        write_books(tmp_path / "raw")
        path = tmp_path / "raw" / "training.xlsx"
        with zipfile.ZipFile(path) as book:
            sheet = book.getinfo("xl/worksheets/sheet1.xml")
        content = bytearray(path.read_bytes())
        content[sheet.header_offset + 30 + len(sheet.filename) + sheet.compress_size // 2] ^= 0xFF
        path.write_bytes(content)
        self.refused(tmp_path, capsys)

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
    @pytest.mark.parametrize("part", ["xl/worksheets/sheet1.xml", "xl/styles.xml"])
    def test_entities_are_not_read(self, tmp_path, capsys, part, encoding):
        """Neither a bomb of entities nor a file from elsewhere: a document type is refused before anything is built."""
        write_books(tmp_path / "raw")
        bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>'
        declared = (
            f'<?xml version="1.0" encoding="{encoding}"?><!-- {"x" * 9000} -->{bomb}<worksheet>&b;&c;</worksheet>'
        )
        self.rewrite(
            tmp_path / "raw" / "training.xlsx",
            lambda name, content: declared.encode(encoding) if name == part else content,
        )
        assert f"holds `{part}` with a document type, which no workbook has" in self.refused(tmp_path, capsys)

    def test_a_part_that_expands_without_end(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(informs_sheets, "_LARGE_PART", 1000)
        write_books(tmp_path / "raw")
        self.rewrite(
            tmp_path / "raw" / "training.xlsx",
            lambda name, content: b" " * 10**6 if name == "xl/styles.xml" else content,
        )
        assert "holds `xl/styles.xml`, which expands to 1,000,000 bytes" in self.refused(tmp_path, capsys)

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            (
                ("1", "'../x'", *ONE[2:], 1, 1, 1, 1),
                "row 2, column `video_id`: `../x` cannot be the name of a video's file",
            ),
            (("1", '"a"', *ONE[2:], 1, 1, 1, 1), 'row 2: the id `"a"` in column `video_id` cannot be a token'),
            ((*ONE[:2], "NA", *ONE[3:], 1, 1, 1, 1), "row 2: the id `NA` in column `author_id` cannot be a token"),
            ((*ONE, "1e999", 1, 1, 1), "row 2, column `video_comment_count`: `1e999` is no finite number"),
            ((*ONE, "9" * 5000, 1, 1, 1), "row 2, column `video_comment_count`"),
            (
                (*ONE[:3], 1e300, *ONE[4:], 1, 1, 1, 1),
                "row 2, column `video_create_date`: `1e+300` lies beyond the year",
            ),
            (
                (*ONE[:3], 1700000000000, *ONE[4:], 1, 1, 1, 1),
                "lies beyond the year 2200 in s (in ms it is 2023-11-14 22:13:20); it must be in Unix seconds",
            ),
        ],
    )
    def test_cells(self, tmp_path, capsys, row, message):
        write_books(tmp_path / "raw", training=(row, *TRAINING[1:]))
        assert message in self.refused(tmp_path, capsys)


@pytest.mark.parametrize(("share", "train"), [(0.2, 8), (0.25, 7), (0.0, 10)])
def test_official_split(share, train):
    split = official_split(np.array(["train"] * 10 + ["test"] * 3), share)
    assert split.tolist() == ["train"] * train + ["valid"] * (10 - train) + ["test"] * 3
