class Input:
    def __init__(self, shape):
        self.shape = shape


class Dense:
    def __init__(self, units, activation=None):
        self.units = units


class Dropout:
    def __init__(self, rate):
        assert 0 <= rate < 1
