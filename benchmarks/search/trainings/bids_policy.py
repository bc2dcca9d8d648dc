"""Bids in sixteen auctions with one budget and unknown rivals, by policy gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.search.trainings.networks import mlp, mlp_operations, step
from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, EPISODES, PERIODS, BUDGET, FACTORS = 30, 96, 16, 3.5, torch.arange(8) * 0.2


def scenarios(count: int) -> tuple[Tensor, ...]:
    """Return a sign of each item, its value and the rivals' best bid, shape (PERIODS, count).

    Rivals bid little if the sign is near 0, and more in some episodes than in others.
    """
    signs, values, level = 2 * torch.rand(PERIODS, count) - 1, torch.rand(PERIODS, count), torch.rand(count)
    wanted = torch.sigmoid(12 * (signs.abs() - 0.5)) + 0.15 * torch.randn(PERIODS, count)
    return signs, values, values * (0.05 + 0.3 * level + 0.9 * wanted).clamp(0.05)


@torch.no_grad()
def play(actor: nn.Module, auctions: tuple[Tensor, ...], greedy: bool) -> tuple[Tensor, ...]:
    """Return observations, actions and rewards, with the periods first; the best bid is paid, and wins the value.

    An action is a bid as a multiple of the value. The mean of what rivals bid, in these units, can be seen.
    """
    money, seen = torch.full(auctions[1].shape[1:], BUDGET), torch.zeros(auctions[1].shape[1:])
    kept: list[tuple[Tensor, ...]] = []
    for period, (sign, value, rival) in enumerate(zip(*auctions, strict=True)):
        left = torch.full_like(value, 1 - period / PERIODS)
        observed = torch.stack([sign, value, left, money / BUDGET / left - 1, seen / max(period, 1)], 1)
        logits = actor(observed)
        # The largest of scores with Gumbel noise is a draw.
        action = (logits if greedy else logits - torch.empty_like(logits).exponential_().log()).argmax(1)
        bid = FACTORS[action] * value
        won = (bid > rival) & (bid <= money)
        money, seen = money - won * bid, seen + rival / (value + 1e-6)
        kept.append((observed, action, won * value))
    return tuple(torch.stack(each) for each in zip(*kept, strict=True))


def advantages_of(params: Params, rewards: Tensor, guesses: Tensor) -> tuple[Tensor, Tensor]:
    """Return advantages, and returns for the critic; generalised advantages (Schulman et al. 2016)."""
    discount, trace = params["discount"], params.get("trace", 1.0)
    advantages, ahead, after = torch.empty_like(rewards), torch.zeros(()), torch.zeros(())
    for period in reversed(range(PERIODS)):
        ahead = rewards[period] + discount * after - guesses[period] + discount * trace * ahead
        advantages[period], after = ahead, guesses[period]
    returns = advantages + guesses
    if params["baseline"] == "batch":
        advantages = advantages - advantages.mean(1, keepdim=True)
    return advantages / (advantages.std() + 1e-6), returns


def run(params: Params, seed: int) -> Curve:
    """REINFORCE (Williams 1992), with a critic or none, or the clipped objective of Schulman et al. (2017).

    An epoch is 96 episodes; the metric is the value that the likeliest actions win in 300 test episodes.
    """
    torch.manual_seed(54)
    tests = scenarios(300)
    torch.manual_seed(seed)
    actor, critic = mlp([5, params["width"], 8], nn.Tanh), mlp([5, params["width"], 1], nn.Tanh)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], params["learning_rate"], fused=True)
    clip, weight = params.get("clip", float("inf")), params.get("critic_weight", 0.0)
    for _ in range(EPOCHS):
        for _ in range(EPISODES // params["episodes"]):
            observed, actions, rewards = play(actor, scenarios(params["episodes"]), False)
            for repeat in range(params.get("passes", 1)):
                guesses = critic(observed)[..., 0] if weight else torch.zeros_like(rewards)
                chances = actor(observed).log_softmax(2)
                chosen = chances.gather(2, actions[..., None])[..., 0]
                if repeat == 0:
                    before, (advantages, returns) = chosen.detach(), advantages_of(params, rewards, guesses.detach())
                ratio = (chosen - before).exp()
                gain = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages).mean()
                entropy = -(chances.exp() * chances).sum(2).mean()
                miss = ((guesses - returns) ** 2).mean()
                step(optimizer, weight * miss - gain - params["entropy"] * entropy, params["max_norm"])
        yield (float(play(actor, tests, True)[2].sum(0).mean()),)


WEIGHT, CLIP = {"low": 0.01, "high": 10.0, "log": True}, {"low": 0.02, "high": 1.0, "log": True}
TRAINING = Training(
    data="simulated: 16 first-price auctions with one budget, 300 episodes for the metric",
    model="policy of one hidden layer, by policy gradients",
    space={
        "baseline": {"choices": {"batch": {}, "critic": {"critic_weight": WEIGHT, "trace": {"low": 0.0, "high": 1.0}}}},
        "objective": {"choices": {"gradient": {}, "clipped": {"clip": CLIP, "passes": {"low": 2, "high": 6}}}},
        "discount": {"low": 0.8, "high": 1.0},
        "entropy": {"low": 1e-4, "high": 1.0, "log": True},
        "max_norm": {"low": 0.01, "high": 10.0, "log": True},
        "width": {"low": 4, "high": 64, "log": True},
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
        "episodes": {"choices": [16, 32, 96]},
    },
    epochs=EPOCHS,
    metric="mean_return",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda p: Work(
        EPISODES / p["episodes"] * (PERIODS / 4 + p.get("passes", 1)),
        EPISODES * PERIODS * (1 + 3 * p.get("passes", 1)) * mlp_operations([5, p["width"], 9]),
    ),
)
