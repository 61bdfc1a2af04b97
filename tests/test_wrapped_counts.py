"""32-bit overflow of displayed counts."""

import numpy as np
import pandas as pd
import pytest
from recbole_video.dataset_tools.raw.text_spool import TextSpool
from recbole_video.dataset_tools.raw.wrapped_counts import is_displayable, unwrap, unwrap_columns


@pytest.mark.parametrize(
    ("stored", "meant"),
    [
        # The three of the real data set, and the two of its fixture recipe (one of them positive).
        (-1889934592, 6_700_000_000),
        (-1194967296, 3_100_000_000),
        (-984901888, 11_900_000_000),
        (-1794967296, 2_500_000_000),
        (905032704, 5_200_000_000),
    ],
)
def test_known_overflows(stored, meant):
    assert np.array([meant]).astype(np.int32)[0] == stored  # what storing the count in 32 bits gives
    counts, repaired, lost = unwrap(np.array([stored]))
    assert counts.tolist() == [meant] and repaired.tolist() == [True] and lost.tolist() == [False]


def test_rounding_of_a_display():
    shown = [0, 7, 9_999, 10_000, 15_900, 999_900, 1_000_000, 81_200_000, 1_000_000_000, 6_700_000_000]
    not_shown = [-1, 10_050, 1_050_000, 1_250_050_000, 905_032_704]
    assert is_displayable(np.array(shown)).all() and not is_displayable(np.array(not_shown)).any()


def test_every_overflow_that_can_occur_has_one_repair():
    """All displayed counts from 2**31 up to where four wraps may not suffice, by brute force."""
    counts = np.arange(2_200_000_000, 16_000_000_000, 100_000_000)
    stored = counts.astype(np.int32).astype(np.int64)
    broken = ~is_displayable(stored)
    found, repaired, lost = unwrap(stored)
    assert (found[broken] == counts[broken]).all() and (repaired == broken).all() and not lost.any()
    assert broken.sum() == len(counts)


def test_what_no_overflow_explains_is_left_and_reported():
    counts, repaired, lost = unwrap(np.array([-1, 10_050, 640]))
    assert counts.tolist() == [-1, 10_050, 640]
    assert not repaired.any() and lost.tolist() == [True, True, False]


def test_columns():
    frame = pd.DataFrame({"id": list("abc"), "x": [905032704, -5, np.nan], "y": [1, 2, 3]}, index=[4, 5, 6])
    mended, report = unwrap_columns(frame, ["x", "y"])
    assert mended["x"].iloc[0] == 5.2e9 and mended["x"].isna().tolist() == [False, True, True]
    assert mended["y"].tolist() == [1, 2, 3] and frame["x"].iloc[1] == -5
    assert report.iloc[0].tolist() == [4, "x", 905032704, 5.2e9]
    assert report.iloc[1, :3].tolist() == [5, "x", -5] and np.isnan(report.iloc[1, 3]) and len(report) == 2


def test_spool_keeps_the_last_record_of_a_key():
    with TextSpool() as spool:
        spool.put(12, {"title": "第一行\n第二行"})
        spool.put("a", {"title": "one"})
        spool.put("a", {"title": "two", "n": 3})
        assert spool.get(12) == {"title": "第一行\n第二行"} and spool.get("a") == {"title": "two", "n": 3}
        assert spool.get(13) == {} and 13 not in spool and list(spool) == [12, "a"] and len(spool) == 2
