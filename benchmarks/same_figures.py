"""Whether two checkouts compute the same, to the last digit: a rewrite must not change a figure.

    python benchmarks/same_figures.py record OUT.json [--checkout=FOLDER] [--only=WORD]
    python benchmarks/same_figures.py compare BEFORE.json AFTER.json

``record`` runs each case below in a process of its own with one thread, from the code in ``--checkout`` (this one by
default), and writes every float in hexadecimal. Floats depend on the machine: record both on the same one.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
SMALL = {"epochs": 2, "hidden_size": 32, "inner_size": 64, "encoder_latent_dim": 32, "encoder_depth": 2}
STAP = {"epochs": 2, "hidden_size": 16, "train_share": 0.2, "save_predictions": True}
STOCK = {"epochs": 1, "hidden_size": 32, "inner_size": 64}


def cases() -> dict[str, dict[str, Any]]:
    """Name -> model, and the options that make it small."""
    found: dict[str, dict[str, Any]] = {}
    widths = {"GRU4Rec": {"embedding_size": 32}, "NARM": {"embedding_size": 32}, "NextItNet": {"embedding_size": 32}}

    def add(name: str, model: str, encoder: str, **options: Any) -> None:
        given = {**SMALL, **widths.get(model, {}), "item_encoder": encoder, "save_per_user": True, **options}
        if encoder not in ("CVA", "PerceiverIO"):
            given = {k: v for k, v in given.items() if not k.startswith("encoder_")}
        if encoder == "Pooling":
            given.pop("hidden_size")
        if model == "NextItNet":
            given = {k: v for k, v in given.items() if k not in ("hidden_size", "inner_size")}
        elif model in ("GRU4Rec", "NARM"):
            given.pop("inner_size")
        found[name] = {"model": model, "options": given}

    for encoder in ("CVA", "PerceiverIO", "MLP", "Pooling", "ID"):
        add(f"SASRec-{encoder}", "SASRec", encoder)
    for model in ("GRU4Rec", "NextItNet", "BERT4Rec", "NARM", "FMLPRec"):
        add(f"{model}-MLP", model, "MLP")
    for model in ("SASRec", "GRU4Rec", "NextItNet", "BERT4Rec", "NARM", "FMLPRec"):
        for loss in ("CE", "BPR"):
            add(f"{model}-MLP-{loss}", model, "MLP", loss_type=loss, epochs=1)
    for fusion in ("sum", "gate"):
        add(f"SASRec-CVA-{fusion}", "SASRec", "CVA", id_fusion=fusion)
    add("SASRec-ID-ml-100k", "SASRec", "ID", dataset="ml-100k", epochs=1)
    add("SASRec-CVA-ml-100k-recbole", "SASRec", "CVA", dataset="ml-100k", epochs=1, protocol="recbole")
    for name, options in {"paper": {}, "pool": {"dppo_pairs": "pool"}, "ema": {"memory_update": "both"}}.items():
        found[f"STAP-{name}"] = {"model": "STAP", "options": {**STAP, **options}}
    found["STAP-official"] = {
        "model": "STAP",
        "options": {**STAP, "variant": "official", "hidden_size": 24, "epochs": 1},
    }
    for control in ("Constant", "MetadataRidge", "MetadataGBDT"):
        found[control] = {"model": control, "options": {"save_predictions": True}}
    for model in ("Pop", "BPR", "recbole:SASRec"):
        options = STOCK if model == "recbole:SASRec" else {"epochs": 1}
        found[f"stock-{model}"] = {"model": model, "options": options}
    return found


def record(out: Path, checkout: Path, only: str) -> None:
    """Run the cases of whose name ``only`` is a part, and write what they gave; others in ``out`` stay."""
    figures: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")) if out.is_file() and only else {}
    with tempfile.TemporaryDirectory() as folder:
        for name, case in tqdm([c for c in cases().items() if only in c[0]], ncols=100):
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout)}
            words = [sys.executable, str(Path(__file__).resolve()), "one", json.dumps(case)]
            done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            last = done.stdout.strip().splitlines()[-1:] or [""]
            figures[name] = json.loads(last[0]) if done.returncode == 0 else {"failed": done.stderr[-2000:]}
    out.write_text(json.dumps(figures, indent=1), encoding="utf-8")


def run_one(case: dict[str, Any]) -> dict[str, Any]:
    """What one run gives: its curve and results, its weights and its rows of predictions."""
    import torch

    from recbole_video import run_recbole_video

    torch.set_num_threads(1)
    options = {"use_gpu": False, "show_progress": False, **case["options"]}
    result = run_recbole_video(case["model"], options.pop("dataset", None), config_dict=options)
    folder = Path(result["run_folder"])
    written = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    kept = ("best_valid_score", "best_valid_result", "test_result", "groups", "best_epoch", "parameters", "history")
    figures = {key: _hex(written.get(key)) for key in kept}
    figures["weights"] = _weights(folder / "model.pth")
    for name in ("per_user.tsv", "predictions.tsv", "slots.tsv"):
        path = folder / name
        figures[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    return figures


def _weights(path: Path) -> dict[str, str]:
    import torch

    if not path.is_file():
        return {}
    state = torch.load(path, weights_only=True)
    tensors = {**state["state_dict"], "item vectors": state.get("item_vectors")}
    return {
        name: hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()[:16]
        for name, value in tensors.items()
        if isinstance(value, torch.Tensor)
    }


def _hex(value: Any, key: str = "") -> Any:
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, dict):
        return {k: _hex(v, k) for k, v in value.items() if "seconds" not in k and "memory_mb" not in k}
    return [_hex(v) for v in value] if isinstance(value, list) else value


def compare(before: Path, after: Path) -> int:
    """Print each entry that differs; 1 if there is one."""
    old, new = (json.loads(path.read_text(encoding="utf-8")) for path in (before, after))
    differing = 0
    for name in sorted(set(old) | set(new)):
        first, second = old.get(name, {}), new.get(name, {})
        keys = [key for key in sorted(set(first) | set(second)) if first.get(key) != second.get(key)]
        differing += bool(keys)
        print(f"{name:32s} {'same' if not keys else 'DIFFERS in ' + ', '.join(keys)}")
    print(f"{len(old)} cases before, {len(new)} after, {differing} differ")
    return int(differing > 0)


def main(words: list[str]) -> int:
    """See the module's text."""
    flags = dict(word[2:].split("=", 1) for word in words if word.startswith("--"))
    kind, *rest = [word for word in words if not word.startswith("--")]
    if kind == "one":
        print(json.dumps(run_one(json.loads(rest[0]))))
    elif kind == "record":
        record(Path(rest[0]).resolve(), Path(flags.get("checkout", ROOT)).resolve(), flags.get("only", ""))
    elif kind == "compare":
        return compare(Path(rest[0]), Path(rest[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
