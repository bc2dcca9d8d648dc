"""A perceptron with margin whose arguments and loop stand in modules of their own."""

import random

import points
from learning.loop import Loop
from options import TrainOptions

if __name__ == "__main__":
    opt = TrainOptions().parse()
    rng = random.Random(opt.seed)
    Loop(points.make(300, rng), points.make(100, rng), opt).run()
