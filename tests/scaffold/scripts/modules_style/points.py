import argparse


def make(count, rng):
    points = [(rng.uniform(-1, 1), rng.uniform(-1, 1)) for _ in range(count)]
    return [(x, y, 1 if x - 0.3 * y > rng.gauss(0, 0.2) else -1) for x, y in points]


def main():
    parser = argparse.ArgumentParser(description="print some points")
    parser.add_argument("--noise_momentum", type=float, default=0.9)
    print(parser.parse_args())


if __name__ == "__main__":
    main()
