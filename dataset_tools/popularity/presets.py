"""Named label settings: which counts, scales and splits the papers and public scripts used.

Where a source does not say something, the preset's remark says what stands in for it here. Which items a random
draw picks depends on their order, which is not published: here it is the order of the ``.counts`` file.
"""

from __future__ import annotations

from dataclasses import dataclass

from recbole_video.dataset_tools.popularity.labels import LabelSettings
from recbole_video.dataset_tools.popularity.splits import SplitSettings

_INFORMS = ("comments", "likes", "views", "shares")


@dataclass(frozen=True)
class Preset:
    """Settings and where they come from.

    Attributes:
        data: The data sets that they are for.
        source: Paper or script.
        remark: What the source leaves open.
    """

    settings: LabelSettings
    data: str
    source: str
    remark: str = ""


PRESETS: dict[str, Preset] = {
    "mmra": Preset(
        LabelSettings(
            ("comments",), "log2", split=SplitSettings("two_stage", (0.8, 0.1, 0.1), (9, 18), drawn_first="test")
        ),
        "MicroLens",
        "MMRA's code (ICDM-UESTC/MMRA): log2 of the number of comments, which must be above 0; 80/20 at random with "
        "seed 9, the 20 % halved with seed 18, the first half for test.",
    ),
    "stap-microlens": Preset(
        LabelSettings(("views",), "log2_1p", split=SplitSettings("random", (0.7, 0.1, 0.2))),
        "MicroLens",
        "STAP's paper: cumulative views, 7:1:2.",
        "The paper names neither the logarithm nor a seed; its errors can only be on a log scale.",
    ),
    "stap-microlens-scripts": Preset(
        LabelSettings(("comments",), "log2_1p", split=SplitSettings("two_stage", (0.7, 0.1, 0.2), (42, 42))),
        "MicroLens",
        "Public scripts with STAP's settings: log2(comments + 1), counted in the comment file; 70/30 at random, then "
        "1/3 for valid and 2/3 for test, seed 42.",
    ),
    "garr": Preset(
        LabelSettings(("interactions",), "log2", "minmax", top=10.0, cap=9.99),
        "MicroLens",
        "GARR (CaelumTang/GARR): log2 of the number of interactions, min-max to 0..10, capped at 9.99.",
        "Its split is not established: 8:1:1 at random with seed 42 here, and the range fitted on train.",
    ),
    "stap-smpd": Preset(
        LabelSettings(("score",), split=SplitSettings("temporal", (0.8, 0.1, 0.1))),
        "SMPD-Video",
        "STAP's paper: the official score as given, 4,000 labelled posts, 8:1:1; public scripts sort by post time and "
        "cut 3,200/400/400.",
    ),
    "informs": Preset(
        LabelSettings(_INFORMS, "log1p", "minmax", split=SplitSettings("official")),
        "Informs",
        "STAP's composite (mean of four log1p counts, each min-max scaled) on the official split, the range fitted on "
        "train only.",
        "A count of valid or test beyond the range of train gives a label outside 0..1.",
    ),
    "stap-informs": Preset(
        LabelSettings(_INFORMS, "log1p", "minmax", fitted_on="all", split=SplitSettings("official")),
        "Informs",
        "Public scripts with STAP's settings: the same, with each range fitted on train, valid and test together.",
        "Faithful to the scripts; the range of the test labels leaks into training.",
    ),
}
