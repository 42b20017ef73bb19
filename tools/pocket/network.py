"""The pocket model in plain torch: a Qwen3 decoder made for packed rows on a CPU.

Weights live in a dictionary of few, stacked tensors, so that the optimiser works on whole
families of matrices at once; `to_transformers` gives them the names that Transformers expects.
A row holds several documents. The position of a token in its document says everything about the
packing: 0 starts a new document, which sees nothing of the ones before it.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from tokenizers import Tokenizer

VOCABULARY = 3072
HIDDEN = 256
LAYERS = 6
HEADS = 4
HEAD_SIZE = 64
MLP = 640
CONTEXT = 1024
ROPE_THETA = 10_000.0
EPSILON = 1e-6

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (PAD, START, END)

CHAT_TEMPLATE = """\
{%- for message in messages %}
{%- if message.role not in ['system', 'user', 'assistant'] %}
{{- raise_exception("Unknown role '" + message.role + "': use system, user or assistant.") }}
{%- endif %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

Weights = dict[str, torch.Tensor]


def initial_weights(seed: int) -> Weights:
    """Fresh float32 weights.

    - `square` [layer, 4, HIDDEN, HIDDEN]: query, key, value and output, each [out, in];
    - `wide` [layer, 3, MLP, HIDDEN]: gate and up, [out, in], and down, [in, out];
    - `norm` [layer, 2, HIDDEN], `head_norm` [layer, 2, HEAD_SIZE], `last_norm` [HIDDEN];
    - `embedding` [VOCABULARY, HIDDEN], also the output layer.

    What writes to the residual stream starts at zero, so every block starts as the identity.
    """
    generator = torch.Generator().manual_seed(seed)
    square = torch.randn(LAYERS, 4, HIDDEN, HIDDEN, generator=generator) * HIDDEN**-0.5
    wide = torch.randn(LAYERS, 3, MLP, HIDDEN, generator=generator) * HIDDEN**-0.5
    square[:, 3] = 0
    wide[:, 2] = 0
    return {
        "square": square,
        "wide": wide,
        "norm": torch.ones(LAYERS, 2, HIDDEN),
        "head_norm": torch.ones(LAYERS, 2, HEAD_SIZE),
        "last_norm": torch.ones(HIDDEN),
        "embedding": torch.randn(VOCABULARY, HIDDEN, generator=generator) * 0.02,
    }


def _rms_norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    wide = x.float()
    scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPSILON)
    return (wide * scale).to(x.dtype) * weight


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def _attention(
    x: torch.Tensor, square: torch.Tensor, head_norm: torch.Tensor, angles, visible: torch.Tensor
) -> torch.Tensor:
    rows, length, _ = x.shape
    qkv = F.linear(x, square[:3].reshape(3 * HIDDEN, HIDDEN))
    q, k, v = qkv.view(rows, length, 3, HEADS, HEAD_SIZE).permute(2, 0, 3, 1, 4)
    q = _rotate(_rms_norm(q, head_norm[0]), *angles)
    k = _rotate(_rms_norm(k, head_norm[1]), *angles)
    scores = (q * HEAD_SIZE**-0.5) @ k.transpose(-1, -2)
    attention = scores.float().masked_fill(~visible, -torch.inf).softmax(-1).to(x.dtype)
    mixed = (attention @ v).transpose(1, 2).reshape(rows, length, HIDDEN)
    return F.linear(mixed, square[3])


def _mlp(x: torch.Tensor, wide: torch.Tensor) -> torch.Tensor:
    gate, up = F.linear(x, wide[:2].reshape(2 * MLP, HIDDEN)).chunk(2, dim=-1)
    return (F.silu(gate) * up) @ wide[2]


def logits(weights: Weights, embedded: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Scores of the next token, [rows, length, VOCABULARY], in the dtype of the weights.

    `embedded` [rows, length, HIDDEN] are the embeddings of the tokens, `positions` [rows, length]
    the place of each token in its own document.
    """
    x = embedded
    frequencies = ROPE_THETA ** (-torch.arange(0, HEAD_SIZE, 2).float() / HEAD_SIZE)
    angle = positions[:, None, :, None] * frequencies
    angles = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    document = (positions == 0).cumsum(1)
    causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
    visible = (causal & (document[:, :, None] == document[:, None, :]))[:, None]
    for layer in range(LAYERS):
        norm = weights["norm"][layer]
        square, head_norm = weights["square"][layer], weights["head_norm"][layer]
        x = x + _attention(_rms_norm(x, norm[0]), square, head_norm, angles, visible)
        x = x + _mlp(_rms_norm(x, norm[1]), weights["wide"][layer])
    return F.linear(_rms_norm(x, weights["last_norm"]), weights["embedding"])


def targets(tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """The token to predict at each place, [rows, length]; -100 at a document's last token."""
    following = tokens[:, 1:].masked_fill(positions[:, 1:] == 0, -100)
    return F.pad(following, (0, 1), value=-100)


def loss_sum(
    weights: Weights, embedded: torch.Tensor, positions: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Summed cross-entropy, in nats, over the places whose target is not -100."""
    scores = logits(weights, embedded, positions).float()
    return F.cross_entropy(
        scores.view(-1, VOCABULARY), target.view(-1), ignore_index=-100, reduction="sum"
    )


def to_transformers(weights: Weights) -> Weights:
    """The weights under the names of Qwen3ForCausalLM, in bfloat16."""
    named = {
        "model.embed_tokens.weight": weights["embedding"],
        "model.norm.weight": weights["last_norm"],
    }
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        for i, name in enumerate(("q_proj", "k_proj", "v_proj", "o_proj")):
            named[f"{prefix}.self_attn.{name}.weight"] = weights["square"][layer, i]
        for i, name in enumerate(("q_norm", "k_norm")):
            named[f"{prefix}.self_attn.{name}.weight"] = weights["head_norm"][layer, i]
        for i, name in enumerate(("gate_proj", "up_proj")):
            named[f"{prefix}.mlp.{name}.weight"] = weights["wide"][layer, i]
        named[f"{prefix}.mlp.down_proj.weight"] = weights["wide"][layer, 2].T
        for i, name in enumerate(("input_layernorm", "post_attention_layernorm")):
            named[f"{prefix}.{name}.weight"] = weights["norm"][layer, i]
    return {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in named.items()}


def model_config(tokenizer: Tokenizer) -> dict:
    """config.json. `rope_theta` stands twice: Transformers 5 reads one place, mlx-lm the other."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": HEAD_SIZE,
        "intermediate_size": MLP,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": EPSILON,
        "rope_theta": ROPE_THETA,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA},
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "use_cache": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.token_to_id(END),
        "pad_token_id": tokenizer.token_to_id(PAD),
        "dtype": "bfloat16",
    }


def export(weights: Weights, tokenizer: Tokenizer, folder: Path) -> None:
    """Write a folder that `AutoModelForCausalLM` and `AutoTokenizer` load.

    Files already there are replaced one by one, each whole; other files are left alone.
    """
    config = model_config(tokenizer)
    stops = {name: config[name] for name in ("eos_token_id", "pad_token_id")}
    tokenizer_config = {
        # A Qwen class here would replace the pre-tokenizer of tokenizer.json.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": END,
        "pad_token": PAD,
        "additional_special_tokens": [START],
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
    }
    files = {
        "config.json": _json(config),
        "generation_config.json": _json({"do_sample": False, **stops}),
        "tokenizer.json": tokenizer.to_str(pretty=True).encode() + b"\n",
        "tokenizer_config.json": _json(tokenizer_config),
        "chat_template.jinja": CHAT_TEMPLATE.encode(),
        "model.safetensors": save(to_transformers(weights), metadata={"format": "pt"}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        partial = folder / f"{name}.partial"
        partial.write_bytes(content)
        partial.replace(folder / name)


def _json(value: dict) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"
