import argparse


class BaseOptions:
    def arguments(self, parser):
        parser.add_argument("--n_epochs", type=int, default=6)
        parser.add_argument("--seed", type=int, default=3)

    def parse(self):
        parser = argparse.ArgumentParser()
        self.arguments(parser)
        return parser.parse_args()


class TrainOptions(BaseOptions):
    def arguments(self, parser):
        super().arguments(parser)
        parser.add_argument("--lr", type=float, default=0.01)
        parser.add_argument("--weight_decay", type=float, default=1e-3)


class TestOptions(BaseOptions):
    def arguments(self, parser):
        super().arguments(parser)
        parser.add_argument("--dropout", type=float, default=0.1)
