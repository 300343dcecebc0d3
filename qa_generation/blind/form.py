"""What the form of the options alone gives away, before any word is weighed."""

from __future__ import annotations

from collections.abc import Sequence

from qa_generation.blind.reading import OptionText

# probability of an option that its form rules out; not 0, since rules have exceptions
RULED_OUT = 0.002


def form_prior(options: Sequence[OptionText]) -> list[float]:
    """Probability of every option by its form.

    Published relation options are the true phrase, its opposite, and a false phrase of each other axis: the one pair of
    opposites shows which axis is asked, and one half is a guesser's share by design. All other options are equal.
    """
    claims = [option.claims for option in options]
    if claims and all(len(claim) == 1 for claim in claims):
        stated = {claim[0] for claim in claims}
        opposed = [-claim[0] in stated for claim in claims]
        if any(opposed) and not all(opposed):
            rest = RULED_OUT * (len(options) - sum(opposed))
            return [(1.0 - rest) / sum(opposed) if possible else RULED_OUT for possible in opposed]
    return [1.0 / len(options)] * len(options)
