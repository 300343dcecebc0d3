"""Pre-norm transformer blocks of CroCo v2: an encoder block, and a decoder block that looks at the other view."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.dust3r.rope import RotaryTables, rotate

Tokens = Float[Tensor, "batch tokens channels"]
Heads = Float[Tensor, "batch heads tokens head_dim"]


def eager_attention(
    module: nn.Module,
    query: Heads,
    key: Heads,
    value: Heads,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: object,
) -> tuple[Float[Tensor, "batch tokens heads head_dim"], Float[Tensor, "batch heads queries keys"]]:
    """Attention written out, for those who want the weights; the fast implementations come from transformers."""
    scores = query @ key.transpose(-2, -1) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class _MultiHead(nn.Module):
    """What self- and cross-attention share: split into heads, rotate, attend by the configured implementation."""

    is_causal = False

    def __init__(self, config: PreTrainedConfig, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads or (dim // num_heads) % 4:
            raise InputError(f"width {dim} with {num_heads} heads: expected a head size that is a multiple of 4")
        self.config = config
        self.num_heads = num_heads
        self.head_dim = dim // num_heads

    def _split(self, tokens: Tokens) -> Heads:
        return tokens.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def _attend(
        self, query: Tokens, key: Tokens, value: Tokens, rope_q: RotaryTables | None, rope_k: RotaryTables | None
    ) -> Tokens:
        q, k, v = self._split(query), self._split(key), self._split(value)
        if rope_q is not None and rope_k is not None:
            q, k = rotate(q, rope_q), rotate(k, rope_k)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        attended, _ = attend(self, q, k, v, None, scaling=self.head_dim**-0.5, dropout=0.0, is_causal=False)
        return attended.flatten(-2)


class Attention(_MultiHead):
    """Self-attention with one joint projection to queries, keys and values."""

    def __init__(self, config: PreTrainedConfig, dim: int, num_heads: int) -> None:
        super().__init__(config, dim, num_heads)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tokens, rope: RotaryTables | None) -> Tokens:
        query, key, value = self.qkv(tokens).chunk(3, dim=-1)
        return self.proj(self._attend(query, key, value, rope, rope))


class CrossAttention(_MultiHead):
    """Attention of one view's tokens to the other view's, each rotated by its own positions."""

    def __init__(self, config: PreTrainedConfig, dim: int, num_heads: int) -> None:
        super().__init__(config, dim, num_heads)
        self.projq = nn.Linear(dim, dim)
        self.projk = nn.Linear(dim, dim)
        self.projv = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(
        self,
        tokens: Tokens,
        memory: Float[Tensor, "batch memory channels"],
        rope: RotaryTables | None,
        memory_rope: RotaryTables | None,
    ) -> Tokens:
        query, key, value = self.projq(tokens), self.projk(memory), self.projv(memory)
        return self.proj(self._attend(query, key, value, rope, memory_rope))


class Mlp(nn.Module):
    """Two linear layers around an exact GELU."""

    def __init__(self, dim: int, ratio: float) -> None:
        super().__init__()
        hidden = int(dim * ratio)
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, tokens: Tokens) -> Tokens:
        return self.fc2(nn.functional.gelu(self.fc1(tokens)))


class EncoderBlock(GradientCheckpointingLayer):
    """Self-attention and MLP, each on normalised tokens and added to them."""

    def __init__(
        self, config: PreTrainedConfig, dim: int, num_heads: int, mlp_ratio: float = 4.0, eps: float = 1e-6
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(config, dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, mlp_ratio)

    def forward(self, tokens: Tokens, rope: RotaryTables | None) -> Tokens:
        tokens = tokens + self.attn(self.norm1(tokens), rope)
        return tokens + self.mlp(self.norm2(tokens))


class DecoderBlock(GradientCheckpointingLayer):
    """An encoder block with cross-attention to the other view between self-attention and MLP."""

    def __init__(
        self, config: PreTrainedConfig, dim: int, num_heads: int, mlp_ratio: float = 4.0, eps: float = 1e-6
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(config, dim, num_heads)
        self.norm_y = nn.LayerNorm(dim, eps=eps)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.cross_attn = CrossAttention(config, dim, num_heads)
        self.norm3 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, mlp_ratio)

    def forward(
        self,
        tokens: Tokens,
        memory: Float[Tensor, "batch memory channels"],
        rope: RotaryTables | None,
        memory_rope: RotaryTables | None,
    ) -> Tokens:
        tokens = tokens + self.attn(self.norm1(tokens), rope)
        tokens = tokens + self.cross_attn(self.norm2(tokens), self.norm_y(memory), rope, memory_rope)
        return tokens + self.mlp(self.norm3(tokens))


def hold_as_buffers(module: nn.Module) -> None:
    """Keeps the parameters of ``module`` in the state dict only.

    Published state dicts hold a few tensors that no output depends on; as parameters they would get no gradient,
    which distributed training takes for a fault.
    """
    for owner in module.modules():
        for name, parameter in list(owner.named_parameters(recurse=False)):
            delattr(owner, name)
            owner.register_buffer(name, parameter.detach())
