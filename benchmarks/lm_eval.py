"""lm-eval's own command with our model class known: ``python -m benchmarks.lm_eval run --model spatialvlm ...``.

For models that lm-eval does not load by itself, such as ours without their code beside the weights, and for several
processes on a CPU, which its own class lets do the same work each. Arguments, tasks and outputs are lm-eval's.

Example: accelerate launch -m benchmarks.lm_eval run --model spatialvlm --model_args pretrained=tiny
--apply_chat_template --include_path tasks --tasks spatialmosaic_bench --batch_size 8
"""

from __future__ import annotations


def main() -> None:
    """Runs lm-eval's command line after `benchmarks.spatialmosaic.model.SpatialVLM` is registered."""
    from lm_eval.__main__ import cli_evaluate

    import benchmarks.spatialmosaic.model  # noqa: F401  registers the class

    cli_evaluate()


if __name__ == "__main__":
    main()
