#!/usr/bin/env python3
# Logistic regression in plain Python, in the style of PyTorch's examples: argparse, functions, a loop that prints.
from __future__ import print_function

import argparse
import logging
import math
import random

logger = logging.getLogger(__name__)


def make(n, seed):
    rng = random.Random(seed)
    points = [(rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(n)]
    return [(x, y, 1.0 if x + 0.5 * y + rng.gauss(0, 0.3) > 0 else 0.0) for x, y in points]


def train(args, weights, data, rng, epoch):
    rng.shuffle(data)
    for batch_idx in range(0, len(data), args.batch_size):
        batch = data[batch_idx:batch_idx + args.batch_size]
        loss = 0.0
        gradient = [0.0, 0.0, 0.0]
        for x, y, target in batch:
            p = 1 / (1 + math.exp(-max(-30, min(30, weights[0] * x + weights[1] * y + weights[2]))))
            loss -= math.log(max(p if target else 1 - p, 1e-9)) / len(batch)
            for i, value in enumerate((x, y, 1.0)):
                gradient[i] += (p - target) * value / len(batch)
        for i in range(3):
            weights[i] -= args.lr * (gradient[i] + args.weight_decay * weights[i])
        if batch_idx % args.log_interval == 0:
            print('Train Epoch: {} [{}/{}]\tLoss: {:.6f}'.format(epoch, batch_idx, len(data), loss))


def test(weights, data):
    test_loss = 0
    correct = 0
    for x, y, target in data:
        p = 1 / (1 + math.exp(-max(-30, min(30, weights[0] * x + weights[1] * y + weights[2]))))
        test_loss -= math.log(max(p if target else 1 - p, 1e-9))
        correct += (p > 0.5) == (target > 0.5)

    test_loss /= len(data)

    print('\nTest set: Average loss: {:.4f}, Accuracy: {}/{} ({:.0f}%)\n'.format(
        test_loss, correct, len(data), 100. * correct / len(data)))


def main():
    parser = argparse.ArgumentParser(description='Logistic regression')
    parser.add_argument('--batch-size', type=int, default=64, metavar='N')
    parser.add_argument('--test-batch-size', type=int, default=1000, metavar='N')
    parser.add_argument('--epochs', type=int, default=14, metavar='N')
    parser.add_argument('--lr', type=float, default=1.0, metavar='LR')
    parser.add_argument('--weight-decay', '--wd', default=0, type=float)
    parser.add_argument('--no-cuda', action='store_true', default=False)
    parser.add_argument('--seed', type=int, default=1, metavar='S')
    parser.add_argument('--log-interval', type=int, default=10, metavar='N')
    parser.add_argument('--save-model', action='store_true', default=False)
    args = parser.parse_args()

    rng = random.Random(args.seed)
    data, held = make(500, 0), make(200, 1)
    weights = [0.0, 0.0, 0.0]
    for epoch in range(1, args.epochs + 1):
        train(args, weights, data, rng, epoch)
        test(weights, held)


if __name__ == '__main__':
    main()
