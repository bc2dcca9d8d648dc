def accuracy(weights, points):
    right = [sign * (weights[0] * x + weights[1] * y) > 0 for x, y, sign in points]
    return sum(right) / len(right)
