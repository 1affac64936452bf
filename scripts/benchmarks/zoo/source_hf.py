"""Transformers of Hugging Face with tiny configurations and random weights.

Every entry of `MODELS` is a class and what its configuration changes.  Two layers, narrow, with
few words: the structure counts, not the size.  Needs torch and transformers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo import torch_net

TOKENS = 12
WORDS = 128

TEXT = {
    "vocab_size": WORDS, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 96, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
GQA = {**TEXT, "num_key_value_heads": 2}
EXPERTS = {**GQA, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
T5 = {"vocab_size": WORDS, "d_model": 48, "d_kv": 12, "d_ff": 96, "num_layers": 2, "num_heads": 4}
GPT2 = {
    "vocab_size": WORDS, "n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 64,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
BART = {
    "vocab_size": WORDS, "d_model": 48, "encoder_layers": 2, "decoder_layers": 2,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "decoder_start_token_id": 2,
}  # fmt: skip
WHISPER = {**BART, "num_mel_bins": 16, "max_source_positions": 20, "max_target_positions": 64}
VISION = {
    "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
    "image_size": 32, "patch_size": 8, "num_labels": 10,
}  # fmt: skip
PARTS = {
    "text_config": {**TEXT, "projection_dim": 32}, "projection_dim": 32,
    "vision_config": {**VISION, "projection_dim": 32},
}  # fmt: skip
SPEECH = {
    "vocab_size": 32, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 96, "conv_dim": (32, 32, 32), "conv_kernel": (10, 3, 3),
    "conv_stride": (5, 2, 2), "num_feat_extract_layers": 3, "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}  # fmt: skip

MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("BertModel", "ids", TEXT),
    "bert-classifier": ("BertForSequenceClassification", "ids", {**TEXT, "num_labels": 5}),
    "roberta": ("RobertaModel", "ids", TEXT),
    "electra": ("ElectraModel", "ids", {**TEXT, "embedding_size": 32}),
    "distilbert": (
        "DistilBertModel",
        "ids",
        {"vocab_size": WORDS, "dim": 48, "hidden_dim": 96, "n_heads": 4, "n_layers": 2},
    ),
    "albert": ("AlbertModel", "ids", {**TEXT, "embedding_size": 32}),
    "deberta-v2": (
        "DebertaV2Model",
        "ids",
        {**TEXT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    ),
    "mpnet": ("MPNetModel", "ids", TEXT),
    "t5-encoder": ("T5EncoderModel", "ids", T5),
    "t5": ("T5ForConditionalGeneration", "pairs", {**T5, "decoder_start_token_id": 0}),
    "bart": ("BartModel", "pairs", BART),
    "gpt2": ("GPT2LMHeadModel", "ids", GPT2),
    "opt": (
        "OPTForCausalLM",
        "ids",
        {**TEXT, "ffn_dim": 96, "word_embed_proj_dim": 48},
    ),
    "gpt-neox": ("GPTNeoXForCausalLM", "ids", TEXT),
    "llama": ("LlamaForCausalLM", "ids", GQA),
    "mistral": ("MistralForCausalLM", "ids", GQA),
    "qwen2": ("Qwen2ForCausalLM", "ids", GQA),
    "qwen3": ("Qwen3ForCausalLM", "ids", {**GQA, "head_dim": 12}),
    "phi": ("PhiForCausalLM", "ids", TEXT),
    "phi3": ("Phi3ForCausalLM", "ids", GQA),
    "gemma": ("GemmaForCausalLM", "ids", {**GQA, "head_dim": 12}),
    "gemma2": ("Gemma2ForCausalLM", "ids", {**GQA, "head_dim": 12}),
    "mixtral": (
        "MixtralForCausalLM",
        "ids",
        {**GQA, "num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "qwen2-moe": (
        "Qwen2MoeForCausalLM",
        "ids",
        {**EXPERTS, "shared_expert_intermediate_size": 64},
    ),
    "vit": ("ViTForImageClassification", "pixels", VISION),
    "deit": ("DeiTForImageClassification", "pixels", VISION),
    "dinov2": ("Dinov2Model", "pixels", VISION),
    "swin": (
        "SwinForImageClassification",
        "pixels",
        {"embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4,
         "image_size": 32, "patch_size": 4, "num_labels": 10},
    ),
    "segformer": (
        "SegformerForSemanticSegmentation",
        "pixels",
        {"hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 1, 1], "decoder_hidden_size": 32,
         "num_attention_heads": [1, 2, 4, 4], "num_labels": 5},
    ),
    "convnext": (
        "ConvNextForImageClassification",
        "pixels",
        {"hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 1, 1], "num_labels": 10},
    ),
    "mobilevit": (
        "MobileViTForImageClassification",
        "pixels",
        {"image_size": 64, "num_labels": 10},
    ),
    "detr": (
        "DetrForObjectDetection",
        "pixels64",
        {"d_model": 48, "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 64,
         "decoder_ffn_dim": 64, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
         "num_queries": 8, "num_labels": 5},
    ),
    "clip": ("CLIPModel", "both", PARTS),
    "clip-text": ("CLIPTextModelWithProjection", "ids", {**TEXT, "projection_dim": 32}),
    "clip-vision": ("CLIPVisionModelWithProjection", "pixels", {**VISION, "projection_dim": 32}),
    "whisper-encoder": ("WhisperEncoder", "mel", WHISPER),
    "whisper": ("WhisperModel", "mel and ids", WHISPER),
    "wav2vec2": ("Wav2Vec2ForCTC", "wave", SPEECH),
    "hubert": ("HubertModel", "wave", SPEECH),
    "speech-transformer": (
        "Speech2TextEncoder",
        "features",
        {**BART, "input_feat_per_channel": 16, "input_channels": 1, "conv_channels": 32,
         "max_source_positions": 64},
    ),
}  # fmt: skip


def module(name: str, size: int) -> tuple[Any, tuple[Any, ...]]:
    """A model in evaluation mode whose arguments and results are tensors, and an example."""
    import torch

    torch_net.torchvision()  # transformers imports it where it is installed
    kind, wants, changes = MODELS[name]
    torch.manual_seed(0)
    made = _class(kind)
    plain = {"attn_implementation": "eager"}
    if "num_experts_per_tok" in changes:
        plain["experts_implementation"] = "batched_mm"
    config = made.config_class(**{**changes, **plain})
    config.use_cache = False
    config.return_dict = True
    arguments, inputs = _inputs(wants, name)
    return torch_net.perturb(_wrapped(made(config).eval(), arguments)), inputs


def _class(kind: str) -> Any:
    """A class of transformers, by name, also where the package does not show it."""
    import transformers

    if hasattr(transformers, kind):
        return getattr(transformers, kind)
    family = {"WhisperEncoder": "whisper", "Speech2TextEncoder": "speech_to_text"}[kind]
    place = f"transformers.models.{family}.modeling_{family}"
    return getattr(__import__(place, fromlist=[kind]), kind)


def _inputs(wants: str, name: str) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """The names of the arguments, and values."""
    import torch

    ids = torch.randint(3, WORDS, (1, TOKENS))
    mask = torch.ones_like(ids)
    side = 64 if wants == "pixels64" or name == "mobilevit" else 32
    pixels = torch.randn(1, 3, side, side)
    mel = torch.randn(1, 16, 40)
    return {
        "ids": (("input_ids", "attention_mask"), (ids, mask)),
        "pairs": (("input_ids", "attention_mask", "decoder_input_ids"), (ids, mask, ids.flip(1))),
        "pixels": (("pixel_values",), (pixels,)),
        "pixels64": (("pixel_values",), (pixels,)),
        "both": (("input_ids", "pixel_values", "attention_mask"), (ids, pixels, mask)),
        "mel": (("input_features",), (mel,)),
        "mel and ids": (("input_features", "decoder_input_ids"), (mel, ids)),
        "wave": (("input_values",), (torch.randn(1, 800),)),
        "features": (("input_features",), (torch.randn(1, 40, 16),)),
    }[wants]


def _wrapped(model: Any, arguments: tuple[str, ...]) -> Any:
    """A module that takes tensors in order and gives a tuple of the results that are floats."""
    import torch

    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *values: Any) -> Any:
            found = self.model(**dict(zip(arguments, values, strict=True)))
            shown = [found[key] for key in RESULTS if found.get(key) is not None]
            return tuple(shown) if len(shown) > 1 else shown[0]

    return Plain().eval()


RESULTS = (
    "logits", "logits_per_image", "text_embeds", "image_embeds", "last_hidden_state",
    "pooler_output", "pred_boxes",
)  # fmt: skip
"""What of a model's results becomes an output."""


def export(name: str, size: int, exporter: str, path: Path) -> str:
    """Write a model as ONNX; what wrote it."""
    import transformers

    model, inputs = module(name, size)
    arguments = _inputs(MODELS[name][1], name)[0]
    words = torch_net.write(model, inputs, exporter, path, input_names=list(arguments))
    return f"transformers {transformers.__version__}, {words}"
