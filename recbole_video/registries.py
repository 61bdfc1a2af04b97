"""The tables of models and encoders: names and where the classes are, which are imported when they are asked for."""

from __future__ import annotations

from typing import Any

from recbole_video.options.option import check_options_class
from recbole_video.registry import Registry


def _check_model(cls: Any, base: Any, shown: str) -> None:
    check_options_class(cls.Options, base.Options, shown)


USER_ENCODERS: Registry[Any] = Registry(
    "user encoder",
    {
        name: f"recbole_video.user_encoders.{name.lower()}:{name}"
        for name in ("SASRec", "GRU4Rec", "NextItNet", "BERT4Rec", "NARM", "FMLPRec")
    },
    bases=("recbole_video.user_encoders.base:VideoRecommender",),
    check=_check_model,
)
ITEM_ENCODERS: Registry[Any] = Registry(
    "item encoder",
    {
        "CVA": "recbole_video.item_encoders.cva:CVA",
        "PerceiverIO": "recbole_video.item_encoders.perceiver_io:PerceiverIO",
        "MLP": "recbole_video.item_encoders.mlp:MLP",
        "Pooling": "recbole_video.item_encoders.pooling:Pooling",
        "ID": "recbole_video.item_encoders.id:ID",
    },
    bases=("torch.nn:Module",),
)
CONTROLS: Registry[Any] = Registry(
    "control",
    {
        "MostPopular": "recbole_video.controls.most_popular:MostPopular",
        "RecentPopular": "recbole_video.controls.recent_popular:RecentPopular",
        "ContentKNN": "recbole_video.controls.content_knn:ContentKNN",
        "Transition": "recbole_video.controls.transition:Transition",
        "Random": "recbole_video.controls.random:Random",
    },
    bases=("recbole_video.controls.base:Control",),
    check=_check_model,
)
POPULARITY_MODELS: Registry[Any] = Registry(
    "popularity model",
    {
        "STAP": "recbole_video.popularity.stap.model:STAP",
        "CBAN": "recbole_video.popularity.cban:CBAN",
        "CLSTM": "recbole_video.popularity.clstm:CLSTM",
        "HMMVED": "recbole_video.popularity.hmmved:HMMVED",
        "MASSL": "recbole_video.popularity.massl:MASSL",
        "MQMC": "recbole_video.popularity.mqmc:MQMC",
        "TMALL": "recbole_video.popularity.tmall:TMALL",
        "MMRA": "recbole_video.popularity.mmra:MMRA",
        "ICPF": "recbole_video.popularity.icpf:ICPF",
        "Constant": "recbole_video.popularity.constant:Constant",
        "MetadataRidge": "recbole_video.popularity.ridge:MetadataRidge",
        "MetadataGBDT": "recbole_video.popularity.gbdt:MetadataGBDT",
        "SVR": "recbole_video.popularity.svr:SVR",
        "HyFea": "recbole_video.popularity.hyfea:HyFea",
        "MFTM": "recbole_video.popularity.mftm:MFTM",
        "MVP": "recbole_video.popularity.mvp:MVP",
    },
    bases=("recbole_video.popularity.base:PopularityModel",),
    check=_check_model,
)
# What stands in a model's place for lists that another program has ranked.
LISTS: Registry[Any] = Registry(
    "reader of ranked lists",
    {"Lists": "recbole_video.recommendation.lists:Lists"},
    ("recbole_video.recommendation.lists:Lists",),
)
# RecBole's own, and whatever is made from its classes.
OTHER_MODELS: Registry[Any] = Registry("model", {}, ("recbole.model.abstract_recommender:AbstractRecommender",))
MODEL_REGISTRIES = (USER_ENCODERS, CONTROLS, POPULARITY_MODELS, LISTS, OTHER_MODELS)
