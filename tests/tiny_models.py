"""Tiny real models on disk: random weights, as transformers and open_clip save theirs."""

import json

import torch

from recbole_video.runtime import torchvision_compat

CLIP_DIM = 16
_CLIP = {
    "embed_dim": CLIP_DIM,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
_CLIP_PICTURES = {
    "mean": [0.4, 0.5, 0.6],
    "std": [0.2, 0.25, 0.3],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
_SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
_TEXT = {**_SMALL, "vocab_size": 8}
VISION_MODELS = ("dinov2", "dinov3", "vit")


def save_clip(folder, seed=0):
    """A CLIP model for open_clip."""
    torchvision_compat.apply()
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    model = open_clip.CLIP(**_CLIP)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    config = {"model_cfg": _CLIP, "preprocess_cfg": _CLIP_PICTURES}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


def save_vision_model(folder, kind, seed=0):
    """A DINOv2, DINOv3 or ViT model with its image processor for transformers."""
    torchvision_compat.apply()
    import transformers as t

    torch.manual_seed(seed)
    mean, std = [0.48, 0.45, 0.4], [0.22, 0.23, 0.24]
    if kind == "dinov2":
        model = t.Dinov2Model(t.Dinov2Config(**{**_SMALL, "mlp_ratio": 2}, image_size=28, patch_size=14))
        sizes = {"size": {"shortest_edge": 36}, "crop_size": {"height": 28, "width": 28}}
        processor = t.BitImageProcessor(**sizes, resample=3, image_mean=mean, image_std=std)
    elif kind == "dinov3":
        model = t.DINOv3ViTModel(t.DINOv3ViTConfig(**_SMALL, image_size=32, patch_size=16))
        processor = t.DINOv3ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=mean, image_std=std)
    else:
        model = t.ViTModel(t.ViTConfig(**_SMALL, image_size=32, patch_size=16))
        processor = t.ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=mean, image_std=std)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


_MARKS = {"pad_token": "<pad>", "unk_token": "<unk>", "model_max_length": 10**30}
_WORDS = {word: number for number, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", "a", "cat", "and", "two"])}


def save_other_language_model(folder, kind):
    """A RoBERTa, MPNet, T5, XLNet, BART or GPT-2 with a tokenizer of a few words that puts marks where theirs do."""
    torchvision_compat.apply()
    import transformers as t
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    torch.manual_seed(0)
    kinds = {
        "roberta": (
            t.RobertaModel,
            t.RobertaConfig(max_position_embeddings=14, pad_token_id=1, **_TEXT),
            "<s> $A </s>",
        ),
        "mpnet": (t.MPNetModel, t.MPNetConfig(max_position_embeddings=14, pad_token_id=1, **_TEXT), "<s> $A </s>"),
        "bart": (
            t.BartModel,
            t.BartConfig(vocab_size=8, d_model=16, encoder_layers=1, decoder_layers=1),
            "<s> $A </s>",
        ),
        "t5": (t.T5Model, t.T5Config(vocab_size=8, d_model=24, d_ff=32, num_layers=1, num_heads=2), "$A </s>"),
        "xlnet": (t.XLNetModel, t.XLNetConfig(vocab_size=8, d_model=24, n_layer=1, n_head=2), "$A </s> <s>"),
        "gpt2": (t.GPT2Model, t.GPT2Config(vocab_size=8, n_embd=24, n_layer=1, n_head=2), "$A"),
    }
    model, config, template = kinds[kind]
    words = Tokenizer(models.WordLevel(_WORDS, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(template, special_tokens=[("<s>", 0), ("</s>", 2)])
    marks = _MARKS if kind in ("t5", "gpt2") else {**_MARKS, "cls_token": "<s>"}
    side = "left" if kind == "xlnet" else "right"
    tokenizer = t.PreTrainedTokenizerFast(tokenizer_object=words, padding_side=side, **marks)
    tokenizer.save_pretrained(folder)
    model(config).save_pretrained(folder)
    return folder


def save_language_model(folder):
    """A BERT with a tokenizer of a few words."""
    torchvision_compat.apply()
    import transformers as t

    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "and", "two", "dogs", "##s"]
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(words))
    t.BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=12).save_pretrained(folder)
    t.BertModel(t.BertConfig(vocab_size=len(words), max_position_embeddings=12, **_SMALL)).save_pretrained(folder)
    return folder


def save_clip_of_transformers(folder, seed=0):
    """CLIP as transformers keeps it, whose vision model gives 5 vectors of 24 numbers."""
    torchvision_compat.apply()
    import transformers as t

    torch.manual_seed(seed)
    vision = {**_SMALL, "image_size": 32, "patch_size": 16}
    text = {**_SMALL, "vocab_size": 8, "bos_token_id": 0, "eos_token_id": 1}
    t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder)
    # As the published file has them: of CLIP, one number is the shorter side.
    told = {"do_resize": True, "size": 32, "do_center_crop": True, "crop_size": 32, "resample": 3}
    means = {"do_normalize": True, "image_mean": [0.48, 0.45, 0.4], "image_std": [0.26, 0.26, 0.27]}
    kind = {"feature_extractor_type": "CLIPFeatureExtractor", "image_processor_type": "CLIPImageProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps({**told, **means, **kind}))
    return folder
