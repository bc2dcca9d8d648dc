"""Texts of a diagnosis: the verdict on a training with its rule and numbers, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hpo.analysis import formatting
from hpo.analysis.formatting import number
from hpo.analysis.training.advice import Advice
from hpo.analysis.training.answers import Threshold, Unmoved
from hpo.analysis.training.verdict import Judgement
from hpo.curves import predicates, skill
from hpo.translation.catalogue import mark, sentences, tr, trn

NAMES = {
    "healthy": mark("healthy"),
    "overfitting": mark("overfitting"),
    "plateau": mark("plateau"),
    "diverged": mark("diverged"),
    "collapsed": mark("collapsed"),
    "threshold": mark("nothing passes 0.5"),
    "metric": mark("metric does not follow"),
    "noisy": mark("noisy"),
    "none": mark("no verdict"),
}


def verdict_name(verdict: str) -> str:
    """Return the verdict in the current language."""
    return tr(NAMES[verdict])


def reason(found: Judgement) -> str:
    """Return why the verdict was reached: what was seen, with its numbers, and the rule."""
    of = found.evidence
    if isinstance(of, predicates.NonFinite):
        return _not_finite(found, of)
    if isinstance(of, predicates.Diverged):
        return _diverged(found, of)
    if isinstance(of, skill.Collapsed):
        return _collapsed(found, of)
    if isinstance(of, Threshold):
        return _threshold(found, of)
    if isinstance(of, Unmoved):
        return _unmoved(found, of)
    if isinstance(of, predicates.Overfitting):
        return _overfitting(found, of)
    if isinstance(of, predicates.Noisy):
        return _noisy(found, of)
    if isinstance(of, predicates.Plateau):
        return _plateau(found, of)
    if isinstance(of, predicates.Flat):
        return _flat(found, of)
    if isinstance(of, predicates.Improving):
        return tr(
            "{series} improves to the end: its last {n} epochs made {share} % of all it gained. None of the rules for "
            "a faulty training applies.",
            series=found.series, n=of.epochs, share=percent(of.of_gain),
        )  # fmt: skip
    if found.verdict == "healthy":
        return tr("{series} improved, and none of the rules for a faulty training applies.", series=found.series)
    if not found.series:
        return tr("No loss was written down, and no metric of which it is known whether more or less is better.")
    return trn(
        "{series} has {n} value. That is too few for a verdict: at least {least} are needed.",
        "{series} has {n} values. That is too few for a verdict: at least {least} are needed.",
        len(found.epochs), series=found.series, least=predicates.FEWEST,
    )  # fmt: skip


def percent(share: float) -> str:
    """Return a share as a number of percent, with three digits."""
    return formatting.percent(100 * share)


def _not_finite(found: Judgement, of: predicates.NonFinite) -> str:
    return tr(
        "{series} is no finite number in epoch {epoch}, and in the last epoch or in more than a tenth of all. Rule: "
        "such a loss has diverged.",
        series=found.series, epoch=found.epoch(of.at),
    )  # fmt: skip


def _diverged(found: Judgement, of: predicates.Diverged) -> str:
    start, low, end = (number(found.sign * value) for value in (of.start, of.low, of.end))
    if math.isfinite(of.lost):
        seen = tr(
            "{series} began at {start}, was {low} at its best (epoch {epoch}) and ended at {end}: it lost {lost} % of "
            "what it had gained.",
            series=found.series, start=start, low=low, epoch=found.epoch(of.low_at), end=end, lost=percent(of.lost),
        )  # fmt: skip
    else:
        seen = tr(
            "{series} began at {start} and ended at {end}, without having gained anything in between.",
            series=found.series, start=start, end=end,
        )  # fmt: skip
    rule = tr(
        "Rule: a training loss that loses {share} % of its gain, by more than its noise explains, has diverged.",
        share=percent(predicates.LOST),
    )
    return sentences([seen, rule])


def _collapsed(found: Judgement, of: skill.Collapsed) -> str:
    numbers = {"series": found.series, "value": number(of.value), "epoch": found.epoch(of.since), "n": of.epochs}
    if of.kind == "zero":
        seen = tr(
            "{series} is {value} from epoch {epoch} to the end ({n} epochs): no positive case is found.", **numbers
        )
    elif of.kind == "chance":
        seen = tr(
            "{series} is {value} on median from epoch {epoch} to the end ({n} epochs), within {tolerance} of guessing.",
            tolerance=number(skill.CHANCE_TOLERANCE), **numbers,
        )  # fmt: skip
    elif of.since == 0:
        seen = tr(
            "{series} is {value} in all {n} epochs, as if the network gave one answer whatever it is shown.", **numbers
        )
    else:
        seen = tr(
            "{series} is {value} in every epoch from {epoch} to the end ({n} epochs), having been {best} at its best: "
            "the network gives one answer whatever it is shown.",
            best=number(of.best), **numbers,
        )  # fmt: skip
    rule = tr(
        "Rule: a metric that knows nothing for a fifth of the epochs up to the end, and for {least} at least, has "
        "collapsed, unless another shows a ranking.",
        least=predicates.STUCK_EPOCHS,
    )
    return sentences([seen, rule])


def _threshold(found: Judgement, of: Threshold) -> str:
    seen = tr(
        "It ranks, but nothing passes 0.5: {ranking} went from {first} to {last}, while {series} is {value} from epoch "
        "{epoch} to the end ({n} epochs).",
        ranking=of.ranks.name, first=number(of.ranks.first), last=number(of.ranks.value), series=found.series,
        value=number(of.collapsed.value), epoch=found.epoch(of.collapsed.since), n=of.collapsed.epochs,
    )  # fmt: skip
    rule = tr(
        "Rule: a metric of the ranking is {margin} above chance or has clearly risen, and only one class is predicted.",
        margin=number(skill.MARGIN),
    )
    return sentences([seen, rule])


def _unmoved(found: Judgement, of: Unmoved) -> str:
    seen = tr(
        "{loss} fell by {fall} %, and {series} does not follow: in {n} epochs it never left {low} to {high}.",
        loss=of.loss, fall=percent(of.fall), series=found.series, n=len(found.epochs), low=number(of.low),
        high=number(of.high),
    )  # fmt: skip
    rule = tr(
        "Rule: the loss falls by {share} % or more, and the metric that counts does not improve beyond its noise.",
        share=percent(predicates.RISE),
    )
    return sentences([seen, rule])


def _overfitting(found: Judgement, of: predicates.Overfitting) -> str:
    numbers = {
        "series": found.series,
        "low": number(found.sign * of.low),
        "epoch": found.epoch(of.since),
        "end": number(found.sign * of.end),
        "n": of.epochs,
    }
    if math.isfinite(of.of_gain):
        seen = tr(
            "{series} was best in epoch {epoch} ({low}) and got worse in the {n} epochs after it, to {end}: {share} % "
            "of what it had gained was lost again.",
            share=percent(of.of_gain), **numbers,
        )  # fmt: skip
    else:
        seen = tr(
            "{series} was best in epoch {epoch} ({low}) and got worse in the {n} epochs after it, to {end}.", **numbers
        )
    if of.train_then is None or of.train_end is None:
        other = tr("The training loss of these epochs is not known, so this may also be a divergence.")
    else:
        other = tr(
            "Meanwhile {train} went from {then} to {now}.",
            train=found.train, then=number(found.sign * of.train_then), now=number(found.sign * of.train_end),
        )  # fmt: skip
    rule = tr(
        "Rule: validation gets worse by more than its noise explains, and by {share} % of what it gained or of its "
        "best value, while training does not.",
        share=percent(predicates.RISE),
    )
    return sentences([seen, other, rule])


def _noisy(found: Judgement, of: predicates.Noisy) -> str:
    if math.isfinite(of.of_gain):
        seen = tr(
            "From epoch to epoch {series} jumps by {noise} (standard deviation around its trend): that is {of_gain} % "
            "of all it gained and {of_level} % of its level.",
            series=found.series, noise=number(of.noise), of_gain=percent(of.of_gain), of_level=percent(of.of_level),
        )  # fmt: skip
    else:
        seen = tr(
            "From epoch to epoch {series} jumps by {noise} (standard deviation around its trend): that is {of_level} % "
            "of its level, and it gained nothing.",
            series=found.series, noise=number(of.noise), of_level=percent(of.of_level),
        )  # fmt: skip
    rule = tr(
        "Rule: noisy from {of_gain} % of the gain and {of_level} % of the level on.",
        of_gain=percent(predicates.NOISY), of_level=percent(predicates.NOISY_LEVEL),
    )  # fmt: skip
    return sentences([seen, rule])


def _plateau(found: Judgement, of: predicates.Plateau) -> str:
    seen = tr(
        "{series} last improved by more than its noise in epoch {epoch}; the last {n} epochs made {share} % of all it "
        "gained.",
        series=found.series, epoch=found.epoch(of.since), n=of.tested, share=percent(max(of.of_gain, 0.0)),
    )  # fmt: skip
    rule = tr(
        "Rule: less than {gain} % of the gain in the last {epochs} % of the epochs.",
        gain=percent(predicates.FLAT_GAIN), epochs=percent(predicates.FLAT_EPOCHS),
    )  # fmt: skip
    return sentences([seen, rule])


def _flat(found: Judgement, of: predicates.Flat) -> str:
    numbers = {"series": found.series, "gain": number(max(of.gain, 0.0)), "noise": number(of.noise)}
    if found.verdict == "plateau":
        return tr(
            "{series} never clearly improved: it gained {gain}, with a noise of {noise}, while {train} fell. Rule: "
            "training learns, and validation stands still from the start.",
            train=found.train, **numbers,
        )  # fmt: skip
    return tr(
        "{series} has hardly moved: it gained {gain}, with a noise of {noise} and a level of {level}. A flat curve "
        "gets no verdict.",
        level=number(of.level), **numbers,
    )  # fmt: skip


# --- recommendations


def recommendation(advice: Advice) -> str:
    """Return a sentence or two, with the numbers that led to the advice."""
    values = {
        name: value if isinstance(value, str) else (formatting.percent if name in _PERCENT else number)(value, 3)
        for name, value in advice.numbers.items()
    }
    return sentences([tr(_ADVICE[advice.code], **values), _rate(advice.code, values)])


def _rate(code: str, values: Mapping[str, str]) -> str:
    """Return a sentence on the learning rate, where it is known and the advice is about it; else nothing."""
    if "rate" not in values:
        return ""
    return tr("It was trained with {parameter} {rate}.", parameter=values["parameter"], rate=values["rate"])


_PERCENT = ("share", "of_gain", "of_level")
_ADVICE = {
    "lower_rate_not_finite": mark(
        "Lower the learning rate (to a third, then a tenth) or clip gradients: {series} became no number in epoch "
        "{epoch}. If that changes nothing, look for a division by 0 or a logarithm of 0 in the loss."
    ),
    "lower_rate": mark(
        "Lower the learning rate (to a third, then a tenth) or clip gradients: {series} went from {low} in epoch "
        "{epoch} to {end}."
    ),
    "one_answer": mark(
        "Weigh the rare class higher or sample it more often, and lower the learning rate: {series} was {value} in the "
        "last {epochs} epochs."
    ),
    "one_answer_always": mark(
        "Weigh the rare class higher or sample it more often, and try a learning rate 10 times lower and one 10 times "
        "higher: {series} was {value} in all {epochs} epochs."
    ),
    "threshold": mark(
        "Give positives more weight or sample them more often, and try a higher learning rate (3 to 10 times). To use "
        "the network as it is, lower the threshold: {ranking} is {last}, and {series} at 0.5 is {value}."
    ),
    "metric": mark(
        "Look for a fault in {series} before anything else (its threshold, its inputs, how it is averaged), or for a "
        "constant answer: {loss} fell by {fall} %, and it stayed between {low} and {high}."
    ),
    "reweighted": mark(
        "Record the original loss or a metric beside {series}: a reweighted loss is scaled and hardly moves, so that "
        "nothing can be told from it."
    ),
    "learned_at_once": mark(
        "Look at the first epoch step by step, or train for fewer epochs: {metric} is {value} at the end, and {series} "
        "has hardly moved since the first epoch."
    ),
    "late": mark(
        "Nothing was found until epoch {epoch}: {share} % of the time {series} stood at {value}. A higher learning "
        "rate, a shorter warm-up or more weight on positives may end that sooner."
    ),
    "keep_either": mark(
        "Keep the weights of epoch {epoch} if {series} counts ({low} then, {end} now, {later} epochs later), those of "
        "epoch {best_epoch} if {metric} counts ({best}, its best)."
    ),
    "loss_apart": mark(
        "Keep the weights of epoch {best_epoch}, where {metric} was best ({best}). {series} has got worse since epoch "
        "{epoch}: the network is right more often, and too sure of it. Calibrate it if its probabilities are used."
    ),
    "stop_at": mark(
        "Keep the weights of epoch {epoch} and stop there: {series} was {low} then and is {end} now, {later} epochs "
        "later."
    ),
    "regularise": mark(
        "To train on with profit, regularise more (dropout, weight decay, augmentation) or use more data: {of_gain} % "
        "of what validation had gained was lost again."
    ),
    "metric_later": mark("Choose the epoch by what counts: {metric} was best in epoch {best_epoch} ({best})."),
    "steadier": mark(
        "Lower the learning rate, use a larger batch, or average the weights over steps: {series} jumps by {of_level} "
        "% of its level from epoch to epoch, and no single epoch can be trusted."
    ),
    "steadier_loss": mark(
        "Choose the epoch by {metric}, which is steadier: it was best in epoch {best_epoch} ({best}). {series} jumps "
        "by {of_level} % of its level from epoch to epoch; a lower learning rate or a larger batch calms it."
    ),
    "more_validation": mark(
        "Validate on more samples if there are any: with {samples} of them, a part of the jumps is chance."
    ),
    "stands": mark(
        "Stop after epoch {epoch}, or lower the learning rate there by a schedule: nothing improved by more than its "
        "noise later. If that level of {series} is too poor, try a higher rate from the start or a larger network."
    ),
    "not_learned": mark(
        "Check that training and validation data are alike and their labels right: {train} fell, and {series} learned "
        "nothing from it."
    ),
    "higher_rate": mark(
        "Try a learning rate 3 to 10 times higher, and check that weights are trained at all: {series} gained {gain}."
    ),
    "more_epochs": mark(
        "Train for more epochs: the last {epochs} of them still made {share} % of all that {series} gained."
    ),
    "rate_low": mark(
        "The learning rate may be low: {share} % of the gain of the training came in its last {epochs} epochs. Try 2 "
        "to 3 times the rate."
    ),
    "few": mark("{epochs} epochs are few: an overfitting may only show in more of them."),
    "longer": mark("Train for at least {least} epochs: {epochs} are too few for a verdict."),
    "not_finite": mark("Look at what made {series} no finite number in {n} of the epochs: one bad batch can do that."),
    "jumps": mark(
        "Clip gradients or look at the batches of epoch {epoch}: {series} was thrown back in {n} of the epochs, by "
        "{size} there, and recovered."
    ),
    "spike": mark(
        "{series} has a spike: {value} in step {step} of epoch {epoch}, {times} times the median of that epoch "
        "(steps that stand out there: {steps}). If it comes back, clip gradients or look at the batch."
    ),
    "spike_of": mark(
        "{series} has a spike, made by {component}: {value} in step {step} of epoch {epoch}, {times} times the "
        "median of that epoch (steps that stand out there: {steps}). If it comes back, clip gradients or bound "
        "{component}."
    ),
    "reweigh": mark(
        "{component} makes up {share} % of the weighted loss. With a weight of {balanced} instead of {weight} it would "
        "count as much as the others do on average, with {largest_weight} as much as {largest}."
    ),
    "reweigh_one": mark(
        "{component} makes up {share} % of the weighted loss. With a weight of {balanced} instead of {weight} it would "
        "count as much as {largest}."
    ),
    "weigh_one": mark(
        "{component} makes up {share} % of the components' sum; how they are weighted is not known. With {factor} "
        "times its weight it would count as much as {largest}."
    ),
    "weigh": mark(
        "{component} makes up {share} % of the components' sum; how they are weighted is not known. With {factor} "
        "times its weight it would count as much as the others do on average, with {to_largest} times as much as "
        "{largest}."
    ),
    "alone": mark(
        "{component} is all of the loss but {to_largest} of it: the other components are near 0, which no weight "
        "balances. Check that they are measured and in the right unit."
    ),
}
