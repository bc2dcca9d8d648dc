"""The loop."""

from . import scores


class Loop:
    def __init__(self, train, held, opt):
        self.train, self.held, self.opt = train, held, opt
        self.weights = [0.0, 0.0]

    def run(self):
        for epoch in range(self.opt.n_epochs):
            self.one_epoch()
            val_acc = scores.accuracy(self.weights, self.held)
            print(f"[{epoch}] val_acc: {val_acc:.3f}")

    def one_epoch(self):
        for x, y, sign in self.train:
            if sign * (self.weights[0] * x + self.weights[1] * y) < 0.1:
                self.weights = [
                    weight * (1 - self.opt.weight_decay) + self.opt.lr * sign * value
                    for weight, value in zip(self.weights, (x, y))
                ]
