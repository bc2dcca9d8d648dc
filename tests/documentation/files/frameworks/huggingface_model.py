"""The reader's `model.py` of the page on frameworks, for Transformers."""

import torch
from transformers import BertConfig, BertForSequenceClassification


def new_model():
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    return BertForSequenceClassification(BertConfig(vocab_size=50, **sizes))


class Samples(torch.utils.data.Dataset):
    def __init__(self, count):
        self.tokens = torch.randint(0, 50, (count, 8), generator=torch.Generator().manual_seed(count))

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, index):
        return {"input_ids": self.tokens[index], "labels": int(self.tokens[index, 0] > 25)}


def dataset():
    return {"train": Samples(128), "validation": Samples(64)}
