"""RecBole's own models from the same script: what ``recbole.quick_start`` does, without its Ray."""

from __future__ import annotations

import logging
from typing import Any

from recbole.data import create_dataset, data_preparation
from recbole.utils import get_trainer, init_seed, set_color

from recbole_video.config import Config
from recbole_video.errors import ConfigError
from recbole_video.logs import FILE_ONLY, run_logging


def run_stock_model(config: Config, saved: bool = True) -> dict[str, Any]:
    """Train and test one of RecBole's models with RecBole's data, trainer and evaluation.

    Returns:
        ``best_valid_score``, ``valid_score_bigger``, ``best_valid_result`` and ``test_result``.

    Raises:
        ConfigError: If RecBole refuses the options.
    """
    with run_logging(config, None):
        logger = logging.getLogger()
        logger.info(config, extra=FILE_ONLY)
        init_seed(config["seed"], config["reproducibility"])
        try:
            dataset = create_dataset(config)
            logger.info(dataset)
            train_data, valid_data, test_data = data_preparation(config, dataset)
            init_seed(config["seed"], config["reproducibility"])
            model = config.model_class(config, train_data._dataset).to(config["device"])
        except ValueError as error:
            raise ConfigError(f"RecBole's {config['model']} cannot run on `{config['dataset']}`: {error}") from error
        logger.info(model, extra=FILE_ONLY)
        trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
        best_valid_score, best_valid_result = trainer.fit(
            train_data, valid_data, saved=saved, show_progress=config["show_progress"]
        )
        test_result = trainer.evaluate(test_data, load_best_model=saved, show_progress=config["show_progress"])
        logger.info(set_color("best valid ", "yellow") + f": {best_valid_result}")
        logger.info(set_color("test result", "yellow") + f": {test_result}")
    return {
        "best_valid_score": best_valid_score,
        "valid_score_bigger": config["valid_metric_bigger"],
        "best_valid_result": best_valid_result,
        "test_result": test_result,
    }
