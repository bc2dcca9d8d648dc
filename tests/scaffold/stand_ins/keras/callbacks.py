class LambdaCallback:
    def __init__(self, on_epoch_end):
        self.on_epoch_end = on_epoch_end
