import random

# Settings
LR, BATCH_SIZE = 0.05, 24
EPOCHS = 2 * 10
N_LAYERS = 3
USE_NOISE = True
DATA_PATH = "data/points.csv"
SEED = 7

random.seed(SEED)
points = [(x, 3 * x + (random.gauss(0, 0.1) if USE_NOISE else 0)) for x in [random.uniform(-1, 1) for _ in range(240)]]
weights = [1.0 / N_LAYERS] * N_LAYERS
for i in range(EPOCHS):
    total = 0.0
    for start in range(0, len(points), BATCH_SIZE):
        batch = points[start:start + BATCH_SIZE]
        error = sum((sum(weights) * x - y) * x for x, y in batch) / len(batch)
        weights = [w - LR * error for w in weights]
        total += error * error
    mae = sum(abs(sum(weights) * x - y) for x, y in points) / len(points)
    print("epoch", i, "mae", mae, "total", total)
