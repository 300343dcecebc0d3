"""`SpatialMosaicProcessor`: chat messages with pictures in, token ids, pixel values and view counts out."""

from __future__ import annotations

from typing import Any

import torch
from transformers import BatchFeature, ProcessorMixin

# ChatML. The assistant's text and its end-of-turn token stand in the generation block: they are what training learns.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {{- '<|im_start|>' + message['role'] + '\\n' -}}
    {%- if message['role'] == 'assistant' -%}
        {%- generation -%}
            {%- if message['content'] is string -%}
                {{- message['content'] -}}
            {%- else -%}
                {%- for part in message['content'] -%}{{- part['text'] -}}{%- endfor -%}
            {%- endif -%}
            {{- '<|im_end|>' -}}
        {%- endgeneration -%}
    {%- else -%}
        {%- if message['content'] is string -%}
            {{- message['content'] -}}
        {%- else -%}
            {%- for part in message['content'] -%}
                {%- if part['type'] == 'image' -%}{{- '<image>' -}}{%- else -%}{{- part['text'] -}}{%- endif -%}
            {%- endfor -%}
        {%- endif -%}
        {{- '<|im_end|>' -}}
    {%- endif -%}
    {{- '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


class SpatialMosaicProcessor(ProcessorMixin):
    """Turns chats about several views into ``input_ids``, ``attention_mask``, ``pixel_values`` and ``num_views``.

    Each ``<image>`` of the prompt becomes ``tokens_per_image`` placeholders. ``pixel_values`` is packed,
    (total_views, 3, height, width), and ``num_views`` (batch,) counts the views of each prompt.

    Attributes:
        tokens_per_image: language tokens of one view, ``config.tokens_per_image`` of the model.
        image_token: placeholder, one special token of the tokenizer.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        tokens_per_image: int = 729,
        **kwargs: Any,
    ) -> None:
        self.tokens_per_image = tokens_per_image
        self.image_token = getattr(tokenizer, "image_token", "<image>")
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        super().__init__(image_processor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE, **kwargs)

    @property
    def model_input_names(self) -> list[str]:
        """Names of the tensors that the model takes."""
        return [*super().model_input_names, "num_views"]

    def replace_image_token(self, image_inputs: dict, image_idx: int, **kwargs: Any) -> str:
        """The placeholders of one view."""
        return self.image_token * self.tokens_per_image

    def apply_chat_template(  # type: ignore[override]
        self,
        conversation: Any,
        chat_template: str | None = None,
        *,
        sanitize_control_tokens: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """The chat as text, or as model inputs with ``tokenize=True, return_dict=True``; see `ProcessorMixin`.

        Unlike there, control tokens that somebody wrote into a message (``<image>``, end of turn) are plain text
        unless told otherwise; with ``return_assistant_tokens_mask``, for training, that is not available.
        """
        if sanitize_control_tokens is None:
            sanitize_control_tokens = kwargs.get("tokenize", False) and not kwargs.get("return_assistant_tokens_mask")
        return super().apply_chat_template(
            conversation, chat_template, sanitize_control_tokens=bool(sanitize_control_tokens), **kwargs
        )

    def __call__(self, images: Any = None, text: Any = None, **kwargs: Any) -> BatchFeature:
        """Model inputs for prompts that hold one ``<image>`` per picture.

        Args:
            images: pictures in prompt order, flat or one list per prompt; None for prompts without pictures.
            text: one prompt or a list of prompts; see `apply_chat_template` for chats.

        Raises:
            ValueError: when pictures and placeholders differ in number, or truncation would cut visual tokens.
        """
        inputs = super().__call__(images=images, text=text, **kwargs)
        if "pixel_values" in inputs and "input_ids" in inputs:
            # counted in ids, not in the text: a sanitised text may hold a harmless written <image>
            counts = [sum(token == self.image_token_id for token in row) for row in _rows(inputs["input_ids"])]
            num_views = [count // self.tokens_per_image for count in counts]
            inputs["num_views"] = torch.tensor(num_views) if torch.is_tensor(inputs["input_ids"]) else num_views
        return inputs


def _rows(input_ids: Any) -> list[list[int]]:
    rows = input_ids.tolist() if hasattr(input_ids, "tolist") else list(input_ids)
    return rows if rows and isinstance(rows[0], list) else [rows]


__all__ = ["SpatialMosaicProcessor"]
