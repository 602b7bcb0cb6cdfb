"""The fast Walsh-Hadamard transform of several vectors side by side, and what frames made of it need.

Vectors are the columns of a : (D, R) or x : (n, R), float64, so that every step works on contiguous numbers.
"""

from mpiopt.kernels.host.bits import kernel, part


@part
def _butterfly(low, high):
    for i in range(low.size):
        a, b = low[i], high[i]
        low[i] = a + b
        high[i] = a - b


@part
def _butterfly_twice(p, q, r, s):
    for i in range(p.size):
        a, b, c, d = p[i] + q[i], p[i] - q[i], r[i] + s[i], r[i] - s[i]
        p[i] = a + c
        q[i] = b + d
        r[i] = a - c
        s[i] = b - d


@kernel
def hadamard(a):
    """Each column of a : (D, R) times the symmetric orthogonal H_D / sqrt(D), in place; D a power of two."""
    n, flat = a.shape[0], a.reshape(-1)
    wide, half = a.shape[1], 1
    while 2 * half < n:  # two steps at once, which halves the passes over memory
        m = half * wide
        for lo in range(0, flat.size, 4 * m):
            _butterfly_twice(
                flat[lo : lo + m], flat[lo + m : lo + 2 * m], flat[lo + 2 * m : lo + 3 * m], flat[lo + 3 * m : lo + 4 * m]
            )
        half *= 4
    if half < n:
        m = half * wide
        _butterfly(flat[:m], flat[m:])
    root = n**-0.5
    for i in range(flat.size):
        flat[i] *= root


@kernel
def place(x, rows, signs, a):
    """Row rows[j] of a : (D, R) becomes row j of x : (n, R) times signs[j]; the others become 0."""
    a[:] = 0.0
    for j in range(rows.size):
        for i in range(x.shape[1]):
            a[rows[j], i] = x[j, i] * signs[j]


@kernel
def pick(a, rows, signs, x):
    """The transpose of `place`: row j of x : (n, R) becomes row rows[j] of a : (D, R) times signs[j]."""
    for j in range(rows.size):
        for i in range(x.shape[1]):
            x[j, i] = a[rows[j], i] * signs[j]


@kernel
def clip_into(part, level, total):
    """Clip column i of part : (D, R) to level[i] in place, and add it to that of total : (D, R); whether anything was cut."""
    cut = False
    for j in range(part.shape[0]):
        for i in range(part.shape[1]):
            v = min(max(part[j, i], -level[i]), level[i])
            cut |= v != part[j, i]
            part[j, i] = v
            total[j, i] += v
    return cut
