"""What differs between runs: one class per task, and the table of them, which alone asks what a run's task is."""

from __future__ import annotations

from typing import Any

from recbole_video.tasks.lists import ListsTask
from recbole_video.tasks.popularity import PopularityTask
from recbole_video.tasks.recbole import RecBoleTask
from recbole_video.tasks.recommendation import RecommendationTask
from recbole_video.tasks.task import Task

TASKS: dict[str, type[Task]] = {
    "recommendation": RecommendationTask,
    "lists": ListsTask,
    "popularity": PopularityTask,
    "stock": RecBoleTask,
}


def task_of(config: Any) -> type[Task]:
    """The task of a configuration's model."""
    return TASKS[config.task]
