"""GHM-C, GHM-R and the statistics of gradient norms: numbers worked out by hand, and the paper's equations as loops."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from objectives.losses.ghm import GHMC, GHMR, gradient_statistics, histogram


def logits_of(*probabilities: float) -> Tensor:
    return torch.logit(torch.tensor(probabilities, dtype=torch.float64))


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


class Printed:
    """GHM sample by sample, as the paper has it: GD(g) = samples in the unit region of g / its length, beta = N / GD,
    loss = sum(beta l) / N; with EMA of the number in each region. Only regions that are not empty are counted."""

    def __init__(self, bins: int, momentum: float) -> None:
        self.bins, self.momentum, self.averages = bins, momentum, [0.0] * bins

    def __call__(self, norms: list[float], losses: list[float]) -> float:
        regions = [self.bins - 1 if g == 1 else math.floor(g * self.bins) for g in norms]
        numbers = [regions.count(region) for region in range(self.bins)]
        filled = sum(number > 0 for number in numbers)
        for region, number in enumerate(numbers):
            if number:
                self.averages[region] = self.momentum * self.averages[region] + (1 - self.momentum) * number
        total = 0.0
        for region, loss in zip(regions, losses, strict=True):
            gradient_density = self.averages[region] / (1 / filled)
            total += len(norms) / gradient_density * loss
        return total / len(norms)


def test_ghmc_by_hand() -> None:
    # g = 0.05, 0.08, 0.02 in the first bin of ten, 0.55 and 0.55 in the sixth: weights 5/3/2 and 5/2/2.
    loss = GHMC(bins=10)
    value = loss(logits_of(0.05, 0.08, 0.98, 0.55, 0.45), tensor(0, 0, 1, 0, 1))
    easy, hard = -math.log(0.95 * 0.92 * 0.98), -2 * math.log(0.45)
    assert value.item() == pytest.approx((5 / 6 * easy + 5 / 4 * hard) / 5, rel=1e-12)
    assert loss.weights.tolist() == pytest.approx([5 / 6, 5 / 6, 5 / 6, 5 / 4, 5 / 4])
    assert loss.gradient_norms.tolist() == pytest.approx([0.05, 0.08, 0.02, 0.55, 0.55])
    assert loss.counts.tolist() == [3, 0, 0, 0, 0, 2, 0, 0, 0, 0]


def test_ghmr_by_hand() -> None:
    # mu = 3: d = 4 gives sqrt(16 + 9) = 5, so l = 2 and g = 4 / 5; d = 0 gives 0 and 0. Weights 3/2/2 and 3/1/2.
    loss = GHMR(mu=3.0, bins=10)
    value = loss(tensor(7, -1, 2.5), tensor(3, 3, 2.5))
    assert value.item() == pytest.approx((0.75 * 2 + 0.75 * 2 + 1.5 * 0) / 3, rel=1e-12)
    assert loss.weights.tolist() == pytest.approx([0.75, 0.75, 1.5])
    assert loss.gradient_norms.tolist() == pytest.approx([0.8, 0.8, 0])
    assert loss.counts.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 2, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_first_step_at_momentum_075_is_exactly_four_times_the_plain_loss(dtype: torch.dtype) -> None:
    draws = torch.Generator().manual_seed(0)
    logits = torch.randn(100, generator=draws, dtype=dtype) * 3
    targets = (torch.rand(100, generator=draws) < 0.2).to(dtype)
    assert GHMC(10, 0.75)(logits, targets).item() == 4 * GHMC(10, 0.0)(logits, targets).item()
    assert GHMR(0.02, 10, 0.75)(logits, targets).item() == 4 * GHMR(0.02, 10, 0.0)(logits, targets).item()


def test_the_moving_average_by_hand() -> None:
    loss = GHMC(bins=2, momentum=0.75)
    low, high = logits_of(0.1).item(), logits_of(0.9).item()  # with t = 0: g in the first bin, in the second
    loss(tensor(low, low, low, high), torch.zeros(4))
    assert loss.accumulated.tolist() == [0.75, 0.25]
    # 0.75 x 0.75 + 0.25 x 2; the empty bin keeps what it had.
    value = loss(tensor(low, low), torch.zeros(2))
    assert loss.accumulated.tolist() == [1.0625, 0.25]
    assert loss.counts.tolist() == [2, 0]
    assert value.item() == pytest.approx(2 / 1.0625 / 1 * -math.log(0.9))
    # A bin that was empty in between goes on from there: 0.75 x 0.25 + 0.25 x 1.
    loss(tensor(high), torch.zeros(1))
    assert loss.accumulated.tolist() == [1.0625, 0.4375]


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.75, 0.99])
@pytest.mark.parametrize("bins", [1, 7, 10, 30])
def test_as_printed_in_the_paper(bins: int, momentum: float) -> None:
    draws = torch.Generator().manual_seed(bins)
    ours_c, ours_r = GHMC(bins, momentum), GHMR(0.5, bins, momentum)
    printed_c, printed_r = Printed(bins, momentum), Printed(bins, momentum)
    for step in range(4):
        n = 5 + 20 * step
        x = torch.randn(n, generator=draws, dtype=torch.float64) * 4
        t = (torch.rand(n, generator=draws) < 0.3).double()
        p = 1 / (1 + np.exp(-x.numpy()))
        cross_entropy = -t.numpy() * np.log(p) - (1 - t.numpy()) * np.log(1 - p)
        expected = printed_c(np.abs(p - t.numpy()).tolist(), cross_entropy.tolist())
        assert ours_c(x, t).item() == pytest.approx(expected, rel=1e-9)

        target = torch.randn(n, generator=draws, dtype=torch.float64)
        d = (x - target).numpy()
        root = np.sqrt(d**2 + 0.5**2)
        assert ours_r(x, target).item() == pytest.approx(printed_r((abs(d) / root).tolist(), (root - 0.5).tolist()))
        assert ours_r.accumulated.tolist() == pytest.approx(printed_r.averages)


def test_without_momentum_the_weights_have_a_mean_of_one() -> None:
    loss = GHMC(30)
    draws = torch.Generator().manual_seed(3)
    loss(torch.randn(500, generator=draws) * 3, (torch.rand(500, generator=draws) < 0.1).float())
    assert loss.weights.mean().item() == pytest.approx(1, rel=1e-6)
    # All samples of a bin together weigh what those of any other do.
    index, counts = histogram(loss.gradient_norms, 30)
    sums = torch.zeros(30).index_add(0, index, loss.weights)[counts > 0]
    assert sums.tolist() == pytest.approx([500 / len(sums)] * len(sums), rel=1e-5)


def test_a_slope_is_that_of_cross_entropy_times_the_weight() -> None:
    logits = tensor(-2, -1.9, -1.8, 3).requires_grad_()
    loss = GHMC(10)
    loss(logits, torch.zeros(4)).backward()
    expected = torch.sigmoid(logits.detach()) * loss.weights / 4
    torch.testing.assert_close(logits.grad, expected)
    # One hard sample pulls as hard as the three easy ones would together, were all slopes the same.
    assert loss.weights.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])


@pytest.mark.parametrize("loss", [GHMC(10, 0.5), GHMR(0.1, 10, 0.5)])
def test_what_is_kept_has_no_graph(loss: GHMC | GHMR) -> None:
    x = tensor(-2, 0.5, 3).requires_grad_()
    assert loss(x, torch.zeros(3)).requires_grad
    assert not any(kept.requires_grad for kept in (loss.weights, loss.gradient_norms, loss.accumulated, loss.counts))


def test_a_norm_of_one_is_counted_in_the_last_bin() -> None:
    loss = GHMC(10)
    loss(torch.tensor([50.0, -50.0]), torch.tensor([0.0, 0.0]))
    assert loss.gradient_norms[0].item() == 1
    assert loss.counts.tolist() == [1] + [0] * 8 + [1]
    loss = GHMR(0.02, 10)
    loss(torch.tensor([1e9]), torch.tensor([0.0]))
    assert loss.counts.tolist() == [0] * 9 + [1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_edge_belongs_to_the_bin_above_it(dtype: torch.dtype) -> None:
    for bins in range(1, 61):
        edges = torch.arange(bins + 1, dtype=dtype) / bins
        index, counts = histogram(edges, bins)
        assert index.tolist() == [*range(bins), bins - 1]
        assert counts.tolist() == [1] * (bins - 1) + [2]
        below = torch.nextafter(edges[1:], torch.zeros(bins, dtype=dtype))
        assert histogram(below, bins)[0].tolist() == list(range(bins))


def test_evaluation_leaves_the_moving_average_alone() -> None:
    draws = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 40, generator=draws, dtype=torch.float64)
    targets = (torch.rand(3, 40, generator=draws) < 0.2).double()
    loss = GHMC(10, 0.9)
    loss(logits[0], targets[0])
    kept = loss.accumulated.clone()
    loss.eval()
    first = loss(logits[1], targets[1])
    assert loss(logits[1], targets[1]) == first
    assert torch.equal(loss.accumulated, kept)
    assert loss.counts.sum() == 40, "the attributes are of the last call all the same"
    # The weights are those that training would have taken for this batch.
    loss.train()
    assert loss(logits[1], targets[1]) == first
    assert not torch.equal(loss.accumulated, kept)


def test_an_empty_batch_changes_no_average() -> None:
    for loss in (GHMC(4, 0.5), GHMR(0.1, 4, 0.5)):
        x, t = torch.tensor([0.3, -2.0, 1.5]), torch.tensor([0.0, 1.0, 1.0])
        loss(x, t)
        kept = loss.accumulated.clone()
        loss(x, t, torch.zeros(3, dtype=torch.bool))
        loss(x[:0], t[:0])
        assert torch.equal(loss.accumulated, kept)
        assert loss.counts.tolist() == [0] * 4
        assert (len(loss.weights), len(loss.gradient_norms)) == (0, 0)


def test_the_average_survives_a_checkpoint() -> None:
    draws = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(2, 50, generator=draws), torch.zeros(2, 50)
    whole, first, second = GHMC(10, 0.75), GHMC(10, 0.75), GHMC(10, 0.75)
    whole(logits[0], targets[0])
    first(logits[0], targets[0])
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second(logits[1], targets[1]) == whole(logits[1], targets[1])
    assert list(whole.state_dict()) == ["accumulated"]


def test_samples_may_have_any_shape_and_stay_in_their_order() -> None:
    draws = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(3, 2, 4, generator=draws), torch.zeros(3, 2, 4)
    mask = torch.rand(3, 2, 4, generator=draws) < 0.5
    loss = GHMC(10)
    assert loss(logits, targets) == GHMC(10)(logits.flatten(), targets.flatten())
    assert torch.equal(loss.gradient_norms, logits.sigmoid().flatten())
    loss(logits, targets, mask)
    assert torch.equal(loss.gradient_norms, logits.sigmoid()[mask])


def test_ghmr_keeps_its_digits_where_errors_are_small_and_large() -> None:
    for d in (1e-7, 1e-5, 1e-3, 0.02, 1.0, 1e5, 1e25):
        value = GHMR(0.02)(torch.tensor([d]), torch.zeros(1)).item()
        exact = np.float64(d) ** 2 / (np.sqrt(np.float64(d) ** 2 + 4e-4) + 0.02)
        assert value == pytest.approx(exact, rel=1e-5), d


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: GHMC(0), "bins is 0; expected a whole number from 1"),
        (lambda: GHMC(2.5), r"bins is 2\.5; expected a whole number from 1"),
        (lambda: GHMC(10, 1.0), r"momentum is 1\.0; expected at least 0 and less than 1"),
        (lambda: GHMR(momentum=-0.1), r"momentum is -0\.1; expected at least 0 and less than 1"),
        (lambda: GHMR(mu=0.0), r"mu is 0\.0; expected more than 0"),
        (lambda: GHMR(mu=float("nan")), "mu is nan; expected more than 0"),
    ],
)
def test_arguments_out_of_range_are_refused(wrong: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()


def test_they_say_what_they_are() -> None:
    assert repr(GHMC(10, 0.75)) == "GHMC(bins=10, momentum=0.75)"
    assert repr(GHMR(0.02, 5)) == "GHMR(mu=0.02, bins=5, momentum=0.0)"


def test_evenness_of_fourteen_and_one() -> None:
    found = gradient_statistics(np.array([0.95] * 14 + [0.35]), bins=10)
    assert found["shares"].tolist() == pytest.approx([0, 0, 0, 100 / 15, 0, 0, 0, 0, 0, 1400 / 15])
    assert found["evenness"] == pytest.approx(27.85, abs=0.005)
    assert (found["most_populated"], found["least_populated"], found["inert"]) == (9, 0, 1)


def test_evenness_of_all_in_one_bin() -> None:
    found = gradient_statistics(torch.full((7,), 1.0), bins=10)
    assert found["evenness"] == pytest.approx(30, rel=1e-12)
    assert (found["most_populated"], found["least_populated"], found["inert"]) == (9, 0, 1)


def test_statistics_by_hand() -> None:
    found = gradient_statistics(torch.tensor([0.1, 0.2, 0.6, 1.0], dtype=torch.float64), bins=4)
    shares = found.pop("shares")
    assert shares.tolist() == [50, 0, 25, 25]
    assert found == pytest.approx({
        "number": 4, "mean": 0.475, "median": 0.4, "min": 0.1, "max": 1.0,
        # deviations -0.375, -0.275, 0.125, 0.525; of the shares from 25: 25, -25, 0, 0
        "std": math.sqrt((0.140625 + 0.075625 + 0.015625 + 0.275625) / 4), "evenness": math.sqrt(1250 / 4),
        "most_populated": 0, "least_populated": 1, "inert": 0,
    })  # fmt: skip


def test_equals_among_bins_go_to_the_lowest() -> None:
    found = gradient_statistics(np.array([0.3, 0.3, 0.7, 0.7, 0.9]), bins=5)
    assert (found["most_populated"], found["least_populated"]) == (1, 0)
    found = gradient_statistics(np.array([0.1, 0.3, 0.5, 0.7, 0.9]), bins=5)
    assert (found["most_populated"], found["least_populated"], found["evenness"]) == (0, 0, 0)


def test_inert_is_more_than_ninety_per_cent() -> None:
    assert gradient_statistics(np.array([0.95] * 9 + [0.1]), 10)["inert"] == 0
    assert gradient_statistics(np.array([0.95] * 91 + [0.1] * 9), 10)["inert"] == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(1, 40))
def test_statistics_are_those_of_numpy(norms: list[float], bins: int) -> None:
    values = np.array(norms)
    found = gradient_statistics(values, bins)
    edges = np.arange(bins + 1) / bins
    counts = np.histogram(values, edges)[0]  # the last bin of NumPy is closed too
    assert found["shares"].tolist() == pytest.approx((counts / len(values) * 100).tolist())
    assert found["evenness"] == pytest.approx(np.std(counts / len(values) * 100))
    assert found["number"] == len(norms)
    for name in ("mean", "median", "min", "max", "std"):
        assert found[name] == pytest.approx(getattr(np, name)(values))
    assert found["shares"].sum() == pytest.approx(100)
    assert counts[int(found["most_populated"])] == counts.max()
    assert counts[int(found["least_populated"])] == counts.min()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=40), st.integers(1, 30))
def test_statistics_count_as_the_loss_does(scores: list[float], bins: int) -> None:
    loss = GHMC(bins)
    loss(torch.tensor(scores), (torch.arange(len(scores)) % 2).float())
    for norms in (loss.gradient_norms, loss.gradient_norms.numpy()):
        counts = gradient_statistics(norms, bins)["shares"] * len(scores) / 100
        assert counts.tolist() == pytest.approx(loss.counts.tolist())


@pytest.mark.parametrize(
    ("norms", "message"),
    [
        ([], "there is no gradient norm to describe"),
        ([0.5, float("nan")], "a gradient norm is nan; expected a number from 0 to 1"),
        ([0.5, 1.5], r"a gradient norm is 1\.5; expected a number from 0 to 1"),
        ([-0.1], r"a gradient norm is -0\.1; expected a number from 0 to 1"),
    ],
)
def test_norms_that_are_none_are_refused(norms: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gradient_statistics(np.array(norms), 10)
